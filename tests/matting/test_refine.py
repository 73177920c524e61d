"""Tests the dense CRF against its definition, and all refinements on a shifted outline."""

import cv2
import numpy as np
import pytest
from skimage import data

import metrics
from portrait.commands import flags
from portrait.io.images import resize
from portrait.matting import dense_crf, refine


@pytest.fixture(scope="module")
def disc():
    """A textured disc before a wall, its matte, and an alpha that is shifted and blurred."""
    random = np.random.default_rng(0)
    matte = np.zeros((240, 320), np.float32)
    cv2.circle(matte, (160, 120), 80, 1.0, -1, cv2.LINE_AA)
    person, wall = np.float32((200, 140, 110)), np.float32((40, 90, 120))
    image = wall + matte[..., None] * (person - wall) + random.normal(0, 4, (240, 320, 3))
    rough = cv2.GaussianBlur(np.roll(matte, (1, -1), (0, 1)), (0, 0), 2)
    return np.rint(image.clip(0, 255)).astype(np.uint8), matte, rough


def test_flag_names_the_methods():
    assert ("none", *refine.METHODS) == flags.REFINEMENTS


@pytest.mark.parametrize("method", refine.METHODS)
def test_the_outline_moves_to_that_of_the_picture(disc, method):
    image, matte, rough = disc
    alpha = refine.refined(lambda _: rough, method)(image)
    assert (alpha.dtype, alpha.shape) == (np.float32, matte.shape)
    assert alpha.min() >= 0 and alpha.max() <= 1
    before, after = (metrics.boundary_iou(each, matte) for each in (rough, alpha))
    assert 1 - after < (1 - before) / 2


@pytest.mark.parametrize("pixel", [1, 2, 4])
def test_the_guided_filter_is_at_least_as_good_as_plain_enlargement(disc, pixel):
    image, matte, _ = disc
    coarse = resize(matte, (240 // pixel, 320 // pixel))
    plain = metrics.mad(resize(coarse, matte.shape), matte)
    # An alpha that is exact already loses less than one level of 255 on average.
    assert metrics.mad(refine.refine_guided(image, coarse), matte) < max(plain, 1 / 255)


def test_texture_inside_does_not_enter_the_alpha(disc):
    image, matte, _ = disc
    striped = image.copy()
    striped[::8] = striped[::8] // 2 + np.uint8((20, 45, 60))  # halfway to the wall's colour
    coarse = resize(matte, (80, 107))
    inner = cv2.erode(matte, np.ones((17, 17))) == 1  # eight pixels: one and a half of `coarse`
    assert (refine.refine_guided(striped, coarse)[inner] > 0.99).all()


@pytest.mark.parametrize("width", [1, 3, 8])
def test_edge_width(width):
    ramp = (np.arange(60, dtype=np.float32) / width - 2).clip(0, 1)
    # Differences of the pixels on both sides cannot be steeper than 1 in 2 pixels.
    expected = max(2, width)
    assert refine.edge_width(np.tile(ramp, (40, 1))) == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("method", refine.METHODS)
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_all_or_nothing_stays(method, value):
    image = data.astronaut()[:60, :80]
    alpha = refine.METHODS[method](image, np.full((60, 80), value, np.float32))
    assert np.array_equal(alpha >= 0.5, np.full((60, 80), bool(value)))


def gaussian_mean(image, values, place, colour):
    """The mean over all pixels with the kernel's weights, in float64."""
    height, width = values.shape
    y, x = np.mgrid[:height, :width]
    axes = np.column_stack(
        [y.ravel() / place, x.ravel() / place, image.reshape(-1, 3) / float(colour)]
    )
    square = ((axes[:, None] - axes[None]) ** 2).sum(axis=2)
    weights = np.exp(-square / 2)
    return (weights @ values.ravel() / weights.sum(axis=1)).reshape(values.shape)


def test_grid_is_about_the_gaussian(disc):
    image, _, _ = disc
    image = cv2.GaussianBlur(image, (0, 0), 3)[40:80, 70:130]
    values = np.random.default_rng(1).random(image.shape[:2])
    smooth = cv2.GaussianBlur(values, (0, 0), 6)
    smooth = (smooth - smooth.min()) / np.ptp(smooth)
    expected = gaussian_mean(image, smooth, 8.0, 20.0)
    found = dense_crf.BilateralGrid(image, 8.0, 20.0).mean(smooth)
    # Pixels of a cell share one value: the error is a fraction of what varies.
    assert np.abs(found - expected).mean() < 0.15 * np.abs(smooth - expected).mean() + 0.02
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.97


def test_grid_keeps_colours_apart():
    """In a chessboard of red and blue pixels, each colour is averaged alone."""
    chess = np.indices((32, 32)).sum(axis=0) % 2
    image = np.where(chess[..., None] == 1, np.uint8((255, 0, 0)), np.uint8((0, 0, 255)))
    mean = dense_crf.BilateralGrid(image, 10.0, 10.0).mean(chess.astype(np.float32))
    assert np.array_equal(mean, chess.astype(np.float32))


def test_grid_of_one_colour_only_blurs():
    image = np.full((40, 40, 3), 99, np.uint8)
    ramp = np.tile(np.linspace(0, 1, 40, dtype=np.float32), (40, 1))
    mean = dense_crf.BilateralGrid(image, 2.0, 10.0).mean(ramp)
    # A ramp's mean is itself, but near the border; cells are 2.4 pixels wide.
    assert np.abs(mean - ramp)[:, 8:-8].max() < 2.5 / 39
    assert mean == pytest.approx(np.tile(mean[:1], (40, 1)), abs=1e-6)


def test_crf_fills_a_hole_and_drops_a_speck(disc):
    image, matte, _ = disc
    rough = matte.copy()
    rough[110:122, 150:162] = 0.2
    rough[5:11, 5:11] = 0.8
    assert np.array_equal(dense_crf.dense_crf(image, rough) >= 0.5, matte >= 0.5)


def test_crf_does_not_depend_on_the_size_of_the_photo(disc):
    image, matte, rough = disc
    large = [cv2.resize(each, None, fx=2, fy=2) for each in (image, rough)]
    small = cv2.resize(dense_crf.dense_crf(*large), matte.shape[::-1], interpolation=cv2.INTER_AREA)
    assert metrics.person_iou(small, dense_crf.dense_crf(image, rough)) > 0.98
