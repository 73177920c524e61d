"""Tests the previous alphas of training: near the matte, sometimes missing or wrong."""

import cv2
import numpy as np
import pytest

from augmentation import Augmentation
from portrait.data.pairs import find_pairs
from portrait.io.images import write_png
from portrait.training.previous import WithPrevious, load, make_batches, previous_alpha

SIZE = (64, 64)


def white_is_person(image):
    return image.mean(axis=2, dtype=np.float32) / 255


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


def alphas_of(image, matte, other, matte_fn=white_is_person, count=400):
    return [
        previous_alpha(image, matte, other, matte_fn, np.random.default_rng(seed))
        for seed in range(count)
    ]


def overlap(alpha, truth):
    hard = alpha > 127
    return (hard & (truth > 127)).sum() / max(1, (hard | (truth > 127)).sum())


def test_most_are_near_some_are_missing_and_some_wrong():
    matte, other = disc(24, 24), disc(48, 48, 10)
    alphas = alphas_of(np.repeat(matte[..., None], 3, axis=2), matte, other)
    assert all(alpha.shape == SIZE and alpha.dtype == np.uint8 for alpha in alphas)
    there = [alpha for alpha in alphas if alpha.any()]
    assert 0.10 < 1 - len(there) / 400 < 0.21
    near = np.array([overlap(alpha, matte) for alpha in there])
    assert 0.04 < np.mean([overlap(alpha, other) > 0.5 for alpha in there]) < 0.14
    assert np.median(near) > 0.75
    # Many are wrong in a large part, and few are the matte itself, or the network would copy.
    assert 0.2 < (near < 0.6).mean() < 0.5
    assert (near > 0.995).mean() < 0.15


def test_many_are_alphas_of_the_network_for_a_picture_that_moved():
    """The network finds a person who is not in the matte, as networks do in every frame."""
    person, nobody = disc(30, 30), np.zeros(SIZE, np.uint8)
    seen = []

    def network(image):
        seen.append(white_is_person(image))
        return seen[-1]

    alphas = alphas_of(np.repeat(person[..., None], 3, axis=2), nobody, nobody, network)
    mistaken = np.mean([overlap(alpha, person) > 0.5 for alpha in alphas])
    assert 0.2 < mistaken < len(seen) / 400 < 0.45
    places = [np.argwhere(alpha > 0.5).mean(axis=0) for alpha in seen]
    moved = np.linalg.norm(np.array(places) - 30, axis=1)
    assert 0.1 < (moved < 0.3).mean() < 0.5 and 1 < np.median(moved[moved > 0.3]) < 5


def test_alphas_of_the_matte_do_not_depend_on_the_network():
    matte = disc(30, 30)
    white = np.full((*SIZE, 3), 255, np.uint8)
    alphas = alphas_of(white, matte, np.zeros_like(matte), lambda image: np.zeros(SIZE, np.float32))
    made = [alpha for alpha in alphas if overlap(alpha, matte) > 0.5]
    assert 0.2 < len(made) / 400 < 0.5
    # Only mattes that did not move and got no errors are the same.
    assert len({alpha.tobytes() for alpha in made}) > 0.9 * len(made)


def test_the_augmented_matte_is_what_moves():
    """A picture that is its own matte remains so, and the previous alpha follows both."""
    mattes = np.stack([disc(20 + 4 * n, 30) for n in range(6)])
    images = np.zeros((6, *SIZE, 4), np.uint8)
    images[..., :3], images[..., 3] = mattes[..., None], 77
    make = WithPrevious(white_is_person, Augmentation(["flip_horizontal", "affine"]))
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
    _, same = make_batches(pairs[:4], pairs[4:], SIZE, 4, Augmentation([]), seed=1)
    assert np.array_equal(validation[0][0], same[0][0])
    assert validation[0][0].shape == (2, *SIZE, 4)


def test_validation_is_always_the_same(pairs):
    first, second = load(pairs, SIZE), load(pairs, SIZE)
    assert np.array_equal(first.images, second.images)
    assert first.images.shape == (6, *SIZE, 4) and first.images[..., 3].any()
