"""Tests scores and pictures with tiny photographs; the network returns the red channel."""

import csv
import json
import os

import numpy as np
import pytest
from PIL import Image

from metrics import METRICS
from portrait.data.pairs import Pair
from portrait.errors import UserError
from portrait.evaluation import evaluate


def red_is_alpha(image):
    return image[:, :, 0].astype(np.float32) / 255


def make_pair(folder, name, alpha, matte=None):
    """A lossless photograph for which the network returns `alpha`, and its matte."""
    folder.mkdir(exist_ok=True)
    photo = np.full((*alpha.shape, 3), 90, np.uint8)
    photo[..., 0] = np.rint(alpha * 255)
    Image.fromarray(photo).save(folder / f"{name}.png")
    if matte is None:
        return Pair(folder / f"{name}.png", None)
    Image.fromarray(np.rint(matte * 255).astype(np.uint8)).save(folder / f"{name}_matte.png")
    return Pair(folder / f"{name}.png", folder / f"{name}_matte.png")


def left(width):
    """A mask of 20 x 40 whose first `width` columns are person."""
    mask = np.zeros((20, 40), np.float32)
    mask[:, :width] = 1
    return mask


@pytest.fixture
def datasets(tmp_path):
    """IoU 1/2, 3/4 and 1; two blank pictures with 1/4 and 0 false; one broken file."""
    desk, street = tmp_path / "desk", tmp_path / "street"
    pairs = {
        "desk": [
            make_pair(desk, "half", left(10), left(20)),
            make_pair(desk, "most", left(20), left(15)),
            make_pair(desk, "broken", left(3), left(3)),
        ],
        "street": [
            make_pair(street, "all", left(8), left(8)),
            make_pair(street, "nobody", left(10)),
            make_pair(street, "empty matte", left(0), left(0)),
        ],
    }
    pairs["desk"][2].image.write_bytes(b"\x89PNG and then nothing")
    return pairs


def test_report_by_hand(datasets, tmp_path, caplog):
    report = evaluate.evaluate(red_is_alpha, datasets, tmp_path / "out")
    desk, street, every = report["sets"]["desk"], report["sets"]["street"], report["all"]
    assert (desk["pictures"], desk["blank"], desk["false_person_share"]) == (2, 0, None)
    assert desk["mean"]["person_iou"] == (1 / 2 + 3 / 4) / 2
    assert desk["mean"]["pixel_accuracy"] == (30 / 40 + 35 / 40) / 2
    assert desk["mean"]["mad"] == (10 / 40 + 5 / 40) / 2
    assert desk["mean"]["sad"] == pytest.approx((200 + 100) / 2 / 1000)
    assert (street["pictures"], street["blank"], street["false_person_share"]) == (3, 2, 1 / 8)
    assert street["mean"]["person_iou"] == street["mean"]["boundary_iou"] == 1
    # Over photographs, not over sets; blank ones apart.
    assert every["mean"]["person_iou"] == pytest.approx((1 / 2 + 3 / 4 + 1) / 3)
    assert (every["pictures"], every["blank"]) == (5, 2)
    assert desk["unreadable"] == every["unreadable"] == [str(datasets["desk"][2].image)]
    assert "broken.png" in caplog.text


def test_files_say_the_same(datasets, tmp_path):
    report = evaluate.evaluate(red_is_alpha, datasets, tmp_path)
    assert json.loads((tmp_path / "evaluation.json").read_text()) == report
    with (tmp_path / "evaluation.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == [
        "desk/half",
        "desk/most",
        "street/all",
        "street/nobody",
        "street/empty matte",
    ]
    assert [row["person_iou"] for row in rows] == ["0.5", "0.75", "1.0", "", ""]
    assert [row["false_person_share"] for row in rows] == ["", "", "", "0.25", "0.0"]
    assert [row["blank"] for row in rows] == ["False", "False", "False", "True", "True"]
    for row, values in zip(rows[:3], report["pictures"], strict=False):
        assert {key: float(row[key]) for key in METRICS} == {key: values[key] for key in METRICS}


def test_table_is_aligned(datasets, tmp_path, capsys):
    evaluate.evaluate(red_is_alpha, datasets, tmp_path)
    *lines, files = capsys.readouterr().out.splitlines()
    assert files == f"in {tmp_path}: evaluation.json, evaluation.csv, worst_best.png"
    assert [line.split()[:2] for line in lines[2:]] == [
        ["desk", "2"],
        ["street", "3"],
        ["all", "5"],
    ]
    assert len({len(line) for line in lines}) == 1
    assert lines[2].split()[2] == "0.6250" and lines[2].split()[-1] == "-"
    assert lines[3].split()[-2:] == ["2", "12.50"]
    evaluate.evaluate(red_is_alpha, {"desk": datasets["desk"]}, tmp_path)
    *lines, _ = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 and "false" not in lines[0]


