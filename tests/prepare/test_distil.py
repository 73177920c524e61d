"""Tests which targets from labels and teachers are mixed, kept or left out."""

import csv

import cv2
import numpy as np
import pytest
import tiny_portraits
from PIL import Image

from portrait.commands import prepare
from portrait.data.pairs import find_pairs, read_pair
from portrait.errors import UserError
from portrait.prepare.distil import Rule, Teachers, blur, opinion, target


def disc(radius: float, size: int = 64) -> np.ndarray:
    """A disc in the middle whose edge is a pixel wide; float32 (size, size), 0..1."""
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    return (radius + 0.5 - np.hypot(x, y)).clip(0, 1).astype(np.float32)


def label(radius: float) -> np.ndarray:
    return np.uint8(255) * (disc(radius) >= 0.5)


def test_a_mixture_is_the_weighted_mean_of_teachers_and_blurred_label():
    found = target(label(20), opinion([disc(20)]), Rule(share=0.25, softness=1))
    assert found.kind == "mixed"
    expected = 0.25 * 255 * disc(20) + 0.75 * blur(label(20))
    np.testing.assert_allclose(found.matte, expected, atol=0.5)


def test_sure_teachers_that_contradict_the_label_leave_the_picture_out():
    # (12 / 20)^2 = .36 of the area is in both.
    found = target(label(12), opinion([disc(20)]), Rule(softness=1))
    assert found.kind == "left out"
    assert found.iou == pytest.approx(0.36, abs=0.03)


def test_between_agreeing_and_differing_the_label_counts():
    found = target(label(19), opinion([disc(20)]), Rule(softness=1, agree=0.99, differ=0.8))
    assert found.kind == "label"
    np.testing.assert_array_equal(found.matte, blur(label(19)))


def test_teachers_that_disagree_with_each_other_are_not_believed():
    said = opinion([disc(20), disc(10)])
    assert said.agreement == pytest.approx(0.25, abs=0.06)
    assert target(label(4), said, Rule(softness=9)).kind == "label"


def test_soft_teachers_are_not_believed():
    grey = np.full((64, 64), 0.6, np.float32)
    said = opinion([grey])
    assert said.softness == pytest.approx(0.4)  # min(.6, .4) on each of the person's pixels
    assert target(label(20), said).kind == "label"


def test_mattes_are_found_whatever_form_of_unicode_their_names_have(tmp_path):
    """macOS writes an accent as a character of its own."""
    for folder, name in (
        ("set", "e\u0301.png"),
        ("set", "e\u0301_matte.png"),
        ("mattes", "e\u0301.png"),
    ):
        (tmp_path / folder).mkdir(exist_ok=True)
        Image.fromarray(label(20)).save(tmp_path / folder / name)
    (pair,) = find_pairs([tmp_path / "set"], "training")
    said = Teachers([str(tmp_path / "mattes")])(pair, np.zeros((64, 64, 3), np.uint8))
    np.testing.assert_array_equal(said.alpha, label(20) / 255)


def test_the_mean_of_several_is_sharpened_about_a_half():
    said = opinion([np.full((2, 2), 0.8, np.float32), np.full((2, 2), 0.6, np.float32)])
    np.testing.assert_allclose(said.alpha, 0.5 + 2 * (0.7 - 0.5), rtol=1e-6)


def test_nobody_in_either_is_agreement():
    empty = np.zeros((64, 64), np.float32)
    found = target(label(0) * 0, opinion([empty]))
    assert found.iou == 1 and found.kind == "label" and not found.matte.any()


@pytest.fixture
def data(tmp_path):
    """Six pictures of the set `people`, and teachers' mattes: equal, but inverse for the last."""
    folder = tmp_path / "people"
    tiny_portraits.write(folder / "training", 6, (64, 48))
    pairs = find_pairs([folder], "training")
    mattes = tmp_path / "mattes" / "people"
    mattes.mkdir(parents=True)
    for pair in pairs:
        matte = read_pair(pair)[1]
        name = pair.image.stem
        Image.fromarray(255 - matte if pair is pairs[-1] else matte).save(mattes / f"{name}.webp")
    return folder, mattes.parent, pairs


def rows(folder):
    with open(folder / "teachers.csv", newline="") as file:
        return {row["name"]: row["kind"] for row in csv.DictReader(file)}


