"""Tests the windows of the network: other shapes of pictures, small, several and no people."""

import itertools

import numpy as np
import pytest

from portrait.effects import matting
from portrait.effects.matting import two_passes
from portrait.effects.windows import (
    MOST_TILES,
    coarse_alpha,
    look,
    still_hold,
    windows_around,
)
from portrait.inference.network import Network
from portrait.io.images import Window

SHAPE = (64, 48)
RED = Network("test", SHAPE, lambda image: np.asarray(image[..., 0] / 255, np.float32))
"""Takes red for a person."""


def scene(height, width, *boxes):
    """Red boxes (left, top, right, bottom) in a black picture, and their matte."""
    matte = np.zeros((height, width), np.float32)
    for left, top, right, bottom in boxes:
        matte[top:bottom, left:right] = 1
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 0] = matte * 255
    return image, matte


@pytest.mark.parametrize(
    ("height", "width", "boxes"),
    [
        (320, 240, [(60, 60, 180, 320)]),
        (360, 640, [(250, 60, 400, 360)]),
        (360, 640, [(560, 260, 620, 350)]),  # far, in a corner
        (640, 360, [(100, 500, 200, 640)]),
        (360, 640, [(20, 100, 120, 360), (500, 120, 620, 360)]),  # two apart
        (360, 900, [(20, 100, 880, 360)]),  # a row of people
        (50, 40, [(10, 10, 30, 50)]),
    ],
)
def test_people_are_found_where_they_are(height, width, boxes):
    image, matte = scene(height, width, *boxes)
    alpha = matting.matte(image, RED, refine="none")
    assert (alpha.shape, alpha.dtype) == (matte.shape, np.float32)
    both = np.minimum(alpha >= 0.5, matte >= 0.5).sum()
    assert both / np.maximum(alpha >= 0.5, matte >= 0.5).sum() > 0.95


def test_a_second_look_is_finer():
    """A person of 1/8 of the width has stripes that are resolved only in the window."""
    image, matte = scene(320, 640, (300, 200, 340, 310))
    matte[200:310, 308:312] = 0
    image[..., 0] = matte * 255
    once = coarse_alpha(RED, image)
    twice = two_passes(RED, image)
    assert once.shape == twice.shape == matte.shape
    assert np.abs(twice - matte).mean() < np.abs(once - matte).mean() / 2


def test_windows_have_the_networks_aspect_and_hold_the_people():
    _, matte = scene(360, 640, (20, 100, 120, 340), (500, 120, 620, 340))
    windows = windows_around(matte, (720, 1280, 3), SHAPE)
    assert len(windows) == 2
    for window, box in zip(windows, [(40, 200, 240, 680), (1000, 240, 1240, 680)], strict=True):
        assert window.left <= box[0] and window.top <= box[1]
        assert window.right >= box[2] and window.bottom >= box[3]
        assert window.size[1] / window.size[0] == pytest.approx(48 / 64, rel=0.02)


def test_small_people_of_whom_a_part_is_found_get_a_window_for_the_whole():
    """In a far view, the network may find only a face."""
    found = np.zeros((360, 640), np.float32)
    found[150:170, 300:316] = 0.8
    (window,) = windows_around(found, found.shape, SHAPE)
    assert window.left <= 270 and window.top <= 116
    assert window.right >= 346 and window.bottom >= 204
    found[150:170, 300:316] = 0
    found[150:154, 300:304] = 1  # a speck
    assert not windows_around(found, found.shape, SHAPE)


def test_neighbours_share_a_window_and_rows_get_several():
    _, matte = scene(360, 640, (250, 100, 310, 340), (320, 100, 380, 340))
    assert len(windows_around(matte, matte.shape, SHAPE)) == 1
    _, matte = scene(360, 640, (20, 100, 620, 340))
    windows = windows_around(matte, matte.shape, SHAPE)
    assert len(windows) >= 3
    covered = np.zeros(640, bool)
    for window in windows:
        covered[window.left : window.right] = True
    assert covered[20:620].all()


def test_nobody():
    assert not matting.matte(np.zeros((90, 160, 3), np.uint8), RED).any()
    # Something that is half a person everywhere, or a speck.
    assert not matting.matte(np.full((90, 160, 3), 150, np.uint8), RED).any()
    assert not matting.matte(scene(400, 400, (10, 10, 14, 14))[0], RED).any()


def test_windows_stay_while_people_move_within_them():
    shape = (360, 640, 3)
    _, matte = scene(360, 640, (250, 100, 390, 340))
    windows = windows_around(matte, shape, SHAPE)

    def holds(*boxes):
        alpha = scene(360, 640, *boxes)[1]
        found = windows_around(alpha, shape, SHAPE)
        return still_hold(windows, found, alpha, shape)

    assert holds((250, 100, 390, 340)) and holds((258, 96, 398, 340))
    assert not holds((350, 100, 490, 340))
    assert not holds((300, 220, 350, 340))
    assert not holds((250, 100, 390, 340), (10, 200, 90, 340))
    assert not still_hold(windows, [], np.zeros((360, 640), np.float32), shape)


