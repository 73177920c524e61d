"""Tests that batches do not depend on the number of workers or on their failures."""

import mmap
import os
import signal
import time

import keras
import numpy as np
import processes
import pytest
import tiny_portraits
from batches import same
from project import ROOT

from data_generator import PortraitSequence, make_batches
from portrait.data import workers as workers_module
from portrait.data.loading import load
from portrait.data.pairs import find_pairs
from portrait.data.workers import AVAILABLE


def shift(images, mattes, seed):
    """Replaces an augmentation: shifts a batch sideways by the seed."""
    step = np.random.default_rng(seed).integers(1, 8)
    return np.roll(images, step, axis=2), np.roll(mattes, step, axis=2)


def sequence(count=23, batch_size=5, **options) -> PortraitSequence:
    """All pixels of picture n are n, so that batches show their pictures."""
    images = np.zeros((count, 32, 24, 3), np.uint8)
    images[..., 0] = np.arange(count)[:, None, None]
    images[..., 1] = np.arange(24)
    mattes = np.zeros((count, 32, 24), np.uint8)
    mattes[:, 8:24, 4:16] = 255
    return PortraitSequence(images, mattes, batch_size, **options)


def held(batch) -> list[int]:
    return batch[0][:, 0, 0, 0].astype(int).tolist()


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


def test_validation_on_devices_counts_every_picture_once():
    """The weights undo what comes twice, in means over an epoch as Keras takes them."""
    value = np.random.default_rng(0).random(23)
    batches = list(sequence(batch_size=8, multiple=4))
    pictures = sum(len(images) for images, *_ in batches)
    assert pictures == 24
    total = sum((weights * value[held(batch)]).sum() for *batch, weights in batches)
    assert total / pictures == pytest.approx(value.mean(), rel=1e-6)
    shares = [sequence(batch_size=8, multiple=4, share=(host, 2)) for host in (0, 1)]
    for whole, *parts in zip(batches, *shares, strict=True):
        assert sorted(held(parts[0]) + held(parts[1])) == sorted(held(whole))
        assert len(parts[0][2]) == len(parts[1][2]) == len(whole[2]) / 2
    assert all(len(batch) == 2 for batch in sequence(batch_size=8, multiple=4, shuffle=True))


def test_hosts_augment_their_parts_differently():
    seeds = []

    def note(images, mattes, seed):
        seeds.append(seed)
        return images, mattes

    for host in range(2):
        list(sequence(batch_size=4, augmentation=note, multiple=4, share=(host, 2)))
    assert len(set(seeds)) == len(seeds) == 2 * 6


def test_order_changes_with_epoch_and_seed_only_if_shuffled():
    plain, mixed, other = sequence(), sequence(shuffle=True), sequence(shuffle=True, seed=1)
    first = [held(batch) for batch in mixed]
    assert [held(batch) for batch in other] != first
    plain.epoch = mixed.epoch = 1
    assert [number for batch in plain for number in held(batch)] == list(range(23))
    assert [held(batch) for batch in mixed] != first
    mixed.epoch = 0
    assert [held(batch) for batch in mixed] == first


def test_every_batch_of_every_epoch_and_seed_is_augmented_in_its_own_way():
    seeds = []

    def note(images, mattes, seed):
        seeds.append(seed)
        return images, mattes

    for seed in (0, 1):
        batches = sequence(augmentation=note, seed=seed)
        for batches.epoch in (0, 1):
            assert len(list(batches)) == 5
    assert len(set(seeds)) == len(seeds) == 2 * 2 * 5


def test_bands_are_kept_in_the_nearest_of_256_levels():
    _, targets = sequence(boundary=lambda matte: np.full(matte.shape, 0.999, np.float32))[0]
    assert (targets["boundary_attention"] == 1).all()


@pytest.fixture
def pairs(tmp_path):
    """Of twelve drawn portraits."""
    return find_pairs([tiny_portraits.write(tmp_path / "set", 12, (32, 24))], "training")