def test_the_command_writes_targets_and_shows_what_it_left_out(data, tmp_path):
    folder, mattes, pairs = data
    output = tmp_path / "new"
    written = prepare.teachers([str(folder)], output, [str(mattes)])
    assert [path.stem for path in written] == [pair.image.stem for pair in pairs[:-1]]
    assert rows(output)[pairs[-1].name] == "left out"
    assert cv2.imread(str(output / "left_out_1.png")) is not None
    for name in "left_out_2.png", "left_out_1_seen.png":  # of an earlier run, and of the user
        (output / name).touch()
    prepare.teachers([str(folder)], output, [str(mattes)])
    assert {path.name for path in output.glob("*.png")} == {"left_out_1.png", "left_out_1_seen.png"}
    for pair in find_pairs([output / "people"], "training"):
        image, matte = read_pair(pair)
        np.testing.assert_array_equal(image, read_pair(find(pairs, pair))[0])
        assert matte.max() == 255


def find(pairs, wanted):
    return next(pair for pair in pairs if pair.image.stem == wanted.image.stem)


def test_if_all_are_left_out_they_are_shown(data, tmp_path):
    folder, mattes, pairs = data
    for path in mattes.rglob("*.webp"):
        Image.fromarray(255 - np.array(Image.open(path).convert("L"))).save(path, lossless=True)
    bad = tmp_path / "bad.txt"
    bad.write_text(pairs[-1].name)
    with pytest.raises(UserError, match=r"contradict all labels.*left_out_1\.png"):
        prepare.teachers([str(folder)], tmp_path / "new", [str(mattes)], exclude=str(bad))
    assert (tmp_path / "new" / "left_out_1.png").exists()


def test_a_damaged_matte_of_a_teacher_is_named(data, tmp_path, caplog):
    folder, mattes, pairs = data
    damaged = mattes / "people" / f"{pairs[0].image.stem}.webp"
    damaged.write_bytes(damaged.read_bytes()[:40])
    written = prepare.teachers([str(folder)], tmp_path / "new", [str(mattes)])
    assert [path.stem for path in written] == [pair.image.stem for pair in pairs[1:-1]]
    assert any(each.startswith(f"1 left out: {damaged}") for each in caplog.messages)


def test_if_nothing_can_be_read_no_folder_is_left(data, tmp_path):
    folder, mattes, pairs = data
    for pair in pairs:
        pair.image.write_bytes(b"no picture")
    with pytest.raises(UserError, match="no picture"):
        prepare.teachers([str(folder)], tmp_path / "new", [str(mattes)])
    assert not (tmp_path / "new").exists()


def test_an_interrupted_run_continues(data, tmp_path):
    folder, mattes, pairs = data
    output = tmp_path / "new"
    prepare.teachers([str(folder)], output, [str(mattes)])
    table = output / "teachers.csv"
    whole, complete = table.read_bytes(), sorted(output.rglob("*"))
    table.write_bytes(whole[: len(whole) // 2])  # as after a kill in the middle of a row
    for path in complete:
        if path.stem.startswith(pairs[-2].image.stem):
            path.unlink()
    prepare.teachers([str(folder)], output, [str(mattes)])
    assert table.read_bytes() == whole and sorted(output.rglob("*")) == complete


def test_a_picture_without_any_teacher_is_named(data):
    _, mattes, pairs = data
    (mattes / "people" / f"{pairs[0].image.stem}.webp").unlink()
    with pytest.raises(UserError, match=pairs[0].name):
        Teachers([str(mattes)])(pairs[0], read_pair(pairs[0])[0])


def test_a_teacher_who_sees_hardly_anything_sees_nobody(data):
    """The level 1 of 255 is no mask of 0 and 1 in a folder of soft mattes."""
    _, mattes, pairs = data
    for pair in pairs:
        path = mattes / "people" / f"{pair.image.stem}.png"
        path.with_suffix(".webp").unlink()
        Image.fromarray(cv2.GaussianBlur(label(20), (9, 9), 0)).save(path)
    Image.fromarray(np.uint8(disc(12) > 0.5)).save(path)
    said = Teachers([str(mattes)])(pairs[-1], read_pair(pairs[-1])[0])
    assert said.alpha.max() <= 1 / 255


def test_no_such_teacher(tmp_path):
    with pytest.raises(UserError, match="nobody_knows"):
        Teachers(["nobody_knows"])
