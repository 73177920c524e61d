"""Tests the search for bad labels and empty photographs with a model of the red channel."""

import csv
import math

import numpy as np
import pytest
import tiny_portraits
import tiny_tflite
from folders import tree
from PIL import Image

from portrait.commands import prepare as commands
from portrait.data.pairs import Pair, read_pair
from portrait.errors import UserError
from portrait.evaluation.cases import FALSE, MISSED, Case, draw_cases
from portrait.prepare import suspects


def red_is_alpha(image):
    return image[..., 0].astype(np.float32) / 255


def half(left: bool = True) -> np.ndarray:
    mask = np.zeros((20, 40), np.uint8)
    mask[:, :20] = 255
    return mask if left else mask[:, ::-1]


@pytest.fixture
def pairs(tmp_path):
    """One label as the model sees it, one the wrong way round, one with a strip too many."""
    wide = half()
    wide = np.where(np.arange(40) < 24, np.uint8(255), wide)
    folder = tmp_path / "desk"
    folder.mkdir()
    found = []
    for name, matte in (("good", half()), ("turned", half(False)), ("wide", wide)):
        Image.fromarray(np.dstack([half()] * 3)).save(folder / f"{name}.png")
        Image.fromarray(matte).save(folder / f"{name}_matte.png")
        found.append(Pair(folder / f"{name}.png", folder / f"{name}_matte.png"))
    return found


def test_cross_entropy_by_hand():
    alpha, matte = np.float32([[0.25, 0.5]]), np.float32([[1, 0.5]])
    expected = (-math.log(0.25) - math.log(0.5)) / 2
    assert suspects.cross_entropy(alpha, matte) == pytest.approx(expected)
    # A pixel costs at most -log 0.001.
    assert suspects.cross_entropy(1 - matte * 0, matte * 0) == pytest.approx(-math.log(1e-3))


def test_the_worst_label_comes_first(pairs, tmp_path, caplog):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"nothing")
    ranked = suspects.rank(red_is_alpha, [*pairs, Pair(broken, None)])
    assert [pair.name for pair, _ in ranked] == ["desk/turned", "desk/wide", "desk/good"]
    assert "broken.png" in caplog.text
    turned, wide, good = (figures for _, figures in ranked)
    assert turned["person_iou"] == 0 and turned["loss"] == pytest.approx(-math.log(1e-3))
    assert wide["person_iou"] == pytest.approx(20 / 24)
    assert wide["mad"] == pytest.approx(4 / 40)
    assert good["loss"] == pytest.approx(-math.log(1 - 1e-3)) and good["boundary_iou"] == 1
    with pytest.raises(UserError):
        suspects.rank(red_is_alpha, [Pair(broken, None)])


def test_the_list_and_the_sheet(pairs, tmp_path):
    ranked = suspects.rank(red_is_alpha, pairs)
    suspects.write_ranking(ranked, tmp_path / "out" / "suspects.csv")
    with (tmp_path / "out" / "suspects.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["rank"], row["name"]) for row in rows] == [
        *(("1", "desk/turned"), ("2", "desk/wide"), ("3", "desk/good")),
    ]
    assert float(rows[1]["person_iou"]) == pytest.approx(20 / 24, abs=1e-5)
    one, three = (suspects.draw_sheet(red_is_alpha, ranked[:count]) for count in (1, 3))
    assert three.shape[0] == one.shape[0] and three.shape[1] > 2.5 * one.shape[1]


def test_photographs_in_which_nobody_is(tmp_path):
    paths = []
    for name, columns in (("nobody", 0), ("hardly", 1), ("somebody", 10)):
        photo = np.zeros((20, 40, 3), np.uint8)
        photo[:, :columns, 0] = 255
        Image.fromarray(photo).save(tmp_path / f"{name}.png")
        paths.append(tmp_path / f"{name}.png")
    found = suspects.find_empty(red_is_alpha, paths, 1 / 40)
    assert [(path.stem, share) for path, share in found] == [("nobody", 0), ("hardly", 1 / 40)]
    with pytest.raises(UserError, match=r"nobody\.png"):
        suspects.find_empty(lambda image: np.full(image.shape[:2], np.nan), paths, 1 / 40)


def test_a_sheet_shows_in_red_what_the_model_lacks_of_the_label(pairs):
    ranked = suspects.rank(red_is_alpha, pairs)
    sheets = [suspects.draw_sheet(red_is_alpha, [each]) for each in ranked[1:]]
    (wide, good), false = (
        [(sheet == colour).all(axis=2).sum() for sheet in sheets] for colour in (MISSED, FALSE)
    )
    assert wide > good + 1000  # a strip; in the sheet of the other there is the legend
    assert false[0] == false[1]


def test_the_second_sheet_counts_on(pairs):
    ranked = suspects.rank(red_is_alpha, pairs)
    columns = {}
    for number, (pair, figures) in enumerate(ranked, 25):
        image, matte = read_pair(pair)
        words = f"loss {figures['loss']:.2f}   IoU {figures['person_iou']:.3f}"
        case = Case(image, matte / 255, red_is_alpha(image), f"{number}. {pair.name}", words)
        columns[f"from {number}"] = [case]
    assert np.array_equal(suspects.draw_sheet(red_is_alpha, ranked, 25), draw_cases(columns))


@pytest.fixture
def search(tmp_path, monkeypatch):
    """The command, on 26 and 1 pictures of two sets."""
    monkeypatch.chdir(tmp_path)
    red = tiny_tflite.convolution((32, 24), (1, 0, 0), stated=False)
    (tmp_path / "red.tflite").write_bytes(red)
    for name, count in ("desk", 26), ("people", 1):
        tiny_portraits.write(tmp_path / name, count, (32, 24))

    def search(output, count=25, data=("desk", "people"), model="red.tflite"):
        commands.suspects(data, output, count=count, model=model, input_range="0..1")

    return search


def test_a_stopped_search_can_be_repeated(search, tmp_path):
    search("new")
    whole = tree(tmp_path / "new")
    sheets = {f"suspects_{name}.png" for name in ("desk_1", "desk_2", "people_1")}
    assert {name for name in whole if name != "prepared.json"} == {"suspects.csv", *sheets}
    assert len((tmp_path / "new" / "suspects.csv").read_text().splitlines()) == 1 + 27
    for name in "suspects.csv", "suspects_people_1.png":
        (tmp_path / "new" / name).unlink()
    search("new")
    assert tree(tmp_path / "new") == whole


def test_nothing_of_the_user_is_lost(search, tmp_path):
    search("new")
    with (tmp_path / "new" / "suspects.csv").open("a") as file:
        file.write("the head is missing\n")
    (tmp_path / "suspects_of_mine.png").write_bytes(b"a picture")
    before = tree(tmp_path)
    for output, count, message in (
        ("new", 25, r"new/suspects\.csv exists"),
        ("new", 3, r"new/suspects\.csv exists"),
        (".", 25, "other data"),
    ):
        with pytest.raises(UserError, match=message):
            search(output, count)
        assert tree(tmp_path) == before


def test_a_search_that_fails_leaves_no_folder(search, tmp_path):
    with pytest.raises(UserError, match=r"gone\.tflite"):
        search("new", model="gone.tflite")
    for photo in (tmp_path / "people").glob("*[0-9].png"):
        photo.write_bytes(b"no picture")
    with pytest.raises(UserError, match="no picture"):
        search("new", data=["people"])
    assert not (tmp_path / "new").exists()
