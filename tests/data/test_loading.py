"""Tests reading pairs at their own size, and loading them at one size."""

import logging
import tempfile

import numpy as np
import pytest
from PIL import Image

from portrait.data.loading import load
from portrait.data.pairs import Pair, read_pair, read_pairs
from portrait.errors import UserError
from portrait.io.images import PictureError


def pair(folder, name, size=(30, 40), matte_size=None, blank=False) -> Pair:
    """A picture whose left half is bright; its matte is that half. Sizes are (width, height)."""
    image, matte = folder / f"{name}.png", folder / f"{name}_matte.png"
    half = np.zeros((size[1], size[0]), np.uint8)
    half[:, : size[0] // 2] = 255
    Image.fromarray(half).save(image)
    Image.fromarray(half).resize(matte_size or size, Image.Resampling.NEAREST).save(matte)
    return Pair(image, None if blank else matte)


def test_mattes_of_another_size_fit_the_image(tmp_path):
    image, matte = read_pair(pair(tmp_path, "a", (60, 80), (30, 40)))
    assert image.shape == (80, 60, 3)
    assert matte.shape == (80, 60)
    assert (matte[:, :28] == 255).all()
    assert (matte[:, 32:] == 0).all()


@pytest.mark.parametrize(("width", "fits"), [(98, False), (99, True), (101, True), (103, False)])
def test_aspects_may_differ_by_two_percent(tmp_path, width, fits):
    made = pair(tmp_path, "a", (100, 100), (width, 100))
    if fits:
        assert read_pair(made)[1].shape == (100, 100)
    else:
        with pytest.raises(PictureError, match=rf"a_matte\.png: {width}x100 .* 100x100"):
            read_pair(made)


def test_load_leaves_out_what_cannot_be_used(tmp_path, caplog):
    pairs = [pair(tmp_path, str(n)) for n in range(4)] + [pair(tmp_path, "blank", blank=True)]
    pairs[1].image.write_bytes(pairs[1].image.read_bytes()[:-30])
    pairs.insert(2, pair(tmp_path, "wide", matte_size=(40, 30)))
    with caplog.at_level(logging.WARNING):
        pictures = load(pairs, (20, 10))
    assert [each.image.stem for each in pictures.pairs] == ["0", "2", "3", "blank"]
    assert pictures.images.shape == (4, 20, 10, 3)
    np.testing.assert_array_equal(pictures.images[0, 0, :, 0], [255] * 5 + [0] * 5)
    np.testing.assert_array_equal(pictures.mattes[2, 0], [255] * 5 + [0] * 5)
    assert not pictures.mattes[3].any()
    (record,) = caplog.records
    assert "2" in record.getMessage()
    assert "1.png: " in record.getMessage()
    assert "wide_matte.png: " in record.getMessage()
    with pytest.raises(UserError, match="1 pictures"):
        load(pairs[1:2], (20, 10))


def test_load_beyond_the_limit_uses_a_file_that_has_no_name(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    pairs = [pair(tmp_path, str(n)) for n in range(3)]
    on_disk, in_memory = load(pairs, (20, 10), limit=0), load(pairs, (20, 10))
    assert isinstance(on_disk.images, np.memmap)
    assert not isinstance(in_memory.images, np.memmap)
    np.testing.assert_array_equal(on_disk.images, in_memory.images)
    assert not list((tmp_path / "temporary").iterdir())


def test_mattes_without_anybody_are_named(tmp_path, caplog):
    pairs = [pair(tmp_path, name) for name in ("white", "faint", "empty")]
    Image.linear_gradient("L").point(lambda level: level // 3).save(pairs[1].matte)
    Image.new("RGB", (256, 256)).save(pairs[1].image)
    Image.new("L", (30, 40)).save(pairs[2].matte)
    for read in (lambda: load(pairs, (20, 10)), lambda: list(read_pairs(pairs))):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            read()
        (record,) = caplog.records
        assert "(1)" in record.getMessage()
        assert "faint_matte.png" in record.getMessage()