def test_each_window_shows_the_alpha_before_of_its_place():
    """A network that answers with the alpha before gives it back where there are windows."""
    image, before = scene(360, 640, (100, 60, 200, 360), (420, 100, 560, 360))
    memory = Network("memory", SHAPE, lambda seen: seen[..., 3] / 255, takes_previous=True)
    before *= np.linspace(0.2, 1, 640, dtype=np.float32)
    windows = [Window(60, 0, 330, 360), Window(300, 40, 620, 350)]
    alpha = look(memory, image, windows, before)
    # The network's pixels are five of the picture's.
    assert np.abs(alpha - before)[40:350, 60:620].mean() < 0.03
    assert np.abs(alpha - before)[150:340, 440:540].max() < 0.02
    moved = look(memory, image, [Window(200, 0, 470, 360)], before)
    assert moved[200, 450] == pytest.approx(before[200, 450], abs=0.02)
    assert not moved[:, :200].any() and not moved[:, 470:].any()


def test_only_networks_that_take_it_see_the_alpha_before():
    image, before = scene(360, 640, (100, 60, 200, 360))
    seen = []

    def run(pixels):
        seen.append(pixels.shape[2])
        return np.asarray(pixels[..., 0] / 255, np.float32)

    windows = [Window(60, 0, 330, 360)]
    look(Network("photos", SHAPE, run), image, windows, before)
    look(Network("videos", SHAPE, run, takes_previous=True), image, windows, before)
    look(Network("videos", SHAPE, run, takes_previous=True), image, windows)
    assert seen == [3, 4, 3]


def test_two_windows_meet_without_a_seam():
    image = np.full((100, 200, 3), 255, np.uint8)
    windows = [Window(0, 0, 120, 100), Window(80, 0, 200, 100)]
    levels = iter((0.2, 0.8))
    network = Network("test", SHAPE, lambda part: np.full(SHAPE, next(levels), np.float32))
    row = look(network, image, windows)[50]
    assert row[:80] == pytest.approx(0.2, abs=1e-3) and row[120:] == pytest.approx(0.8, abs=1e-3)
    assert (np.diff(row) >= -1e-6).all() and np.diff(row).max() < 0.1


def test_certain_windows_count_more_and_one_alone_is_not_changed():
    image = np.zeros((100, 100, 3), np.uint8)
    window = Window(0, 0, 100, 100)

    def merged(*levels):
        answers = iter(levels)
        network = Network("test", SHAPE, lambda part: np.full(SHAPE, next(answers), np.float32))
        return look(network, image, [window] * len(levels))

    assert merged(0.001).max() == np.float32(0.001) and not merged(0.0, 0.0).any()
    assert (merged(1.0, 1.0) == 1).all()
    assert merged(0.8, 0.0).max() < 0.05  # the mean is 0.4
    assert merged(0.5, 0.9).min() > 0.75  # the mean is 0.7
    assert (merged(0.7, 0.7) > 0.75).all()  # two that agree are more certain than one


def test_a_gap_in_a_group_is_not_taken_for_a_person():
    """A network that finds a person in each window, also where none is."""
    image, matte = scene(360, 640, (10, 100, 150, 340), (490, 100, 630, 340))
    link = scene(360, 640, (10, 320, 630, 340))[1]  # an arm that joins them in the first pass

    def run(seen):
        red = np.asarray(RED.run(seen))
        return red if (red > 0.5).mean() > 0.1 else np.full(SHAPE, 0.8, np.float32)

    windows = windows_around(np.maximum(matte, link), matte.shape, SHAPE)
    assert any(w.left > 150 and w.right < 490 for w in windows)
    alpha = look(Network("test", SHAPE, run), image, windows)
    assert alpha[150:300, 180:460].max() < 0.5
    assert np.abs(alpha - matte).mean() < 0.05


def test_photographs_are_also_seen_in_the_mirror():
    """A network that knows nothing about the right half of what it sees."""
    image, matte = scene(320, 240, (60, 60, 180, 320))

    def run(seen):
        alpha = np.array(RED.run(seen))
        alpha[:, SHAPE[1] // 2 :] = 0.5
        return alpha

    network = Network("test", SHAPE, run)
    alpha = two_passes(network, image)
    assert np.abs(alpha - matte).mean() < 0.03
    (window,) = windows_around(matte, image.shape, SHAPE)
    assert np.abs(look(network, image, [window]) - matte).mean() > 0.2


def test_wide_groups_also_get_a_window_around_all_of_them():
    def windows(shape, *boxes):
        return windows_around(scene(*shape, *boxes)[1], shape, SHAPE)

    *tiles, whole = windows((360, 640), (20, 20, 620, 340))
    assert len(tiles) >= 3 and whole.left == 0 and whole.right == 640
    row = windows((360, 1600), (20, 20, 1580, 340))  # squeezed, people would look odd
    assert max(window.size[1] for window in row) < 400


@pytest.mark.parametrize("shape", [(4, 2000), (2000, 4)])
def test_a_strip_has_a_few_windows(shape):
    windows = windows_around(np.ones(shape, np.float32), shape, SHAPE)
    assert len(windows) <= MOST_TILES
    assert windows[0].left == 0 and windows[-1].right == shape[1]
    assert all(a.right > b.left for a, b in itertools.pairwise(windows))
