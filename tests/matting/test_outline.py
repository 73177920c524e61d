"""Tests that the outline moves by the given number of pixels."""

import numpy as np
import pytest

from portrait.matting.outline import choke, feather


def disc(radius, soft=0.5):
    y, x = np.mgrid[:101, :101] - 50
    return ((radius - np.hypot(x, y)) / (2 * soft) + 0.5).clip(0, 1).astype(np.float32)


@pytest.mark.parametrize("pixels", [1, 3, -2, 2.5, -0.5, 0.25])
def test_the_radius_of_a_disc_changes(pixels):
    moved = choke(disc(30), pixels)
    assert np.sqrt(moved.sum() / np.pi) == pytest.approx(30 - pixels, abs=0.35)


def test_nothing_to_do():
    alpha = disc(20)
    assert choke(alpha, 0) is alpha and feather(alpha, 0) is alpha


@pytest.mark.parametrize("pixels", [2, 6])
def test_a_soft_edge_is_as_wide_as_wanted(pixels):
    """A Gaussian edge rises from 2.3 % to 97.7 % within two standard deviations on each side."""
    step = np.zeros((40, 80), np.float32)
    step[:, 40:] = 1
    row = feather(step, pixels)[20]
    assert row[39 - pixels] < 0.03 and row[40 + pixels] > 0.97
    assert 0.05 < row[40 - pixels // 2] < 0.35
    assert row.sum() == pytest.approx(40, abs=0.01)
