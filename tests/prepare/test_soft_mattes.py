"""Tests soft mattes from masks on composites with known alpha."""

import cv2
import numpy as np
import pytest
from skimage import data

from metrics import gradient_error
from portrait.data.sample.astronaut import matted_portrait
from portrait.matting.trimap import make_trimap
from portrait.prepare.soft_mattes import band_width, fill_specks, soft_matte

SIZE = (600, 800)  # a diagonal of 1,000, hence a band of 5 pixels to either side


def ramp() -> np.ndarray:
    """An alpha that falls from 1 to 0 along a wavy line within 6 pixels."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    return np.clip((203 + 20 * np.sin(y / 30) - x) / 6, 0, 1)


def composite(alpha, person, wall) -> np.ndarray:
    mixed = alpha[..., None] * np.float64(person) + (1 - alpha[..., None]) * np.float64(wall)
    return np.rint(mixed).astype(np.uint8)


def binary(alpha: np.ndarray) -> np.ndarray:
    return np.where(alpha >= 0.5, np.uint8(255), np.uint8(0))


def test_alpha_between_two_plain_colours_is_found():
    alpha = ramp()
    mask = binary(alpha)
    matte = soft_matte(composite(alpha, (220, 150, 120), (30, 60, 160)), mask) / 255
    smoothed = cv2.GaussianBlur(mask / 255, (0, 0), 1)
    # A step of a byte is 1/190 of the colours' distance; the regularisation pulls a little more.
    np.testing.assert_allclose(matte, 0.7 * alpha + 0.3 * smoothed, atol=0.03)


def test_where_colours_are_alike_the_mask_stays():
    """A person in the wall's own noise: matting would follow the noise."""
    noise = np.random.default_rng(0).integers(90, 150, (*SIZE, 3), np.uint8)
    mask = binary(ramp())
    matte = soft_matte(noise, mask)
    assert ((matte >= 128) == (mask == 255)).mean() > 0.999
    smoothed = cv2.GaussianBlur(mask, (0, 0), 1)
    assert np.abs(matte.astype(int) - smoothed)[cv2.Canny(mask, 50, 100) > 0].mean() < 20


def test_only_a_band_along_the_outline_changes():
    photo = cv2.resize(data.cat(), SIZE[::-1])
    mask = binary(ramp())
    matte = soft_matte(photo, mask)
    assert band_width(SIZE) == 5
    near = cv2.dilate(cv2.morphologyEx(mask, cv2.MORPH_GRADIENT, np.ones((3, 3))), np.ones((9, 9)))
    np.testing.assert_array_equal(matte[near == 0], mask[near == 0])
    assert (matte[near > 0] != mask[near > 0]).any()
    # The border of the picture is not an outline.
    assert (matte[:, 0] == 255).all() and (matte[[0, -1], :150] == 255).all()


@pytest.mark.parametrize("level", [0, 255])
def test_without_an_outline_there_is_nothing_to_do(level):
    mask = np.full(SIZE, level, np.uint8)
    photo = cv2.resize(data.cat(), SIZE[::-1])
    np.testing.assert_array_equal(soft_matte(photo, mask), mask)


@pytest.mark.parametrize("shape", [(2, 40), (40, 1)])
def test_pictures_that_are_smaller_than_a_window_keep_their_mask(shape):
    mask = np.zeros(shape, np.uint8)
    mask[:20, :20] = 255
    np.testing.assert_array_equal(soft_matte(np.zeros((*shape, 3), np.uint8), mask), mask)


def test_trimap_by_hand():
    mask = np.uint8([[1, 1, 1, 1, 0, 0, 0, 0]] * 3)
    assert make_trimap(mask, 1).tolist() == [[1, 1, 1, 0.5, 0.5, 0, 0, 0]] * 3
    assert make_trimap(mask, 2).tolist() == [[1, 1, 0.5, 0.5, 0.5, 0.5, 0, 0]] * 3


def test_specks_are_filled_and_larger_holes_are_kept():
    mask = np.ones((200, 200), np.uint8)
    mask[:, 150:] = 0
    mask[10:13, 10:14] = 0  # 12 pixels, the limit: 0.03 % of 40,000
    mask[50, 20:33] = 0  # 13
    mask[100:102, 160:162] = 1  # a speck of person outside stays
    filled = fill_specks(mask)
    assert filled[10:13, 10:14].all()
    assert not filled[50, 20:33].any()
    np.testing.assert_array_equal(filled[:, 140:], mask[:, 140:])


def test_specks_that_touch_at_their_corners_are_two():
    mask = np.ones((200, 200), np.uint8)
    mask[:, 150:] = 0
    mask[10:13, 10:14] = mask[13:16, 14:18] = 0
    np.testing.assert_array_equal(fill_specks(mask)[:, :150], 1)


@pytest.mark.parametrize(("level", "same_as"), [(128, 255), (127, 0)])
def test_what_is_half_or_more_is_the_person(level, same_as):
    photo = cv2.resize(data.cat(), SIZE[::-1])
    first, second = (binary(ramp()) for _ in range(2))
    first[200:300, 100:300], second[200:300, 100:300] = level, same_as
    np.testing.assert_array_equal(soft_matte(photo, first), soft_matte(photo, second))


@pytest.mark.parametrize("backdrop", [data.coffee, data.rocket])
def test_closer_to_the_true_hair_than_a_mask_however_smoothed(backdrop):
    _, colours, alpha = matted_portrait()
    wall = cv2.resize(backdrop(), alpha.shape[::-1])
    photo = composite(alpha.astype(np.float64), colours, wall)
    _, jpeg = cv2.imencode(".jpg", photo, [cv2.IMWRITE_JPEG_QUALITY, 88])
    photo = cv2.imdecode(jpeg, cv2.IMREAD_COLOR)
    # People draw smoother outlines than hair has, and a little beside the truth.
    mask = np.roll(cv2.medianBlur(binary(alpha), 7), 1, axis=1)
    smoothed = [cv2.GaussianBlur(mask, (0, 0), sigma) for sigma in (0.8, 1.2, 1.7, 2.5)]
    soft, *others = [
        (float(np.abs(matte - alpha).mean()), gradient_error(matte, alpha))
        for matte in (np.float32(each) / 255 for each in (soft_matte(photo, mask), *smoothed, mask))
    ]
    assert all(soft[0] < 0.9 * each[0] and soft[1] < 0.6 * each[1] for each in others)
