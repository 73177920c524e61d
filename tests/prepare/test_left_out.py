"""Tests what a step does without pictures that it cannot use, and when it is stopped."""

import multiprocessing
import time
from functools import partial

import numpy as np
import pytest
import tiny_portraits
from PIL import Image

from portrait.commands import prepare as commands
from portrait.data import pairs
from portrait.data.pairs import find_pairs
from portrait.errors import UserError
from portrait.prepare import compositions, datasets, distil, groups, shards, suspects
from portrait.prepare.datasets import in_processes


def test_a_number_sign_in_a_name_is_no_comment(tmp_path):
    made = tiny_portraits.write(tmp_path / "set #2", 3, (60, 45))
    (tmp_path / "bad.txt").write_text("set #2/0000\nset #2/0002  # see set #1\n")
    written = commands.prepare([made], tmp_path / "new", exclude=str(tmp_path / "bad.txt"))
    assert [path.stem for path in written] == ["0001"]


def test_mattes_that_show_nobody_are_named(tmp_path, caplog):
    """A soft matte of them is empty, so no later command could notice."""
    made = tiny_portraits.write(tmp_path / "desk", 4, (120, 90))
    matte = np.array(Image.open(made / "0001_matte.png"))
    Image.fromarray(matte // 4).save(made / "0001_matte.png")
    commands.prepare([made], tmp_path / "soft", soft=True)
    commands.teachers([made], tmp_path / "taught", [str(made)])
    scenes = [np.full((90, 120, 3), 60, np.uint8)]
    groups.write(find_pairs([made], "training"), scenes, tmp_path / "groups", 4, 0)
    warnings = [each for each in caplog.messages if "below half" in each]
    assert len(warnings) == 3 and all(each.count("0001_matte.png") == 1 for each in warnings)


def _cutouts(folder, output):
    cutouts = [folder / f"{number:04}.png" for number in range(4)]
    compositions.write(cutouts, [np.zeros((60, 45, 3), np.uint8)], output, 1, 0)


def _empty(folder, output):
    photos = [folder / f"{number:04}.png" for number in range(4)]
    found = suspects.find_empty(lambda image: np.zeros(image.shape[:2]), photos, 0.5)
    assert len(found) == 3


def _suspects(folder, output):
    nobody = np.zeros((60, 45), np.float32)
    assert len(suspects.rank(lambda image: nobody, find_pairs([folder], "training"))) == 3


@pytest.mark.parametrize(
    ("module", "reads", "step"),
    [
        (
            datasets,
            "read_pair",
            lambda folder, output: commands.prepare([folder], output, workers=1),
        ),
        (shards, "read_pair", lambda folder, output: commands.shards([folder], output, shards=1)),
        (
            distil,
            "read_pair",
            lambda folder, output: commands.teachers([folder], output, [str(folder)]),
        ),
        (compositions, "read_cutout", _cutouts),
        (suspects, "read_image", _empty),
        (pairs, "read_pair", _suspects),
    ],
)
def test_a_picture_that_needs_too_much_memory_is_left_out(
    module, reads, step, tmp_path, monkeypatch, caplog
):
    folder = tiny_portraits.write(tmp_path / "desk", 4, (60, 45))
    read = getattr(module, reads)

    def reading(source):
        if "0002" in str(source):
            raise MemoryError("Unable to allocate 5.6 GiB")
        if reads == "read_cutout":
            return np.zeros((60, 45, 3), np.uint8), np.ones((60, 45), np.float32)
        return read(source)

    monkeypatch.setattr(module, reads, reading)
    step(folder, tmp_path / "new")
    (said,) = (each for each in caplog.messages if "left out" in each)
    assert said.startswith("1 left out") and "0002.png: there is not enough memory" in said


@pytest.mark.parametrize("step", [commands.blank, partial(commands.cutouts, backgrounds=["x"])])
def test_a_folder_without_pictures_is_named(step, tmp_path):
    (tmp_path / "nothing").mkdir()
    with pytest.raises(UserError, match=r"no pictures in .*nothing"):
        step([tmp_path / "nothing"], tmp_path / "Blank")


def test_a_stop_does_not_wait_for_the_pictures_that_are_being_prepared():
    """Soft mattes of a dozen large photographs take minutes."""
    earlier, start = set(multiprocessing.active_children()), time.monotonic()
    with pytest.raises(ValueError, match="non-negative"):
        in_processes(time.sleep, [-1, 60], 2, iter, chunk=1)
    assert time.monotonic() - start < 60
    assert set(multiprocessing.active_children()) <= earlier
