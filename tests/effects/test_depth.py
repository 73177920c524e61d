"""Tests the depth of a background, on a ground that is drawn in perspective."""

import numpy as np
import pytest

from portrait.effects.depth import defocus


def person(shape, top, bottom, left, right):
    alpha = np.zeros(shape, np.float32)
    alpha[top:bottom, left:right] = 1
    return alpha


def test_it_is_what_a_lens_does_on_a_level_ground():
    """A camera 1.6 m above the ground, focused on a person of 1.78 m at 5 m."""
    focal, camera, tall, distance = 500, 1.602, 1.78, 5.0
    horizon = 200
    feet = horizon + focal * camera / distance
    top = horizon - focal * (tall - camera) / distance
    found = defocus(person((480, 640), round(top), round(feet), 290, 350))
    rows = np.arange(480) + 0.5
    depth = np.where(rows > horizon + 1, focal * camera / np.maximum(rows - horizon, 1), np.inf)
    circle = np.abs(1 / distance - 1 / depth)  # a lens's circle of confusion, up to a factor
    assert found == pytest.approx(circle / circle[0], abs=0.02)
    assert found[:190].min() == 1 and found[round(feet)] < 0.01


def test_people_who_are_cut_off_have_their_feet_below():
    """Behind a head and shoulders, hardly anything is at the person's depth."""
    found = defocus(person((480, 640), 100, 480, 150, 490))
    assert found.min() > 0.6 and found[:150].min() == 1
    assert (np.diff(found) <= 1e-6).all()


def test_feet_that_come_to_the_border_do_not_make_a_jump():
    last = [defocus(person((480, 640), 60, bottom, 280, 380))[300] for bottom in range(430, 481, 2)]
    assert np.abs(np.diff(last)).max() < 0.03


def test_without_people_all_is_far():
    assert (defocus(np.zeros((20, 30), np.float32)) == 1).all()
    assert np.isfinite(defocus(np.ones((20, 30), np.float32))).all()
    speck = np.zeros((20, 30), np.float32)
    speck[10, 10] = 1
    assert np.isfinite(defocus(speck)).all()
