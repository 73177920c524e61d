"""Tests the lens blur: the size of its discs, and that the person does not leak into them."""

import numpy as np
import pytest

from portrait.effects.blur import APERTURES, aperture_kernel, disc, lens_blur, radius_for
from portrait.matting.compositing import to_linear, to_srgb


@pytest.mark.parametrize("radius", [1, 3.5, 8])
def test_a_disc_has_its_area(radius):
    kernel = disc(radius)
    assert kernel.sum() == pytest.approx(1, abs=1e-6)
    # The middle pixel is wholly lit, so that its share is one part of the area.
    area = 1 / kernel[kernel.shape[0] // 2, kernel.shape[1] // 2]
    assert area == pytest.approx(np.pi * radius**2, rel=0.1, abs=3)


def test_a_point_becomes_an_even_disc():
    picture = np.zeros((101, 101, 3), np.float32)
    picture[50, 50] = 0.5
    blurred = lens_blur(picture, np.zeros((101, 101), np.float32), 8)[..., 0]
    y, x = np.mgrid[:101, :101] - 50
    distance = np.hypot(x, y)
    inner = blurred[distance < 7]
    assert inner.std() < 0.02 * inner.mean()
    # A haze of a thousandth comes from what fills the places that discs do not reach.
    assert blurred[distance > 9].max() < 0.01 * inner.mean()
    assert blurred.sum() == pytest.approx(0.5, rel=0.02)


@pytest.mark.parametrize("radius", [4, 25])
def test_the_person_does_not_bleed_out(radius):
    """The blurred wall behind a red person stays blue, also next to the outline."""
    picture = np.full((200, 300, 3), (0, 0, 200), np.uint8)
    alpha = np.zeros((200, 300), np.float32)
    alpha[60:, 100:200] = 1
    picture[alpha == 1] = (250, 0, 0)
    blurred = lens_blur(picture, alpha, radius)
    assert blurred[..., 0].max() <= 1
    assert np.abs(blurred[alpha == 0].astype(int) - (0, 0, 200)).max() <= 1


@pytest.mark.parametrize("radius", [4, 8])
def test_nor_where_alpha_ends_too_early(radius):
    """The alpha misses the outline by two pixels, so a red line of the person is outside it."""
    picture = np.full((300, 500, 3), (0, 0, 200), np.uint8)
    alpha = np.zeros((300, 500), np.float32)
    picture[98:, 198:302] = (250, 0, 0)
    alpha[100:, 200:300] = 1
    assert lens_blur(picture, alpha, radius)[..., 0].max() <= 1


def test_large_discs_are_as_large_as_small_ones_are():
    """Discs of more than 8 pixels are computed on a smaller picture; edges must be equally wide."""
    picture = np.zeros((60, 400, 3), np.float32)
    picture[:, 200:] = 1
    blurred = lens_blur(picture, np.zeros((60, 400), np.float32), 30)[30, :, 0]
    assert blurred[200 - 36] < 0.02 and blurred[200 + 36] > 0.98
    # Half of a disc to the right of a line at half its radius: 0.1955 of its area.
    assert blurred[200 - 15] == pytest.approx(0.1955, abs=0.02)


def moments(kernel):
    """The mean and the mean square of the positions in a kernel whose sum is 1."""
    places = np.arange(kernel.shape[0]) - kernel.shape[0] // 2
    across, down = kernel.sum(0), kernel.sum(1)
    return [(axis * places**power).sum() for power in (1, 2) for axis in (across, down)]


@pytest.mark.parametrize("aperture", APERTURES)
@pytest.mark.parametrize("radius", [2.0, 6.5])
def test_apertures_have_the_area_of_a_disc(aperture, radius):
    kernel = aperture_kernel(aperture, radius)
    assert kernel.shape[0] == kernel.shape[1] and kernel.shape[0] % 2 == 1
    assert kernel.sum() == pytest.approx(1, abs=1e-5)
    assert 1 / kernel.max() == pytest.approx(np.pi * radius**2, rel=0.08)
    x, y, xx, yy = moments(kernel)
    assert abs(x) < 0.1 and abs(y) < 0.1
    # The mean square of x is radius^2 / 4 for a disc, and pixels add 1 / 12.
    if aperture == "oval":
        assert yy / xx == pytest.approx(1 / 0.6**2, rel=0.08)
    else:
        assert xx == pytest.approx(radius**2 / 4 + 1 / 12, rel=0.12) and yy == pytest.approx(
            xx, rel=0.1
        )


def test_corners_of_a_hexagon():
    """The sides of a hexagon are at 0.866 of the distance of its corners."""
    kernel = aperture_kernel("hexagon", 20) > 0
    middle = kernel.shape[0] // 2
    across = kernel[middle].sum() / 2
    corner = np.sqrt(2 * np.pi / (6 * np.sin(np.pi / 3))) * 20
    assert across in (pytest.approx(corner, abs=1.5), pytest.approx(0.866 * corner, abs=1.5))
    assert kernel[:, middle].sum() != kernel[middle].sum()


def test_small_lights_bloom_and_large_ones_do_not():
    """A small highlight that is clipped had more light than its pixels show."""
    picture = np.full((120, 240, 3), 20, np.uint8)
    picture[58:62, 58:62] = 255
    picture[:, 180:] = 255
    blurred = to_linear(lens_blur(picture, np.zeros((120, 240), np.float32), 8))[..., 1]
    plain = to_linear(np.uint8([20]))[0]
    even = plain + (1 - plain) * 16 / (np.pi * 8**2)  # without bloom
    assert blurred[56:64, 56:64].mean() > 2 * even
    # The disc is even, and has an end.
    assert blurred[60, 55] == pytest.approx(blurred[60, 60], rel=0.1)
    assert blurred[60, 46] < 2 * plain
    # Half of the light of the large place arrives at its edge.
    assert blurred[60, 180] == pytest.approx(0.5, abs=0.06)


@pytest.mark.parametrize("aperture", ["round", "hexagon"])
def test_light_is_summed_not_levels(aperture):
    """Black and white stripes blur to half of the light, which is sRGB level 188."""
    picture = np.zeros((60, 90, 3), np.uint8)
    picture[:, ::2] = 255
    middle = lens_blur(picture, np.zeros((60, 90), np.float32), 6, aperture)[20:40, 20:70]
    assert np.abs(middle.astype(int) - 188).max() <= 3
    linear = lens_blur(to_linear(picture), np.zeros((60, 90), np.float32), 6, aperture)
    assert np.abs(to_srgb(linear)[20:40, 20:70].astype(int) - middle).max() <= 1


def test_the_radius_of_each_row():
    """A vertical line becomes as wide as the disc of each row."""
    picture = np.zeros((240, 200, 3), np.float32)
    picture[:, 100] = 0.5
    radii = np.linspace(7.5, 0, 240)
    blurred = lens_blur(picture, np.zeros((240, 200), np.float32), radii)[..., 0]
    for row in (30, 80, 130, 180, 225):
        places = np.arange(200) - 100
        width = np.sqrt((blurred[row] * places**2).sum() / blurred[row].sum())
        assert width == pytest.approx(radii[row] / 2, rel=0.12, abs=0.4)
        assert blurred[row].sum() == pytest.approx(0.5, rel=0.03)
    assert np.abs(blurred[-1] - picture[-1, :, 0]).max() < 0.05


def test_strength():
    assert radius_for(0.5, (360, 640, 3)) == pytest.approx(0.5 * 0.04 * 640)
    picture = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    assert lens_blur(picture, np.zeros((20, 30), np.float32), 0.0) is picture