def test_only_what_trains_is_augmented_and_taught(pairs):
    training, validation = make_batches(
        *(pairs[:4], pairs[4:8], (32, 24), 4),
        lambda images, mattes, seed: (images // 2, mattes),
        boundary=lambda matte: np.full(matte.shape, 0.2, np.float32),
        teachers=lambda images, mattes: np.full_like(mattes, 102),
    )
    trained, validated = load(pairs[:4], (32, 24)), load(pairs[4:8], (32, 24))
    images, targets = training[0]
    order = [int(np.abs(trained.images // 2 - image).sum((1, 2, 3)).argmin()) for image in images]
    assert sorted(order) == [0, 1, 2, 3]
    assert np.array_equal(images, trained.images[order] // 2)
    assert targets["output"] == pytest.approx(102 / 255)
    assert targets["boundary_attention"] == pytest.approx(51 / 255)
    images, targets = validation[0]
    assert np.array_equal(images, validated.images)
    assert targets["output"][..., 0] == pytest.approx(validated.mattes / 255)
    assert targets["boundary_attention"] == pytest.approx(51 / 255)


def test_what_trains_comes_in_an_order_of_seed_and_epoch(pairs):
    def orders(seed):
        training, validation = make_batches(pairs, pairs, (32, 24), 3, None, seed=seed)
        epochs = []
        for training.epoch in (0, 1):
            epochs.append([images.sum() for images, _ in training])
        return *epochs, [images.sum() for images, _ in validation]

    first, second, validated = orders(0)
    assert first != second and first != orders(1)[0]
    assert orders(1)[2] == validated


@pytest.mark.parametrize("workers", [1, 3])
def test_workers_change_nothing(workers):
    here = []

    def noted(images, mattes, seed):
        here.append(seed)  # of this process: what workers note is lost with them
        return shift(images, mattes, seed)

    options = {"shuffle": True, "seed": 7}
    alone = sequence(augmentation=shift, **options)
    helped = sequence(augmentation=noted, workers=workers, **options)
    asked = [(0, 0), (0, 1)] + [(epoch, index) for epoch in (0, 1, 5) for index in range(5)]
    for epoch, index in [*asked, (5, 2), (0, 4)]:  # in order, again, resumed, at random
        alone.epoch = helped.epoch = epoch
        assert same(alone[index], helped[index])
    assert not here or not AVAILABLE
    helped.close()
    assert same(alone[1], helped[1]) and here


def test_workers_of_validation_prepare_only_what_the_next_epoch_needs():
    made = np.frombuffer(mmap.mmap(-1, 8), np.int64)  # in memory that forked processes share

    def counted(matte):
        made[0] += 1
        return np.zeros(matte.shape, np.float32)

    batches = sequence(boundary=counted, workers=1)
    for _ in range(3):
        assert len(list(batches)) == 5
    batches.close()
    assert 3 * 23 <= made[0] <= 3 * 23 + 3 * 5  # three batches of the next epoch


@pytest.mark.skipif(not AVAILABLE, reason="no worker processes on this system")
def test_batches_go_on_when_workers_are_killed(caplog):
    parent = os.getpid()

    def deadly(images, mattes, seed):
        if os.getpid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)
        return shift(images, mattes, seed)

    alone = sequence(augmentation=shift, shuffle=True)
    doomed = sequence(augmentation=deadly, shuffle=True, workers=2)
    assert all(same(one, other) for one, other in zip(alone, doomed, strict=True))
    assert caplog.records


def test_an_exception_in_a_worker_is_the_caller_s():
    def broken(images, mattes, seed):
        raise ZeroDivisionError("of the augmentation")

    with pytest.raises(ZeroDivisionError, match="of the augmentation"):
        sequence(augmentation=broken, workers=1)[0]


def test_fit_sees_every_epoch_in_order_and_resumes():
    """Keras draws batches and ends epochs before the first one; the callback corrects this."""

    ramp = np.arange(24, dtype=np.float32)[:, None]  # makes positions matter

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


@pytest.mark.skipif(not AVAILABLE, reason="no worker processes on this system")
def test_batches_go_on_when_a_worker_hangs(monkeypatch):
    monkeypatch.setattr(workers_module, "PATIENCE", 0.3)
    parent = os.getpid()

    def stuck(images, mattes, seed):
        if os.getpid() != parent:
            time.sleep(60)
        return shift(images, mattes, seed)

    hanging = sequence(augmentation=stuck, workers=1)
    start = time.monotonic()
    assert same(hanging[0], sequence(augmentation=shift)[0])
    assert time.monotonic() - start < 30


@pytest.mark.slow
def test_ctrl_c_in_the_middle_of_an_epoch_ends_the_process():
    ended = processes.python(ROOT / "tests" / "helpers" / "interrupted_fit.py")
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.split() == ["interrupted"]
