"""Reading pairs, and batches that are the same whatever the number of workers."""

import logging
import os
import signal

import keras
import numpy as np
import pytest
from PIL import Image

import data_generator
from data_generator import Pair, PortraitSequence, load, read_pair
from files import UserError
from pictures import PictureError


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
    assert "2 left out" in record.getMessage()
    assert "1.png: " in record.getMessage()
    assert "wide_matte.png: " in record.getMessage()
    with pytest.raises(UserError, match="none of 1 pictures"):
        load(pairs[1:2], (20, 10))


def test_load_beyond_the_limit_uses_a_file_that_has_no_name(tmp_path, monkeypatch):
    monkeypatch.setattr(data_generator.tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    pairs = [pair(tmp_path, str(n)) for n in range(3)]
    on_disk, in_memory = load(pairs, (20, 10), limit=0), load(pairs, (20, 10))
    assert isinstance(on_disk.images, np.memmap)
    assert not isinstance(in_memory.images, np.memmap)
    np.testing.assert_array_equal(on_disk.images, in_memory.images)
    assert not list((tmp_path / "temporary").iterdir())


def shift(images, mattes, seed):
    """Stands for an augmentation: moves a batch sideways by as much as the seed says."""
    step = np.random.default_rng(seed).integers(1, 8)
    return np.roll(images, step, axis=2), np.roll(mattes, step, axis=2)


def sequence(count=23, batch_size=5, **options) -> PortraitSequence:
    """Picture n is n everywhere, so that batches show which pictures they hold."""
    images = np.zeros((count, 32, 24, 3), np.uint8)
    images[..., 0] = np.arange(count)[:, None, None]
    images[..., 1] = np.arange(24)
    mattes = np.zeros((count, 32, 24), np.uint8)
    mattes[:, 8:24, 4:16] = 255
    return PortraitSequence(images, mattes, batch_size, **options)


def held(batch) -> list[int]:
    return batch[0][:, 0, 0, 0].astype(int).tolist()


def same(one, other) -> bool:
    return np.array_equal(one[0], other[0]) and all(
        np.array_equal(one[1][name], other[1][name]) for name in one[1]
    )


def test_a_batch_has_the_contract_s_shapes_and_ranges():
    images, targets = sequence()[0]
    assert images.shape == (5, 32, 24, 3)
    assert images.dtype == np.float32
    assert images.max() == 23  # raw values, not 0..1
    assert set(targets) == {"output", "boundary_attention"}
    for target in targets.values():
        assert target.shape == (5, 32, 24, 1)
        assert target.dtype == np.float32
        assert np.unique(target).tolist() == [0, 1]
    assert targets["output"][0].sum() == 16 * 12
    assert set(sequence(targets=["output"])[0][1]) == {"output"}


def test_every_picture_comes_once_in_batches_of_nearly_one_size():
    for count, sizes in ((23, [5, 5, 5, 4, 4]), (21, [5, 4, 4, 4, 4]), (3, [3]), (10, [5, 5])):
        for shuffle in (False, True):
            batches = list(sequence(count, shuffle=shuffle))
            assert [len(images) for images, _ in batches] == sizes
            assert sorted(n for batch in batches for n in held(batch)) == list(range(count))


def test_order_changes_with_epoch_and_seed_only_if_shuffled():
    plain, mixed, other = sequence(), sequence(shuffle=True), sequence(shuffle=True, seed=1)
    first = [held(batch) for batch in mixed]
    assert [held(batch) for batch in other] != first
    plain.epoch = mixed.epoch = 1
    assert [number for batch in plain for number in held(batch)] == list(range(23))
    assert [held(batch) for batch in mixed] != first
    mixed.epoch = 0
    assert [held(batch) for batch in mixed] == first


@pytest.mark.parametrize("workers", [1, 3])
def test_workers_change_nothing(workers):
    options = {"augmentation": shift, "shuffle": True, "seed": 7}
    alone, helped = sequence(**options), sequence(workers=workers, **options)
    asked = [(0, 0), (0, 1)] + [(epoch, index) for epoch in (0, 1, 5) for index in range(5)]
    for epoch, index in [*asked, (5, 2), (0, 4)]:  # in order, again, resumed, at random
        alone.epoch = helped.epoch = epoch
        assert same(alone[index], helped[index])
    helped.close()
    assert same(alone[1], helped[1])


@pytest.mark.skipif(not data_generator.AVAILABLE, reason="no worker processes on this system")
def test_batches_go_on_when_workers_are_killed(caplog):
    parent = os.getpid()

    def deadly(images, mattes, seed):
        if os.getpid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)
        return shift(images, mattes, seed)

    alone = sequence(augmentation=shift, shuffle=True)
    doomed = sequence(augmentation=deadly, shuffle=True, workers=2)
    assert all(same(one, other) for one, other in zip(alone, doomed, strict=True))
    assert "the main process does its work" in caplog.text


def test_an_exception_in_a_worker_is_the_caller_s():
    def broken(images, mattes, seed):
        raise ZeroDivisionError("of the augmentation")

    with pytest.raises(ZeroDivisionError, match="of the augmentation"):
        sequence(augmentation=broken, workers=1)[0]


def test_fit_sees_every_epoch_in_order_and_resumes():
    """Keras itself draws batches and ends epochs before the first: the callback sets it right."""

    ramp = np.arange(24, dtype=np.float32)[:, None]  # makes the place of things matter

    def losses(first, last):
        batches = sequence(augmentation=shift, shuffle=True, workers=1, targets=["output"])
        inputs = keras.Input((32, 24, 3))
        model = keras.Model(inputs, {"output": inputs[..., :1] * ramp})
        model.compile(loss={"output": "mean_squared_error"})
        history = model.fit(
            batches,
            initial_epoch=first,
            epochs=last,
            shuffle=False,
            verbose=0,
            callbacks=[batches.follow_epoch()],
        )
        batches.close()
        return history.history["loss"]

    whole = losses(0, 3)
    expected = sequence(augmentation=shift, shuffle=True, targets=["output"])
    for epoch in range(3):
        expected.epoch = epoch
        terms = [
            (len(images), ((images[..., :1] * ramp - targets["output"]) ** 2).mean())
            for images, targets in expected
        ]
        mean = sum(count * term for count, term in terms) / 23
        assert whole[epoch] == pytest.approx(mean, rel=1e-4)
    assert len(set(whole)) == 3
    assert losses(1, 3) == pytest.approx(whole[1:], rel=1e-6)
