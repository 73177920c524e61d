"""Tests clean plates: the outline follows from the picture and the plate."""

import cv2
import numpy as np
import pytest

from portrait.errors import UserError
from portrait.matting.compositing import to_linear
from portrait.matting.foreground import blur_fusion
from portrait.matting.plate import Plate


@pytest.fixture(scope="module")
def scene():
    """Picture, plate and matte: a striped person with a soft rim, and a poster beside it."""
    random = np.random.default_rng(0)
    wall = cv2.resize(random.uniform(30, 150, (8, 12, 3)).astype(np.float32), (240, 160))
    person = np.empty_like(wall)
    person[:] = (220, 190, 170)
    person[:, ::6] = (200, 210, 120)
    matte = np.zeros((160, 240), np.float32)
    cv2.ellipse(matte, (120, 110), (40, 80), 0, 0, 360, 1.0, -1)
    cv2.line(matte, (120, 40), (60, 12), 0.7, 2)  # a strand of hair
    matte = cv2.GaussianBlur(matte, (0, 0), 1)
    shown = matte[..., None] * person + (1 - matte[..., None]) * wall
    shown = (1.1 * shown + random.normal(0, 1.5, shown.shape)).clip(0, 255)
    return np.rint(shown).astype(np.uint8), np.rint(wall).astype(np.uint8), matte


def coarse(matte):
    """A blurred alpha that is slightly too wide and lacks the strand of hair."""
    opened = cv2.morphologyEx(matte, cv2.MORPH_OPEN, np.ones((9, 9), np.uint8))
    return cv2.GaussianBlur(cv2.dilate(opened, np.ones((3, 3), np.uint8)), (0, 0), 2)


def test_the_outline_is_found(scene):
    image, plate, matte = scene
    rough = coarse(matte)
    refined = Plate(plate).refine(image, rough)
    assert refined.dtype == np.float32 and refined.min() >= 0 and refined.max() <= 1
    assert np.abs(refined - matte).mean() < np.abs(rough - matte).mean() / 2


def test_what_is_part_of_the_plate_is_no_person(scene):
    image, plate, matte = scene
    rough = coarse(matte)
    rough[60:120, 190:230] = 1
    refined = Plate(plate).refine(image, rough)
    assert not refined[:, 185:].any() and refined[110, 120] == 1
    assert not Plate(plate).refine(plate, rough).any()


def test_a_shirt_of_the_walls_colour_has_no_hole(scene):
    image, plate, matte = scene
    hidden = image.copy()
    hidden[100:130, 105:135] = plate[100:130, 105:135]
    assert Plate(plate).refine(hidden, coarse(matte))[105:125, 110:130].min() == 1


@pytest.mark.parametrize("linear", [False, True])
def test_the_background_is_the_plate_in_the_light_of_the_picture(scene, linear):
    image, plate, matte = scene
    shown = to_linear(image) if linear else image
    foreground, background = Plate(plate).estimator(blur_fusion)(shown, matte)
    assert foreground.dtype == background.dtype == shown.dtype
    empty = matte == 0
    assert np.abs(background[empty] - shown[empty].astype(np.float32)).mean() < (
        0.02 if linear else 3
    )
    # The person does not hide it.
    expected = 1.1 * plate[110, 120]
    found = background[110, 120] if not linear else background[110, 120] ** (1 / 2.2) * 255
    assert np.abs(found - expected).max() < 12


def test_a_plate_may_be_larger_but_not_of_another_shape(scene):
    image, plate, matte = scene
    large = cv2.resize(plate, (480, 320))
    assert Plate(large).background(image, matte).shape == image.shape
    with pytest.raises(UserError, match=r"wall\.jpg.*160 x 160.*240 x 160"):
        Plate(plate[:, :160], "wall.jpg").background(image, matte)


def test_nobody_stays_nobody(scene):
    image, plate, _ = scene
    nobody = np.zeros(image.shape[:2], np.float32)
    assert not Plate(plate).refine(image, nobody).any()
    everybody = np.ones_like(nobody)
    assert Plate(plate).refine(255 - image, everybody).min() == 1
