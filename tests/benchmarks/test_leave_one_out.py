"""Tests which sets the leave-one-out comparison trains on, and that it continues."""

import json
import sys

import cv2
import numpy as np
import pytest
from absl.testing import flagsaver
from project import ROOT

sys.path.insert(0, str(ROOT))
from types import SimpleNamespace

from absl import flags

from benchmarks import leave_one_out
from portrait.errors import UserError
from portrait.io.images import write_png


@pytest.fixture
def sets(tmp_path):
    """Three sets of ten pictures whose right half is a person."""
    matte = np.zeros((24, 32), np.uint8)
    matte[:, 16:] = 255
    for name in "abc":
        for index in range(10):
            photo = np.random.default_rng(index).integers(0, 255, (24, 32, 3), np.uint8)
            write_png(tmp_path / name / "training" / f"{index}.png", photo)
            cv2.imwrite(str(tmp_path / name / "training" / f"{index}_matte.png"), matte)
    return [str(tmp_path / name) for name in "abc"]


@pytest.fixture
def calls(monkeypatch, tmp_path):
    """Replaces trainings: a network is a person over a share of the picture, by its sets."""
    runs = tmp_path / "runs"
    runs.mkdir()

    def train(
        model="mattingnet", input_shape="", val_ratio=0.8, data=(), checkpoint_path="", workers=2
    ):
        best = runs / f"{len(list(runs.iterdir()))}.weights.h5"
        best.write_text("".join(folder[-1] for folder in data))
        return best

    def load(path, input_range=""):
        size = len(path.read_text())

        def matte(photo):
            alpha = np.zeros(photo.shape[:2], np.float32)
            alpha[:, 32 - 8 * (size - 1) :] = 1  # right with three sets, half with two
            return alpha

        return SimpleNamespace(matte=matte)

    monkeypatch.setattr(leave_one_out, "train", train)
    monkeypatch.setattr(leave_one_out, "load", load)
    return lambda: [path.read_text() for path in sorted(runs.iterdir())]


def run(sets, output, leave_out=(), person_label=(), **values):
    values |= {"leave_out": list(leave_out), "person_label": list(person_label)}
    with flagsaver.flagsaver(data=sets, val_ratio=0.5, output=str(output), reference="", **values):
        leave_one_out.main()


@pytest.fixture(autouse=True)
def flag():
    if "reference" not in flags.FLAGS:
        flags.DEFINE_string("reference", "", "")
        flags.DEFINE_list("leave_out", [], "")
    flags.FLAGS.mark_as_parsed()


def test_each_set_is_left_out_once_and_trainings_are_not_repeated(sets, calls, tmp_path, capsys):
    run(sets, tmp_path / "out")
    assert calls() == ["abc", "bc", "ac", "ab"]
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [line[0] for line in lines[1:]] == ["a", "a", "b", "b", "c", "c"]
    for whole, without in zip(lines[1::2], lines[2::2], strict=True):
        assert whole[1:3] == ["all", "sets"] and whole[4] == "1.0000"
        assert without[1:4] == ["without", "this", "set"] and without[5] == "0.5000"
    run(sets, tmp_path / "out")
    assert len(calls()) == 4


def test_scores_are_of_the_persons_labels(sets, calls, tmp_path, capsys):
    labels = np.full((24, 32), 7, np.uint8)
    labels[:, :8], labels[:, 16:] = 0, 9
    for path in tmp_path.glob("*/training/*_matte.png"):
        cv2.imwrite(str(path), labels)
    run(sets, tmp_path / "out", "a", person_label=["9"])
    whole, without = (line.split() for line in capsys.readouterr().out.splitlines()[1:])
    assert (whole[4], without[5]) == ("1.0000", "0.5000")


def test_some_sets_are_left_out(sets, calls, tmp_path, capsys):
    run(sets, tmp_path / "out", leave_out="b")
    assert calls() == ["abc", "ac"]
    rows = capsys.readouterr().out.splitlines()[1:]
    assert [row.split()[0] for row in rows] == ["b", "b"]
    with pytest.raises(UserError, match="named d"):
        run(sets, tmp_path / "out", leave_out="d")


def test_trainings_with_other_flags_or_sets_are_not_used(sets, calls, tmp_path):
    run(sets, tmp_path / "out", leave_out="a")
    with pytest.raises(UserError, match="all was trained with another --data:"):
        run(sets[:2], tmp_path / "out")
    with pytest.raises(UserError, match="all was trained with another --model:"):
        run(sets, tmp_path / "out", model="fast_scnn")
    run(sets, tmp_path / "out", leave_out="a", workers=0)
    assert len(calls()) == 2
    (tmp_path / "out" / "all" / "best.json").write_text('"run/best.weights.h5"')  # as in November
    with pytest.raises(UserError, match="choose another --output"):
        run(sets, tmp_path / "out")


def test_trainings_have_the_network_of_their_initial_weights(sets, calls, tmp_path):
    run(sets, tmp_path / "out", weight_dir=str(ROOT / "trained_models" / "lite_unet"))
    kept = json.loads((tmp_path / "out" / "all" / "best.json").read_text())["training"]
    assert (kept["model"], kept["input_shape"]) == ("lite_unet", "288x256")


def test_one_set_is_not_enough(sets, calls, tmp_path):
    with pytest.raises(UserError, match="at least two"):
        run(sets[:1], tmp_path)


def test_a_training_that_fails_ends_the_comparison(sets, calls, tmp_path, monkeypatch, capfd):
    def train(model="mattingnet", val_ratio=0.8, data=(), checkpoint_path=""):
        raise UserError("no pictures")

    monkeypatch.setattr(leave_one_out, "train", train)
    with pytest.raises(UserError, match="did not finish"):
        run(sets, tmp_path / "out")
    assert "no pictures" in capfd.readouterr().err
