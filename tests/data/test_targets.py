"""Tests shapes from the command line, resizing, and the boundary target (against SciPy)."""

import numpy as np
import pytest
from scipy import ndimage

from portrait.data.targets import boundary_target, boundary_thickness
from portrait.errors import UserError
from portrait.io.images import resize, shrink
from portrait.models.registry import parse_input_shape


@pytest.mark.parametrize(
    ("text", "shape"),
    [("256", (256, 192)), ("128", (128, 96)), ("384", (384, 288)), ("256x256", (256, 256)),
     ("320X224", (320, 224)), (" 64 x 32 ", (64, 32))],
)  # fmt: skip
def test_input_shape(text, shape):
    assert parse_input_shape(text) == shape


@pytest.mark.parametrize(
    "text", ["", "x", "256x", "x192", "a", "-256", "256.0", "256x192x3", "2 56", "²", "256²"]
)
def test_input_shape_that_is_no_shape(text):
    with pytest.raises(UserError, match="--input_shape="):
        parse_input_shape(text)


# 160 is a multiple of 32, but the 120 of its three quarters is not.
@pytest.mark.parametrize("text", ["0", "100", "160", "256x0", "0x64", "256x190", "250x192"])
def test_input_shape_that_networks_cannot_halve(text):
    with pytest.raises(UserError, match="multiples of 32"):
        parse_input_shape(text)


@pytest.mark.parametrize("channels", [(), (1,), (3,), (4,)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_shrinking_is_the_mean_of_what_a_pixel_covers(channels, dtype):
    picture = np.random.default_rng(0).integers(0, 256, (12, 20, *channels)).astype(dtype)
    small = resize(picture, (4, 4))
    assert (small.shape, small.dtype) == ((4, 4, *channels), dtype)
    means = picture.reshape(4, 3, 4, 5, *channels).mean((1, 3))
    assert np.abs(small - means).max() <= (0.5 if dtype == np.uint8 else 1e-4)


def test_growing_interpolates_and_the_same_size_is_left_alone():
    ramp = np.tile(np.float32([0, 1]), (3, 1))
    # New pixels lie at (x + 1/2) / 4 - 1/2 of the old ones.
    places = ((np.arange(8) + 0.5) / 4 - 0.5).clip(0, 1)
    assert resize(ramp, (6, 8)) == pytest.approx(np.tile(places, (6, 1)))
    assert resize(ramp, (3, 2)) is ramp


def test_the_longer_side_is_only_made_shorter():
    def shape(height, width, side):
        return shrink(np.zeros((height, width, 3), np.uint8), side).shape

    assert shape(100, 60, 50) == (50, 30, 3)
    assert shape(60, 100, 50) == (30, 50, 3)
    assert shape(10, 6, 50) == (10, 6, 3)
    assert shape(100, 60, 0) == (100, 60, 3)
    assert shape(1, 1000, 100) == (1, 100, 3)


def disc(size=(256, 192), radius=40):
    y, x = np.mgrid[: size[0], : size[1]]
    return np.uint8(255) * (np.hypot(y - size[0] / 2, x - size[1] / 2) < radius)


def test_thickness_follows_the_person():
    matte = np.zeros((256, 192), np.uint8)
    assert boundary_thickness(matte) == 5
    matte[:128] = 255  # half: 40 x 0.5
    assert boundary_thickness(matte) == 20
    assert boundary_thickness(matte / np.float32(255)) == 20
    assert boundary_thickness(matte[64:192]) == 10  # as wide, half as high
    matte[:32], matte[32:] = 255, 0  # an eighth: 40 / 8 is the least
    assert boundary_thickness(matte) == 5
    assert boundary_thickness(matte[::32, ::32]) == 1


def outline_distance(matte):
    """Distance in pixels of every pixel to the line between person and background."""
    person = matte >= 128
    inside = ndimage.distance_transform_edt(person)
    outside = ndimage.distance_transform_edt(~person)
    return np.where(person, inside, outside) - 0.5


@pytest.mark.parametrize("thickness", [5, 9, 15, 31])
def test_band_lies_along_the_outline(thickness):
    matte = disc()
    band = boundary_target(matte, [thickness])
    assert (band.shape, band.dtype) == (matte.shape, np.float32)
    assert set(np.unique(band)) == {0, 1}
    distance = outline_distance(matte)
    # Edges lie half a pixel beside the line, and an ellipse of pixels is not quite a circle.
    assert (band[distance <= thickness / 2 - 1.5] == 1).all()
    assert (band[distance >= thickness / 2 + 1] == 0).all()
    # A ring of the outline's length and the band's width; edges wander over two pixels.
    assert band.sum() == pytest.approx(2 * np.pi * 40 * thickness, rel=1.5 / thickness)


def test_default_band_and_floats():
    matte = disc(radius=60)
    share = np.pi * 60**2 / matte.size
    expected = boundary_target(matte, [round(40 * share)])
    assert np.array_equal(boundary_target(matte), expected)
    assert np.array_equal(boundary_target(matte / np.float32(255)), expected)


def test_several_bands_fall_off_in_steps():
    matte = disc()
    bands = [boundary_target(matte, [width]) for width in (3, 7, 15)]
    target = boundary_target(matte, [3, 7, 15])
    assert target.dtype == np.float32
    assert target == pytest.approx(np.mean(bands, axis=0))
    assert np.unique(target) == pytest.approx([0, 1 / 3, 2 / 3, 1])


@pytest.mark.parametrize(("step", "seen"), [(8, False), (40, True)])
def test_what_compression_leaves_is_no_outline(step, seen):
    """But the edge of a nearly transparent part is an edge."""
    matte = np.zeros((64, 48), np.uint8)
    matte[:, 24:] = step
    assert boundary_target(matte).any() == seen


@pytest.mark.parametrize("level", [0, 255])
def test_no_outline_no_band(level):
    matte = np.full((64, 48), level, np.uint8)
    for thickness in ((), (5,), (3, 7)):
        target = boundary_target(matte, thickness)
        assert (target.shape, target.dtype) == ((64, 48), np.float32)
        assert not target.any()