def test_figures_in_the_table():
    """Scores that grow with the picture may be large; MAD and MSE are in thousandths."""
    mean = dict.fromkeys(METRICS, 0.123456) | {"sad": 12.3456}
    summary = {"pictures": 1, "blank": 0, "mean": mean, "false_person_share": None}
    table = evaluate.format_table({"sets": {"desk": summary}, "all": summary})
    cells = dict(zip(METRICS, table.splitlines()[2].split()[2:], strict=True))
    large = {"mad": "123.46", "mse": "123.46", "sad": "12.35"}
    assert cells == dict.fromkeys(METRICS, "0.1235") | large


def test_a_matte_that_is_nowhere_half_is_of_nobody(tmp_path):
    pair = make_pair(tmp_path, "dim", left(10), 0.4 * left(20))
    report = evaluate.evaluate(red_is_alpha, {"set": [pair]}, tmp_path / "out")
    assert (report["all"]["blank"], report["all"]["false_person_share"]) == (1, 0.25)


def test_names_that_are_no_text_keep_their_bytes(tmp_path):
    pair = make_pair(tmp_path, "all", left(20), left(20))
    name = pair.image.with_name(os.fsdecode(b"caf\xe9.png"))
    try:
        pair.image.rename(name)
    except OSError:
        pytest.skip("this system's names are text")
    evaluate.evaluate(red_is_alpha, {"set": [Pair(name, pair.matte)]}, tmp_path / "out")
    assert b"caf\xe9.png" in (tmp_path / "out" / "evaluation.csv").read_bytes()


def test_only_blank_pictures_have_no_case_to_show(datasets, tmp_path):
    report = evaluate.evaluate(red_is_alpha, {"street": datasets["street"][1:]}, tmp_path / "out")
    assert report["all"]["mean"] is None
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"evaluation.json", "evaluation.csv"}


def test_matte_of_another_size_is_brought_to_the_photograph(tmp_path):
    pair = make_pair(tmp_path, "double", left(20), np.kron(left(20), np.ones((2, 2))))
    report = evaluate.evaluate(red_is_alpha, {"set": [pair]}, tmp_path / "out")
    assert report["all"]["mean"]["person_iou"] == 1
    assert report["all"]["mean"]["mad"] == 0


def test_matte_of_another_aspect_is_left_out(datasets, tmp_path):
    turned = make_pair(tmp_path, "turned", left(20), left(20).T)
    report = evaluate.evaluate(red_is_alpha, {"set": [turned, *datasets["desk"]]}, tmp_path / "out")
    assert report["all"]["pictures"] == 2
    assert report["all"]["unreadable"][0] == str(turned.image)


@pytest.mark.parametrize(("count", "worst", "best"), [(1, 1, 0), (3, 2, 1), (12, 6, 6), (15, 6, 6)])
def test_worst_and_best_cases(tmp_path, monkeypatch, count, worst, best):
    columns = {}
    monkeypatch.setattr(
        evaluate, "draw_cases", lambda c: columns.update(c) or np.zeros((4, 4), "u1")
    )
    widths = np.random.default_rng(1).permutation(np.arange(1, count + 1))
    pairs = [make_pair(tmp_path, f"{width:02}", left(width), left(20)) for width in widths]
    evaluate.evaluate(red_is_alpha, {"set": pairs}, tmp_path)
    shown = {title: [case.name for case in cases] for title, cases in columns.items()}
    names = [f"{tmp_path.name}/{width:02}" for width in range(1, count + 1)]
    assert shown == {"worst": names[:worst], "best": names[::-1][:best]}
    for case in columns["worst"] + columns["best"]:
        width = int(case.name[-2:])
        assert np.array_equal(case.matte, left(20)) and np.array_equal(case.alpha, left(width))
        assert np.array_equal(case.image[..., 0], 255 * left(width))
        assert case.figures.startswith(f"IoU {width / 20:.3f} ")
        assert case.figures.endswith(f" MAD {(20 - width) / 40 * 1e3:.1f}e-3")


def test_what_cannot_be_evaluated(datasets, tmp_path):
    broken = {"desk": datasets["desk"][2:]}
    with pytest.raises(UserError, match="desk"):
        evaluate.evaluate(red_is_alpha, broken, tmp_path)
    with pytest.raises(UserError, match=r"half\.png"):
        evaluate.evaluate(lambda image: image[..., 0] * np.nan, datasets, tmp_path)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="file"):
        evaluate.evaluate(red_is_alpha, datasets, tmp_path / "file" / "out")


def test_interrupted_write_leaves_the_former_file(datasets, tmp_path, monkeypatch):
    evaluate.evaluate(red_is_alpha, datasets, tmp_path / "out")
    former = (tmp_path / "out" / "evaluation.csv").read_text()

    def stop_halfway(writer, rows):
        writer.writerow(rows[0])
        raise KeyboardInterrupt

    monkeypatch.setattr(csv.DictWriter, "writerows", stop_halfway)
    with pytest.raises(KeyboardInterrupt):
        evaluate.evaluate(red_is_alpha, {"street": datasets["street"]}, tmp_path / "out")
    assert (tmp_path / "out" / "evaluation.csv").read_text() == former
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"evaluation.json", "evaluation.csv", "worst_best.png"}
