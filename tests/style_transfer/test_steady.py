"""Painted videos flicker less, and nothing of the past stays where people move or scenes change."""

import cv2
import numpy as np
import pytest

from portrait.style_transfer.steady import Steady


def texture(seed, low, high, shape=(120, 200)):
    noise = np.random.default_rng(seed).uniform(0, 255, (*shape, 3)).astype(np.float32)
    return cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 2), None, low, high, cv2.NORM_MINMAX)


WALL, PERSON = texture(0, 0, 120), texture(1, 130, 255)


def frames(step=0, count=12):
    """A disc that moves `step` pixels a frame in front of a wall."""
    for index in range(count):
        mask = np.zeros((120, 200), np.uint8)
        cv2.circle(mask, (60 + step * index, 60), 25, 1, -1)
        moved = np.roll(PERSON, step * index, axis=1)
        yield np.where(mask[..., None] == 1, moved, WALL).astype(np.uint8)


def flickering(photo, index):
    """What a network might paint: the negative, lighter and darker by turns, in patches."""
    patches = cv2.resize(np.random.default_rng(index).uniform(-30, 30, (12, 20)), (200, 120))
    return 255 - np.float32(photo) + np.float32(patches)[..., None]


def painted(photos):
    steady = Steady()
    return [steady(photo, flickering(photo, index)) for index, photo in enumerate(photos)]


def test_a_still_scene_changes_less_than_half_as_much():
    photos = list(frames())
    plain = np.stack([flickering(photo, index) for index, photo in enumerate(photos)])
    assert (
        np.abs(np.diff(painted(photos), axis=0)).mean() < np.abs(np.diff(plain, axis=0)).mean() / 2
    )


def test_nothing_is_left_behind_what_moves():
    """The wall that comes into view, and the person, are as free of the past as in a still."""
    photos = list(frames(step=6))
    steady = Steady()
    results = [steady(photo, 255 - np.float32(photo)) for photo in photos]
    for photo, result in zip(photos[1:], results[1:], strict=True):
        error = np.abs(result - (255 - np.float32(photo)))
        assert error.mean() < 2
        assert cv2.blur(error.mean(axis=2), (9, 9)).max() < 30  # 120 or more where the other shows


def test_a_plain_mean_would_leave_traces():
    """The test above can fail: half of the frame before leaves more."""
    before, photo = list(frames(step=6))[:2]
    traces = np.abs(np.float32(before) - photo).mean(axis=2) / 2
    assert cv2.blur(traces, (9, 9)).max() > 30


@pytest.mark.parametrize("change", ["cut", "size"])
def test_a_new_scene_starts_afresh(change):
    steady = Steady()
    for index, photo in enumerate(frames()):
        steady(photo, flickering(photo, index))
    photo = np.uint8(255 - WALL) if change == "cut" else np.uint8(WALL[:60])
    wanted = np.float32(photo) / 2
    np.testing.assert_array_equal(steady(photo, wanted), wanted)


def test_the_first_frame_is_as_it_was_painted():
    photo = next(frames())
    np.testing.assert_array_equal(Steady()(photo, flickering(photo, 0)), flickering(photo, 0))


def test_strokes_stand_still_on_a_plain_wall():
    """Optical flow follows the noise of a wall without texture, and would move the strokes."""
    steady, random = Steady(), np.random.default_rng(0)
    results = []
    for _ in range(8):
        photo = np.rint(random.normal(128, 3, WALL.shape)).astype(np.uint8)
        photo = cv2.GaussianBlur(photo, (0, 0), 1.5)  # as compression leaves it
        results.append(steady(photo, WALL))
    assert np.abs(np.diff(results, axis=0)).mean() < 0.2
