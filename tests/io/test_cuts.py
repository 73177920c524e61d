"""Cuts are found, and movement, grain and light are none."""

import cv2
import numpy as np
import pytest

from portrait.io.cuts import CutFinder


def texture(seed):
    noise = np.random.default_rng(seed).uniform(0, 255, (30, 50, 3)).astype(np.float32)
    picture = cv2.resize(cv2.GaussianBlur(noise, (0, 0), 1.5), (400, 240))
    return cv2.normalize(picture, None, 0, 255, cv2.NORM_MINMAX)


def starts(frames):
    finder = CutFinder()
    return [index for index, frame in enumerate(frames) if finder(frame.astype(np.uint8))]


def shot(seed, count, step=0):
    random = np.random.default_rng(seed)
    picture = texture(seed)
    for index in range(count):
        moved = np.roll(picture, index * step, axis=1)[:, 40:-40]
        yield (moved + random.normal(0, 3, moved.shape)).clip(0, 255)


def test_every_new_shot_is_found():
    assert starts([*shot(0, 5), *shot(1, 4), *shot(2, 1), *shot(3, 6)]) == [0, 5, 9, 10]


@pytest.mark.parametrize("step", [0, 2, 8, 16])
def test_a_moving_camera_is_no_cut(step):
    assert starts(shot(0, 20, step)) == [0]


def test_a_cut_within_movement_is_found():
    assert starts([*shot(0, 12, 8), *shot(1, 12, 8)]) == [0, 12]


def test_a_slow_change_of_light_is_no_cut():
    picture = texture(0)
    assert starts(picture * light for light in np.linspace(0.3, 1, 15)) == [0]


def test_a_person_who_walks_through_is_no_cut():
    def frames():
        for index in range(20):
            frame = texture(0)
            cv2.ellipse(frame, (20 * index, 180), (50, 120), 0, 0, 360, (230, 180, 160), -1)
            yield frame

    assert starts(frames()) == [0]
