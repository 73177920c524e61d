"""Tests what a step does without pictures that it cannot use, and when it is stopped."""

import multiprocessing
import time
from functools import partial

import numpy as np
import pytest
import tiny_portraits
from PIL import Image

from portrait.commands import prepare as commands
from portrait.data.pairs import find_pairs
from portrait.errors import UserError
from portrait.prepare import groups
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
