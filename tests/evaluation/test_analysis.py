"""Tests the analysis of a network's errors with masks of known results."""

import logging

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt
from scipy.spatial.distance import cdist
from skimage.metrics import hausdorff_distance
from tiny_portraits import draw, write

from metrics import person_iou
from portrait.data.pairs import Pair, find_pairs
from portrait.errors import UserError
from portrait.evaluation import analysis


def square(side, size=60):
    """A person who is a square in the middle, (size, size)."""
    matte = np.zeros((size, size), np.float32)
    start = (size - side) // 2
    matte[start : start + side, start : start + side] = 1
    return matte


@pytest.fixture
def noisy():
    """An alpha and a soft matte that contain every value."""
    random = np.random.default_rng(5)
    return random.random((2, 40, 30), np.float32)


def test_iou_by_threshold_of_a_stair():
    # 40 pixels of person; the alphas of 20, 40 and 60 pixels are at least 0.9, 0.6 and 0.3.
    matte, alpha = np.zeros((10, 10), np.float32), np.zeros((10, 10), np.float32)
    matte[:, :4] = 1
    alpha[:, :2], alpha[:, 2:4], alpha[:, 4:6] = 0.9, 0.6, 0.3
    ious = analysis.iou_by_threshold(alpha, matte, np.array([0.2, 0.5, 0.8]))
    assert ious == pytest.approx([40 / 60, 1, 20 / 40])


def test_iou_by_threshold_at_a_half_is_person_iou(noisy):
    half = list(analysis.THRESHOLDS).index(0.5)
    assert analysis.iou_by_threshold(*noisy)[half] == person_iou(*noisy)


def test_nobody_is_right_where_nobody_is():
    empty = np.zeros((4, 4), np.float32)
    assert analysis.iou_by_threshold(empty, empty, np.array([0.5])) == [1]


def test_calibration_of_four_pixels():
    alpha, matte = np.float32([[0.1, 0.7], [0.9, 1.0]]), np.float32([[0, 1], [1, 0.5]])
    sums = analysis.calibration(alpha, matte, bins=2)
    assert sums == pytest.approx(np.array([[1, 0.1, 0], [3, 2.6, 2.5]]), abs=1e-6)
    # (1 * |0.1 - 0| + 3 * |2.6 / 3 - 2.5 / 3|) / 4
    assert analysis.calibration_error(sums) == pytest.approx(0.05, abs=1e-6)


def test_an_alpha_that_says_how_often_it_is_right_is_calibrated():
    random = np.random.default_rng(0)
    alpha = random.random((400, 400), np.float32)
    matte = (random.random(alpha.shape) < alpha).astype(np.float32)
    # The deviation of a bin's mean is below 0.5 / sqrt(16,000 pixels) = 0.004.
    assert analysis.calibration_error(analysis.calibration(alpha, matte)) < 0.006
    # Twice as sure of what is less than half right: 0.5 is the mean of |2a - a|, a in 0..0.5.
    doubled = analysis.calibration((2 * alpha).clip(0, 1), matte)
    assert analysis.calibration_error(doubled) == pytest.approx(0.25, abs=0.006)


@pytest.mark.parametrize(("side", "offset"), [(20, 0), (26, 3), (14, -3)])
def test_outline_of_a_square_in_a_square(side, offset):
    offsets = analysis.outline_offsets(square(side), square(20))
    assert len(offsets) == 4 * (side - 1)
    # Along the sides; the corners are diagonally further out, or as near to a side as the rest.
    assert np.median(offsets) == offset
    assert np.abs(offsets).max() == pytest.approx(offset * 2**0.5 if offset > 0 else -offset)


def test_outline_offsets_equal_distances_between_points():
    _, mattes = draw(2, (60, 45), seed=3)
    alpha, matte = mattes.astype(np.float32) / 255
    outlines = []
    for mask in (alpha >= 0.5, matte >= 0.5):
        padded = np.pad(mask, 1, mode="edge")
        inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
        outlines.append(mask & ~inner)
    nearest = cdist(*map(np.argwhere, outlines)).min(axis=1)
    outside = ~(matte >= 0.5)[outlines[0]]
    offsets = analysis.outline_offsets(alpha, matte)
    assert offsets == pytest.approx(np.where(outside, nearest, -nearest), abs=1e-3)
    other = analysis.outline_offsets(matte, alpha)
    farthest = max(np.abs(offsets).max(), np.abs(other).max())
    assert farthest == pytest.approx(hausdorff_distance(*outlines), abs=1e-3)


def test_without_a_person_there_is_no_outline():
    empty, full = np.zeros((8, 8), np.float32), np.ones((8, 8), np.float32)
    for alpha, matte in ((square(20), np.zeros((60, 60))), (empty, square(4, 8)), (full, full)):
        assert len(analysis.outline_offsets(alpha, matte)) == 0


def test_placement():
    matte = np.zeros((20, 40), np.float32)
    matte[0:4, 10:30] = 1
    matte[10:12, 0:10] = 1
    share, x, y = analysis.placement(matte)
    assert share == 100 / 800
    assert x == pytest.approx((80 * 20 + 20 * 5) / 100 / 40)
    assert y == pytest.approx((80 * 2 + 20 * 11) / 100 / 20)
    with pytest.raises(ValueError):
        analysis.placement(np.zeros((4, 4)))


def test_group_means():
    groups = analysis.group_means([1, 2, 6, 9], [0.0, 0.4, 0.5, 1.0], [0, 0.5, 0.75, 1.0])
    assert groups[:2] == [(0, 0.5, 2, 1.5), (0.5, 0.75, 1, 6)]
    assert groups[2][:3] == (0.75, 1.0, 0) and np.isnan(groups[2].mean)


def test_a_known_mistake_is_found(tmp_path, caplog):
    pairs = find_pairs([write(tmp_path / "set", 4, (96, 72))], "training")
    pairs[2].matte.write_bytes(b"")
    blank = Pair(pairs[3].image, None)
    images, mattes = draw(4, (96, 72))

    def shrunk(image):
        """The true matte without the two outermost pixels."""
        index = next(i for i, each in enumerate(images) if np.array_equal(each, image))
        inside = distance_transform_edt(np.pad(mattes[index] >= 128, 3, mode="edge"))[3:-3, 3:-3]
        return (inside > 2).astype(np.float32)

    with caplog.at_level(logging.WARNING):
        first, second = analysis.examine(shrunk, [*pairs[:3], blank])
    assert pairs[2].matte.name in caplog.text
    assert [first.pair, second.pair] == pairs[:2]
    diagonal = np.hypot(96, 72)
    assert np.median(first.offsets) * diagonal / 100 == pytest.approx(-2, abs=0.3)
    assert first.scores["mad"] == pytest.approx(first.errors.mean(), rel=1e-4)
    assert first.calibration[:, 0].sum() == 96 * 72
    assert first.person == (mattes[0] >= 128).mean() and first.errors.shape == analysis.FRAME
    with pytest.raises(UserError):
        analysis.examine(shrunk, [blank])
