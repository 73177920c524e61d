"""The lens blur: discs of the right size, and no person in them."""

import numpy as np
import pytest

from portrait.effects.blur import disc, lens_blur, radius_for


@pytest.mark.parametrize("radius", [1, 3.5, 8])
def test_a_disc_has_its_area(radius):
    kernel = disc(radius)
    assert kernel.sum() == pytest.approx(1, abs=1e-6)
    # The middle pixel is wholly lit, so that its share is one part of the area.
    area = 1 / kernel[kernel.shape[0] // 2, kernel.shape[1] // 2]
    assert area == pytest.approx(np.pi * radius**2, rel=0.1, abs=3)


def test_a_point_becomes_an_even_disc():
    picture = np.zeros((101, 101, 3), np.float32)
    picture[50, 50] = 1
    blurred = lens_blur(picture, np.zeros((101, 101), np.float32), 8)[..., 0]
    y, x = np.mgrid[:101, :101] - 50
    distance = np.hypot(x, y)
    inner = blurred[distance < 7]
    assert inner.std() < 0.02 * inner.mean()
    # A haze of a thousandth comes from what fills the places that discs do not reach.
    assert blurred[distance > 9].max() < 0.01 * inner.mean()
    assert blurred.sum() == pytest.approx(1, rel=0.02)


@pytest.mark.parametrize("radius", [4, 25])
def test_the_person_does_not_bleed_out(radius):
    """A red person before a blue wall: the blurred wall is blue, behind the edge, too."""
    picture = np.full((200, 300, 3), (0, 0, 200), np.uint8)
    alpha = np.zeros((200, 300), np.float32)
    alpha[60:, 100:200] = 1
    picture[alpha == 1] = (250, 0, 0)
    blurred = lens_blur(picture, alpha, radius)
    assert blurred[..., 0].max() <= 1
    assert np.abs(blurred[alpha == 0].astype(int) - (0, 0, 200)).max() <= 1


@pytest.mark.parametrize("radius", [4, 10])
def test_nor_where_alpha_ends_too_early(radius):
    """By two pixels, as alphas do: of the person there is a red line beside it."""
    picture = np.full((300, 500, 3), (0, 0, 200), np.uint8)
    alpha = np.zeros((300, 500), np.float32)
    picture[98:, 198:302] = (250, 0, 0)
    alpha[100:, 200:300] = 1
    assert lens_blur(picture, alpha, radius)[..., 0].max() <= 1


def test_large_discs_are_as_large_as_small_ones_are():
    """Discs of more than 10 pixels are made on a smaller picture: an edge must be as wide."""
    picture = np.zeros((60, 400, 3), np.float32)
    picture[:, 200:] = 1
    blurred = lens_blur(picture, np.zeros((60, 400), np.float32), 30)[30, :, 0]
    assert blurred[200 - 36] < 0.02 and blurred[200 + 36] > 0.98
    # Half of a disc to the right of a line at half its radius: 0.1955 of its area.
    assert blurred[200 - 15] == pytest.approx(0.1955, abs=0.02)


def test_strength():
    assert radius_for(0.5, (360, 640, 3)) == pytest.approx(0.5 * 0.04 * 640)
    picture = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    assert lens_blur(picture, np.zeros((20, 30), np.float32), 0.0) is picture
