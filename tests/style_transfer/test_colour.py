"""Tests the colours of painted photographs."""

import numpy as np
from style_networks import picture

from portrait.style_transfer import colour


def test_brightness_of_one_and_colours_of_the_other():
    photo = picture(20, 30).clip(60, 160)
    painted = np.float32(photo) + 20  # brighter by 20, of the same colours
    found = colour.with_colours_of(painted, photo)
    np.testing.assert_allclose(found, painted, atol=0.01)
    np.testing.assert_allclose(colour.with_colours_of(photo, photo), photo, atol=0.01)
    grey = colour.with_colours_of(painted, np.full_like(photo, 128))
    np.testing.assert_allclose(grey, colour.as_grey(painted), atol=0.01)


def test_as_grey_is_the_luma_of_itu_601():
    red = np.array([[[255, 0, 0]]], np.uint8)
    np.testing.assert_allclose(colour.as_grey(red), 0.299 * 255, rtol=1e-5)


def test_match_brightness_takes_mean_and_deviation():
    grey, target = colour.as_grey(picture(30, 30, 1)), colour.as_grey(picture(20, 40, 2) // 2)
    found = colour.match_brightness(grey, target)
    np.testing.assert_allclose(
        [found.mean(), found.std()], [target.mean(), target.std()], rtol=1e-4
    )


def test_match_colours_takes_mean_and_covariance():
    rng = np.random.default_rng(0)
    mixing = np.array([[20, 5, 0], [0, 15, 5], [5, 0, 10]])
    source = 128 + rng.normal(size=(50, 60, 3)) @ mixing
    target = 120 + rng.normal(size=(40, 40, 3)) @ mixing[::-1]
    found = colour.match_colours(source, target)
    np.testing.assert_allclose(found.mean((0, 1)), target.mean((0, 1)), atol=0.01)
    pixels, wanted = found.reshape(-1, 3), target.reshape(-1, 3)
    # Each variance has 1 added, so that plain pictures can be matched.
    np.testing.assert_allclose(np.cov(pixels.T), np.cov(wanted.T), atol=3)
    assert np.isfinite(colour.match_colours(np.full((4, 4, 3), 7), target)).all()
