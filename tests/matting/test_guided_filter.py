"""Tests the fast guided filter against its definition, window by window."""

import cv2
import numpy as np
import pytest
from skimage import data

from portrait.matting.guided_filter import edge_width, guided_filter


def by_definition(guide, target, radius, eps, tolerance):
    """A least-squares fit in every window, solved by NumPy in float64, and the mean of the fits."""
    height, width = target.shape
    colours = guide / 255.0
    total, count = np.zeros((height, width)), np.zeros((height, width))
    for y in range(height):
        for x in range(width):
            window = np.s_[
                max(0, y - radius) : y + radius + 1,
                max(0, x - radius) : x + radius + 1,
            ]
            inside, p = colours[window].reshape(-1, 3), target[window].ravel()
            centred = inside - inside.mean(axis=0)
            # eps |a|^2 per pixel of the window, as further rows of the system.
            rows = np.vstack([centred, np.sqrt(eps * len(p)) * np.eye(3)])
            a = np.linalg.lstsq(rows, np.append(p - p.mean(), np.zeros(3)), rcond=None)[0]
            b = p.mean() - a @ inside.mean(axis=0)
            # This function of colour counts at every pixel of its window.
            cost = np.mean((inside @ a + b - p) ** 2) + eps * a @ a
            weight = 1 if tolerance is None else 1 / (cost + tolerance)
            total[window] += weight * (colours[window] @ a + b)
            count[window] += weight
    return total / count


@pytest.fixture(scope="module")
def portrait():
    """A face in front of a flag, and a soft mask whose edge is beside the edge of the face."""
    guide = np.ascontiguousarray(data.astronaut()[40:200, 140:300])
    target = np.zeros(guide.shape[:2], np.float32)
    cv2.circle(target, (85, 80), 55, 1.0, -1)
    return guide, cv2.GaussianBlur(target, (0, 0), 3)


@pytest.mark.parametrize(
    ("radius", "eps", "tolerance"),
    [(1, 1e-3, None), (4, 1e-4, None), (40, 1e-2, None), (4, 1e-4, 0.03), (3, 1e-3, 1e-3)],
)
def test_equals_the_least_squares_fits_in_all_windows(portrait, radius, eps, tolerance):
    guide, target = (each[60:100, 60:90] for each in portrait)
    filtered = guided_filter(guide, target, radius, eps, tolerance=tolerance)
    assert (filtered.dtype, filtered.shape) == (np.float32, target.shape)
    # Variances of float32 numbers below 1 err by 1e-7, which counts against eps.
    exact = guide.astype(np.float64), target.astype(np.float64)
    expected = by_definition(*exact, radius, eps, tolerance)
    assert filtered == pytest.approx(expected, abs=1e-6 / np.sqrt(eps))


def test_a_target_that_is_linear_in_the_colours_stays():
    guide = np.random.default_rng(0).integers(0, 256, (50, 40, 3), np.uint8)
    target = (guide @ np.array([0.2, 0.5, 0.3])).astype(np.float32) / 255
    # eps pulls a towards 0 by eps against a variance of 1/12.
    assert guided_filter(guide, target, 5, 1e-6) == pytest.approx(target, abs=2e-4)


def test_a_flat_guide_smooths_twice():
    guide = np.full((30, 30, 3), 77, np.uint8)
    target = np.random.default_rng(0).random((30, 30)).astype(np.float32)
    twice = cv2.blur(cv2.blur(target, (5, 5)), (5, 5))
    inner = np.s_[4:-4, 4:-4]  # OpenCV's blur mirrors the border, ours cuts it off
    assert guided_filter(guide, target, 2, 1e-2)[inner] == pytest.approx(twice[inner], abs=1e-5)


def test_an_edge_moves_to_that_of_the_picture():
    guide = np.zeros((60, 60, 3), np.uint8)
    guide[:, 30:] = (200, 180, 160)
    target = np.zeros((60, 60), np.float32)
    target[:, 27:] = 1.0
    hard = guided_filter(guide, target, 8, 1e-6) >= 0.5
    assert np.array_equal(hard, guide[..., 0] > 0)


def test_subsampled_it_is_nearly_the_same(portrait):
    guide, target = portrait
    whole = guided_filter(guide, target, 16, 1e-3)
    fast = guided_filter(guide, target, 16, 1e-3, subsample=4)
    # The error is a fraction of what the filter does.
    assert np.abs(fast - whole).mean() < np.abs(target - whole).mean() / 6


@pytest.mark.parametrize("shape", [(61, 47), (3, 2), (1, 1)])
def test_sizes_that_do_not_divide(shape):
    guide = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    target = np.ones(shape, np.float32)
    assert guided_filter(guide, target, 4, 1e-4, 4) == pytest.approx(target, abs=1e-5)


def test_wrong_arguments():
    guide, target = np.zeros((4, 5, 3), np.uint8), np.zeros((4, 5), np.float32)
    for bad in (guide[..., 0], guide[:3], np.dstack([guide, guide[..., :1]])):
        with pytest.raises(ValueError, match="guide"):
            guided_filter(bad, target, 1, 0.1)
    for bad in ((0, 0.1, 1), (1, 0.0, 1), (1, 0.1, 0)):
        with pytest.raises(ValueError, match="radius"):
            guided_filter(guide, target, *bad)


def test_the_edge_of_an_alpha_of_four_pixels_is_measured():
    """OpenCV would take a number beside an array of 4 x 1 for an array."""
    assert edge_width(np.float32([[0], [0], [1], [1]])) == 2
