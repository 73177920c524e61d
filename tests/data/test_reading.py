"""Pictures that are read when they are needed: the same batches, wherever they are kept."""

import logging
import shutil
import tempfile
from collections import namedtuple

import numpy as np
import pytest
import tiny_portraits
from batches import same
from PIL import Image

from data_generator import make_batches
from portrait.data import reading
from portrait.data.loading import MEMORY_LIMIT, load
from portrait.data.pairs import find_pairs
from portrait.data.reading import chosen_cache, open_pictures
from portrait.errors import UserError

SIZE = (24, 16)


@pytest.fixture
def pairs(tmp_path):
    """Of twelve drawn portraits, larger than `SIZE`."""
    return find_pairs([tiny_portraits.write(tmp_path / "set", 12, (48, 36))], "training")


def darken(images, mattes, seed):
    return images // (seed % 5 + 1), mattes


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_are_the_same_wherever_pictures_are_kept(pairs, workers):
    made = [
        make_batches(pairs[:9], pairs[9:], SIZE, 4, darken, seed=3, workers=workers, cache=cache)
        for cache in ("memory", "disk", "none")
    ]
    for part in range(2):
        memory, *others = (each[part] for each in made)
        for epoch in (0, 1, 0):
            for each in (memory, *others):
                each.epoch = epoch
            for other in others:
                assert all(same(one, two) for one, two in zip(memory, other, strict=True))
    for each in made:
        each[0].close(), each[1].close()


@pytest.mark.parametrize("cache", ["disk", "none"])
def test_what_is_read_looks_like_an_array(pairs, cache):
    decoded, read = load(pairs, SIZE), open_pictures(pairs, SIZE, cache)
    assert read.images.shape == decoded.images.shape and read.mattes.shape == decoded.mattes.shape
    for chosen in (np.array([3, 1, 1]), [5, 2], slice(2, 9, 3), 4, -1):
        assert np.array_equal(read.images[chosen], decoded.images[chosen])
        assert np.array_equal(read.mattes[chosen], decoded.mattes[chosen])
    assert np.array_equal(np.stack(list(read.mattes)), decoded.mattes)


def test_the_disk_keeps_what_was_read_for_all_workers(pairs, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    training, _ = make_batches(pairs, pairs[:1], SIZE, 4, None, workers=2, cache="disk")
    first = [images.copy() for images, _ in training]
    training.close()
    assert not list((tmp_path / "temporary").iterdir())
    shutil.rmtree(pairs[0].image.parent)
    for before, (images, _) in zip(first, training, strict=True):
        assert np.array_equal(before, images)


def test_a_pair_that_cannot_be_used_is_replaced_and_named(pairs, caplog):
    pairs[2].image.write_bytes(pairs[2].image.read_bytes()[:-30])
    pictures = open_pictures(pairs, SIZE, "none")
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            images = pictures.images[np.array([1, 2, 3])]
            pictures.images[np.array([0])]
    assert np.array_equal(images[1], images[2]) and not np.array_equal(images[0], images[1])
    (record,) = caplog.records
    assert str(pairs[2].image) in record.getMessage()
    for each in pairs:
        each.image.write_bytes(b"")
    with pytest.raises(UserError, match="12 pictures"):
        open_pictures(pairs, SIZE, "none").images[np.array([0])]


def test_each_dim_matte_is_named_once(pairs, caplog):
    ramp = np.linspace(0, 100, 48 * 36).astype(np.uint8).reshape(48, 36)
    for pair in pairs[2:4]:
        Image.fromarray(ramp).save(pair.matte)
    pictures = open_pictures(pairs, SIZE, "none")
    with caplog.at_level(logging.WARNING):
        for numbers in ([1, 2, 3], [0], [2, 3]):
            pictures.mattes[np.array(numbers)]
    assert len(caplog.messages) == 2
    for pair, message in zip(pairs[2:4], caplog.messages, strict=True):
        assert "below half" in message and pair.matte.name in message


@pytest.mark.parametrize("cache", ["memory", "none"])
def test_dim_mattes_count_as_empty(pairs, cache):
    """As in the scores, which count people by alphas from 128."""
    for pair, level in zip(pairs[:2], (127, 128), strict=True):
        Image.new("L", (36, 48), level).save(pair.matte)
    mattes = open_pictures(pairs[:2], SIZE, cache).mattes
    assert (mattes[0] == 0).all() and (mattes[1] == 128).all()


def test_the_cache_is_chosen_by_size(monkeypatch, pairs):
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(reading.shutil, "disk_usage", lambda _: usage(100 << 30))
    assert chosen_cache(MEMORY_LIMIT) == "memory"
    assert chosen_cache(MEMORY_LIMIT + 1) == chosen_cache(50 << 30) == "disk"
    assert chosen_cache((50 << 30) + 1) == "none"
    assert not open_pictures(pairs, SIZE).lazy
