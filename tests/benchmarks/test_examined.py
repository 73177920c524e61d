"""Tests that benchmarks read mattes as main.py does."""

import numpy as np
import pytest
from PIL import Image
from project import ROOT

from benchmarks.examined import some_images
from benchmarks.side_by_side import find_datasets
from portrait.data.pairs import read_pair
from portrait.errors import UserError


def write(folder, *mattes):
    """Pictures in the layout of PFCN+, in a `testing` sub-folder."""
    testing = folder / "testing"
    testing.mkdir(parents=True)
    for number, matte in enumerate(mattes):
        Image.new("RGB", matte.shape[::-1]).save(testing / f"{number}.png")
        Image.fromarray(matte).save(testing / f"{number}_matte.png")
    return str(folder)


def test_a_folder_decides_what_the_values_of_its_mattes_mean(tmp_path):
    ramp = np.uint8(np.linspace(0, 255, 48 * 36)).reshape(48, 36)
    soft = write(tmp_path / "soft", ramp, ramp // 255)
    labels = np.where(ramp > 200, 15, np.where(ramp > 100, 9, 0)).astype(np.uint8)
    people = write(tmp_path / "people", labels, np.where(labels == 15, labels, 0))
    with pytest.raises(UserError, match="--person_label"):
        find_datasets([soft, people])
    found = find_datasets([soft, people], ["15"])
    assert list(found) == ["soft", "people"]
    (_, one), masks = ([read_pair(pair)[1] for pair in pairs] for pairs in found.values())
    np.testing.assert_array_equal(one, ramp // 255)
    for mask in masks:
        np.testing.assert_array_equal(mask, 255 * (ramp > 200))


def test_no_benchmark_finds_pairs_without_examining_them():
    files = [path for path in (ROOT / "benchmarks").glob("*.py") if path.stem != "examined"]
    assert files and [path.name for path in files if "find_pairs" in path.read_text()] == []


def test_a_folder_without_pictures(tmp_path):
    with pytest.raises(UserError, match="no pictures"):
        some_images(str(tmp_path))
