"""Tests the previous alphas of training: near the matte, sometimes missing or wrong."""

import cv2
import numpy as np
import pytest

from augmentation import Augmentation
from portrait.data.pairs import find_pairs
from portrait.io.images import write_png
from portrait.training.previous import WithPrevious, load, make_batches, previous_alpha

SIZE = (64, 64)


def disc(x, y, radius=18):
    matte = np.zeros(SIZE, np.uint8)
    cv2.circle(matte, (x, y), radius, 255, -1, cv2.LINE_AA)
    return matte


@pytest.fixture
def pairs(tmp_path):
    """Pictures that are their own mattes."""
    for number in range(6):
        matte = disc(20 + 4 * number, 40 - 3 * number)
        write_png(tmp_path / f"{number}.png", np.repeat(matte[..., None], 3, axis=2))
        write_png(tmp_path / f"{number}_matte.png", matte)
    return find_pairs([tmp_path], "training")


def test_most_are_near_some_are_missing_and_some_wrong():
    matte, other = disc(24, 24), disc(48, 48, 10)
    alphas = [previous_alpha(matte, other, np.random.default_rng(seed)) for seed in range(300)]
    assert all(alpha.shape == SIZE and alpha.dtype == np.uint8 for alpha in alphas)
    missing = [alpha for alpha in alphas if not alpha.any()]
    assert 0.12 < len(missing) / 300 < 0.28

    def overlap(alpha, truth):
        hard = alpha > 127
        return (hard & (truth > 127)).sum() / max(1, (hard | (truth > 127)).sum())

    there = [alpha for alpha in alphas if alpha.any()]
    near = np.array([overlap(alpha, matte) for alpha in there])
    wrong = np.array([overlap(alpha, other) for alpha in there])
    assert 0.05 < (wrong > 0.5).mean() < 0.2
    assert np.median(near[wrong < 0.5]) > 0.75
    # Few are the matte itself, or the network would learn to copy.
    assert (near > 0.995).mean() < 0.15


def test_the_augmented_matte_is_what_moves():
    """A picture that is its own matte remains so, and the previous alpha follows both."""
    mattes = np.stack([disc(20 + 4 * n, 30) for n in range(6)])
    images = np.zeros((6, *SIZE, 4), np.uint8)
    images[..., :3], images[..., 3] = mattes[..., None], 77
    make = WithPrevious(Augmentation(["flip_horizontal", "affine"]))
    augmented, learned = make(images, mattes, 5)
    assert augmented.shape == images.shape and not np.array_equal(learned, mattes)
    assert np.array_equal(augmented[..., 0], learned)
    assert (augmented[..., 3] == 77).mean() < 0.02
    again, _ = make(images, mattes, 5)
    assert np.array_equal(again, augmented)
    assert not np.array_equal(make(images, mattes, 6)[0], augmented)


@pytest.mark.parametrize("workers", [0, 1])
def test_batches_have_four_channels(pairs, workers):
    seen = []

    def teachers(images, mattes):
        seen.append(images.shape)
        return mattes // 2

    training, validation = make_batches(
        pairs[:4], pairs[4:], SIZE, 4, Augmentation([]), teachers=teachers, workers=workers
    )
    try:
        images, targets = training[0]
        assert images.shape == (4, *SIZE, 4) and targets["output"].shape == (4, *SIZE, 1)
        assert targets["output"].max() == pytest.approx(127 / 255)
        # Every epoch has other alphas.
        training.epoch = 1
        assert not np.array_equal(training[0][0][..., 3], images[..., 3])
    finally:
        training.close()
    assert workers or seen[0] == (4, *SIZE, 3)
    assert np.array_equal(validation[0][0], validation[0][0])
    assert validation[0][0].shape == (2, *SIZE, 4)


def test_validation_is_always_the_same(pairs):
    first, second = load(pairs, SIZE), load(pairs, SIZE)
    assert np.array_equal(first.images, second.images)
    assert first.images.shape == (6, *SIZE, 4) and first.images[..., 3].any()
