"""Tests the tiles of the learned refinement, with refiners whose result is known."""

import cv2
import numpy as np
import pytest

from portrait.io.images import resize
from portrait.matting.learned import refine_learned, tiles

MARGIN = 16


class Refiner:
    """A refiner for tests: `answer` gives the alpha (h, w) from a tile (h, w, 5) in 0..255."""

    def __init__(self, answer, side=64):
        self.input_shape, self.answer, self.calls = (side, side), answer, 0

    def __call__(self, tile):
        assert tile.shape == (*self.input_shape, 5)
        self.calls += 1
        return self.answer(tile)[..., np.newaxis]


@pytest.fixture
def disc():
    """A picture that is white inside a disc, and the disc's matte."""
    matte = np.zeros((300, 260), np.float32)
    cv2.circle(matte, (130, 150), 70, 1.0, -1, cv2.LINE_AA)
    return np.repeat(np.rint(matte[..., None] * 255).astype(np.uint8), 3, axis=2), matte


def enlarge(image, alpha):
    return resize(alpha, image.shape[:2])


def own_colour(tile):
    """A perfect refiner: the true alpha is the brightness of the picture."""
    return tile[..., 0] / np.float32(255)


def no_change(tile):
    return tile[..., 3] / np.float32(255)


@pytest.mark.parametrize("shape", [(300, 260), (50, 400), (40, 30)])
def test_tiles_have_the_band_in_their_middle(shape):
    random = np.random.default_rng(0)
    band = (cv2.GaussianBlur(random.random(shape, np.float32), (0, 0), 8) > 0.5).astype(np.uint8)
    middle = np.zeros(shape, np.uint8)
    for top, left in tiles(band, (64, 64)):
        assert 0 <= top <= max(0, shape[0] - 64) and 0 <= left <= max(0, shape[1] - 64)
        # At the picture's border there is nothing beyond that a tile could see.
        first = [0 if start == 0 else start + MARGIN for start in (top, left)]
        last = [
            side if start + 64 >= side else start + 64 - MARGIN
            for start, side in zip((top, left), shape, strict=True)
        ]
        middle[first[0] : last[0], first[1] : last[1]] = 1
    assert (middle[band > 0] == 1).all()


@pytest.mark.parametrize(("scale", "pixel"), [(1, 1), (1, 2), (1, 4), (4, 7)])
def test_a_perfect_refiner_gives_the_truth_along_the_outline(disc, scale, pixel):
    image, matte = (resize(each, (300 * scale, 260 * scale)) for each in disc)
    coarse = resize(matte, (300 * scale // pixel, 260 * scale // pixel))
    alpha = refine_learned(image, coarse, enlarge, Refiner(own_colour))
    assert (alpha.dtype, alpha.shape) == (np.float32, matte.shape)
    # The border of the band is blended with the coarse alpha, which differs little there.
    assert np.abs(alpha - matte).max() < 0.1 and np.abs(alpha - matte).mean() < 1e-3


def test_a_refiner_that_changes_nothing_keeps_the_coarse_alpha(disc):
    image, matte = disc
    coarse = resize(matte, (100, 87))
    refiner = Refiner(no_change)
    alpha = refine_learned(image, coarse, enlarge, refiner)
    assert np.abs(alpha - matte).mean() < np.abs(resize(coarse, matte.shape) - matte).mean()
    # Each pixel of the coarse alpha stays the mean of its area.
    means = [resize(each, coarse.shape) for each in (alpha, resize(coarse, matte.shape))]
    kept, enlarged = (np.abs(each - coarse).mean() for each in means)
    assert kept < 0.35 * enlarged
    # An outline of 440 pixels, in tiles whose middle has 32 x 32.
    assert 440 / 32 / np.sqrt(2) < refiner.calls < 2 * 440 / 32


def test_precise_alphas_are_kept_and_others_corrected(disc):
    """The refiner's outline is 0.25 pixels too far to the right. If the coarse alpha is true, this
    error is removed; if the coarse alpha is wrong by eight pixels, the refiner's outline is kept.
    """
    image, matte = disc

    def aside(levels):
        true = own_colour(levels)
        return 0.75 * true + 0.25 * np.roll(true, 1, axis=1)

    error = {}
    for shift in (0, 8):
        coarse = resize(np.roll(matte, shift, axis=1), (100, 87))
        alpha = refine_learned(image, coarse, enlarge, Refiner(aside))
        error[shift] = np.abs(alpha - matte).mean()
    by_one, by_eight = (np.abs(np.roll(matte, n, axis=1) - matte).mean() for n in (1, 8))
    assert error[0] < 0.5 * 0.25 * by_one
    assert error[8] < 0.2 * by_eight


def test_an_alpha_without_edges_is_not_taken_for_a_coarse_one(disc):
    """In a wide uncertain area, the refiner must not add a person."""
    image, _ = disc
    haze = np.zeros((300, 260), np.float32)
    cv2.circle(haze, (130, 150), 60, 0.3, -1)
    haze = cv2.GaussianBlur(haze, (0, 0), 15)
    alpha = refine_learned(image, haze, enlarge, Refiner(lambda tile: np.ones(tile.shape[:2])))
    assert alpha.max() <= haze.max()


def test_beside_a_wide_uncertain_area_there_is_no_seam():
    """A white square in a black frame is an outline only for the pixels that are near. In the
    uncertain area around it, the refiner may add a person there, but not along a straight line.
    """
    coarse = np.full((60, 60), 0.5, np.float32)
    coarse[16:44, 16:44] = 0
    coarse[20:40, 20:40] = 1
    image = np.zeros((60, 60, 3), np.uint8)
    alpha = refine_learned(image, coarse, enlarge, Refiner(lambda tile: np.ones(tile.shape[:2])))
    around = alpha[30, :15]
    assert (around[0], around[14]) == (0.5, 1)
    # The change by 0.5 is spread over seven pixels. The limits allow none of it to the first three.
    assert np.abs(np.diff(around)).max() == pytest.approx(4 / 7 * 0.5, abs=0.01)


def test_far_from_the_outline_a_bad_refiner_does_no_harm(disc):
    image, matte = disc
    coarse = resize(matte, (150, 130))
    alpha = refine_learned(image, coarse, enlarge, Refiner(lambda tile: 1 - no_change(tile)))
    far = np.ones((31, 31), np.uint8)
    inside, outside = cv2.erode(matte, far) == 1, cv2.dilate(matte, far) == 0
    assert (alpha[inside] == 1).all() and (alpha[outside] == 0).all()


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_without_an_outline_the_refiner_is_not_asked(value):
    refiner = Refiner(no_change)
    image, coarse = np.zeros((50, 70, 3), np.uint8), np.full((25, 35), value, np.float32)
    alpha = refine_learned(image, coarse, enlarge, refiner)
    assert alpha.shape == (50, 70) and (alpha == value).all() and refiner.calls == 0


@pytest.mark.parametrize("shape", [(1, 1), (3, 40), (5, 7)])
def test_tiny_pictures(shape):
    alpha = refine_learned(
        np.zeros((*shape, 3), np.uint8), np.full(shape, 0.5, np.float32), enlarge
    )
    assert alpha.shape == shape and (alpha >= 0).all() and (alpha <= 1).all()
