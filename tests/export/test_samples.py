"""Tests the pictures for the calibration and the checks of an export."""

import pytest
import tiny_portraits

from portrait.errors import UserError
from portrait.export.samples import load_samples


def test_no_picture_both_calibrates_and_checks(tmp_path):
    """All pictures are checked, with or without a `testing` sub-folder."""
    folders = [tmp_path / name for name in ("both", "plain", "half")]
    for seed, part in enumerate(("both/training", "both/testing", "plain", "half/training")):
        tiny_portraits.write(tmp_path / part, 4, (32, 32), seed)
    samples = load_samples(folders, (32, 32))
    calibrates, checks = ({p.tobytes() for p in s} for s in (samples.calibration, samples.pictures))
    assert not calibrates & checks and len(calibrates | checks) == 16
    assert {p.tobytes() for p in tiny_portraits.draw(4, (32, 32), 1)[0]} <= checks


def test_a_testing_folder_without_mattes_is_named(tmp_path):
    """Otherwise, half of the training pictures would check the files."""
    tiny_portraits.write(tmp_path / "training", 4, (32, 32))
    tiny_portraits.write(tmp_path / "testing", 4, (32, 32), 1)
    for matte in (tmp_path / "testing").rglob("*_matte.png"):
        matte.unlink()
    with pytest.raises(UserError, match=r"no pictures with mattes in .*testing"):
        load_samples([tmp_path], (32, 32))
