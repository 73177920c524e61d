"""Tests the estimated colours on pictures that were composed from known colours."""

import cv2
import numpy as np
import pytest

from portrait.data.sample.astronaut import matted_portrait
from portrait.io import images
from portrait.matting import compositing, foreground
from portrait.matting.compositing import blend, compose, fill


@pytest.fixture(scope="module")
def mixed():
    """A portrait with soft hair over bright stripes: picture, foreground, background, alpha."""
    _, person, alpha = matted_portrait()
    person, alpha = person[:300, 60:400], np.ascontiguousarray(alpha[:300, 60:400])
    wall = np.full(person.shape, (40, 220, 60), np.uint8)
    wall[::7] = (250, 250, 90)
    wall = cv2.GaussianBlur(wall, (0, 0), 4)
    return blend(np.ascontiguousarray(person), wall, alpha), person, wall, alpha


def recomposed_error(mixed, colours):
    """Mean error in levels along the soft edge of the picture before black."""
    _, person, _, alpha = mixed
    soft = (alpha > 0.02) & (alpha < 0.98)
    black = np.zeros_like(person)
    error = cv2.absdiff(blend(colours, black, alpha), blend(person.copy(), black, alpha))
    return float(error[soft].mean())


@pytest.mark.parametrize("estimate", [foreground.multilevel, foreground.blur_fusion])
def test_estimated_colours_take_the_halo_away(mixed, estimate):
    image, _, wall, alpha = mixed
    person, behind = estimate(image, alpha)
    without = recomposed_error(mixed, image)
    assert without > 8
    assert recomposed_error(mixed, person) < without / 3
    soft = (alpha > 0.02) & (alpha < 0.9)
    assert cv2.absdiff(behind, wall)[soft].mean() < cv2.absdiff(image, wall)[soft].mean() / 2
    assert (person.dtype, person.shape) == (image.dtype, image.shape)


@pytest.mark.parametrize("estimate", [foreground.multilevel, foreground.blur_fusion])
def test_both_layers_give_the_picture_again(mixed, estimate):
    image, _, _, alpha = mixed
    again = blend(*estimate(image, alpha), alpha)
    assert np.abs(again.astype(int) - image).mean() < 1.0


@pytest.mark.parametrize("estimate", [foreground.multilevel, foreground.blur_fusion])
def test_a_single_pixel_is_its_own_colour(estimate):
    image, alpha = np.full((1, 1, 3), 90, np.uint8), np.full((1, 1), 0.5, np.float32)
    for layer in estimate(image, alpha):
        assert np.array_equal(layer, image)


def test_blur_fusion_leaves_what_is_not_soft(mixed):
    image, _, _, alpha = mixed
    hard = (alpha >= 0.5).astype(np.float32)
    person, behind = foreground.blur_fusion(image, hard)
    assert np.array_equal(person, image) and np.array_equal(behind, image)


def test_compose(mixed):
    image, _, _, alpha = mixed
    result = compose(image, alpha, (0, 0, 255), estimate=foreground.blur_fusion)
    assert (result.dtype, result.shape) == (np.uint8, image.shape)
    assert (result[alpha == 0] == (0, 0, 255)).all()
    assert np.abs(result[alpha == 1].astype(int) - image[alpha == 1]).max() <= 1


def test_linear_light():
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert np.array_equal(compositing.to_srgb(compositing.to_linear(levels)), levels)
    assert compositing.to_linear(np.uint8([[188]]))[0, 0] == pytest.approx(0.5029, abs=1e-4)
    # Half black, half white sends out half the light, which is level 188.
    half = np.full((2, 2), 0.5, np.float32)
    black, white = np.zeros((2, 2, 3), np.uint8), np.full((2, 2, 3), 255, np.uint8)

    def nothing(image, alpha):
        return image, image

    assert (compose(white, half, black, linear=True, estimate=nothing) == 188).all()
    mixed = compose(white, half, black, estimate=nothing)
    assert np.abs(mixed - 127.5).max() <= 0.5


def test_backgrounds_cover_the_picture():
    picture = np.zeros((10, 40, 3), np.uint8)
    picture[:, 15:25] = 200
    # Only the middle of a wide picture fits behind a square one.
    assert (fill(picture, (20, 20))[:, 4:16] == 200).all()
    # And of a high one.
    assert (fill(picture.swapaxes(0, 1), (20, 20))[4:16] == 200).all()
    assert fill(picture, (7, 31)).shape == (7, 31, 3)
    assert (fill((1, 2, 3), (4, 5)) == (1, 2, 3)).all()


def test_thin_backgrounds_are_cropped_before_they_are_enlarged(monkeypatch):
    pixels = []

    def resize(picture, size):
        pixels.append(size[0] * size[1])
        return images.resize(picture, size)

    monkeypatch.setattr(compositing, "resize", resize)
    column = (np.arange(1080) / 5).astype(np.uint8)[:, None, None].repeat(3, 2)
    assert np.abs(fill(column, (108, 192)).astype(int) - column[540]).max() <= 1
    # Two levels per pixel on each side of the middle of a panorama.
    levels = (2 * np.abs(np.arange(4000) - 1999.5)).clip(0, 255).astype(np.uint8)
    panorama = levels[None, :, None].repeat(80, 0).repeat(3, 2)
    expected = 2 * np.abs(np.arange(192) - 95.5) * 80 / 108
    assert np.abs(fill(panorama, (108, 192))[54, :, 0] - expected).max() <= 2
    assert max(pixels) <= 8 * 108 * 192
