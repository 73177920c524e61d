"""Tests that smoothing removes flicker, and that moving outlines do not lag behind."""

import dataclasses

import cv2
import numpy as np
import pytest

from metrics import dt_ssd, flicker
from portrait.effects.smoothing import Moment, blur_by_motion, smooth


@pytest.fixture(scope="module")
def clip():
    """A textured disc that moves 3 pixels a frame over another texture, and its mattes."""
    random = np.random.default_rng(0)

    def texture(low, high):
        noise = random.uniform(low, high, (120, 200, 3)).astype(np.float32)
        return cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 2), None, low, high, cv2.NORM_MINMAX)

    wall, person = texture(0, 120), texture(130, 255)
    images, mattes = [], []
    for frame in range(30):
        matte = np.zeros((120, 200), np.float32)
        cv2.circle(matte, (50 + 3 * frame, 60), 30, 1.0, -1, cv2.LINE_AA)
        moved = np.roll(person, 3 * frame, axis=1)
        images.append(matte[..., None] * moved + (1 - matte[..., None]) * wall)
        mattes.append(matte)
    return np.stack(images).astype(np.uint8), np.stack(mattes)


def smoothed(images, alphas, starts=(0,)):
    pairs = enumerate(zip(images, alphas, strict=True))
    moments = (Moment.of(image, alpha, index in starts) for index, (image, alpha) in pairs)
    return np.stack([moment.alpha for moment in smooth(moments, hold=True)])


def test_movement_does_not_lag(clip):
    images, mattes = clip
    lagging = np.stack([0.5 * (mattes[t] + mattes[max(0, t - 1)]) for t in range(len(mattes))])
    error = np.abs(smoothed(images, mattes) - mattes).mean()
    # A plain mean with the frame before errs by half of the movement.
    assert error < np.abs(lagging - mattes).mean() / 4


def test_flicker_goes(clip):
    """In every other frame, a part of the wall has an alpha of 0.5."""
    images, mattes = clip
    alphas = mattes.copy()
    alphas[1::2, 100:115, 10:40] = 0.5
    result = smoothed(images, alphas)
    assert flicker(result, images) < flicker(alphas, images) / 2
    assert dt_ssd(result, mattes) < dt_ssd(alphas, mattes) / 2
    # On the whole, the error is as before, except for the cost of smoothing where nothing flickers.
    cost = np.abs(smoothed(images, mattes) - mattes).mean()
    assert np.abs(result - mattes).mean() < np.abs(alphas - mattes).mean() + 1.5 * cost


@pytest.mark.parametrize("step", [(0, 8), (8, 0)], ids=["right", "down"])
def test_flicker_goes_from_what_moves(clip, step):
    """A third of the flicker goes when the camera pans, and more than half when it is still."""
    images, mattes = clip

    def seen(step):
        """The level of the middle of the disc."""
        down, right = step
        moves = [((down * t, right * t), (1.0, 0.7)[t % 2]) for t in range(6)]
        moved = [np.roll(images[0], move, axis=(0, 1)) for move, _ in moves]
        alphas = [np.roll(level * mattes[0], move, axis=(0, 1)) for move, level in moves]
        return [
            alpha[55 + y : 66 + y, 45 + x : 56 + x].mean()
            for alpha, ((y, x), _) in zip(smoothed(moved, alphas), moves, strict=True)
        ]

    still = seen((0, 0))
    assert np.abs(np.diff(still)).max() < 0.3 / 2
    assert np.abs(np.diff(seen(step))).max() < 0.3 * 2 / 3


def test_what_only_one_frame_shows_goes(clip):
    """A hole in the person and a blob on the wall, in one frame of a moving clip."""
    images, mattes = clip
    alphas = mattes[:9].copy()
    cv2.circle(alphas[4], (62, 60), 9, 0.0, -1)
    cv2.circle(alphas[4], (150, 30), 9, 1.0, -1)
    result = smoothed(images[:9], alphas)
    assert np.abs(result - mattes[:9]).max(axis=(0, 1, 2)) < 0.5
    assert result[4, 60, 62] > 0.9 and result[4, 30, 150] < 0.1
    # The first and the last frame have one neighbour, which outvotes nobody.
    alphas = mattes[:3].copy()
    cv2.circle(alphas[0], (50, 60), 9, 0.0, -1)
    assert smoothed(images[:3], alphas)[0, 60, 50] < 0.5


def test_a_jittering_outline_is_smoothed_where_it_moves_fast(clip):
    """Every other outline is 3 pixels off: the median of three frames would only swap them."""
    images, mattes = clip
    moved = np.stack([np.roll(images[0], 16 * t, axis=1) for t in range(6)])
    true = np.stack([np.roll(mattes[0], 16 * t, axis=1) for t in range(6)])
    seen = np.stack([np.roll(matte, (3, -3)[t % 2], axis=1) for t, matte in enumerate(true)])
    assert dt_ssd(smoothed(moved, seen)[1:-1], true[1:-1]) < 0.8 * dt_ssd(seen[1:-1], true[1:-1])


def test_a_cut_begins_anew(clip):
    images, mattes = clip
    there, here = images[:4], images[4:8, ::-1]
    alphas = np.concatenate([mattes[:4], mattes[4:8, ::-1] / 2])
    result = smoothed(np.concatenate([there, here]), alphas, starts=(0, 4))
    assert np.array_equal(result[:4], smoothed(there, alphas[:4]))
    assert np.array_equal(result[4:], smoothed(here, alphas[4:]))


def test_larger_alphas_keep_their_details(clip):
    """After a refinement, alphas are larger than the grid on which they are mixed."""
    images, mattes = clip
    moments = list(smooth(Moment.of(*pair, False) for pair in zip(images, mattes, strict=True)))
    fine = np.zeros((len(moments), 480, 800), np.float32)
    for index, alpha in enumerate(fine):
        cv2.circle(alpha, (200 + 12 * index, 240), 120, 1.0, -1)
        alpha[::2] *= 0.5
    fine[15, 200:220, 360:400] = 0  # a hole in one frame
    larger = [
        dataclasses.replace(moment, alpha=alpha)
        for moment, alpha in zip(moments, fine, strict=True)
    ]
    result = np.stack([moment.alpha for moment in smooth(larger)])
    assert result.shape == fine.shape and result.min() >= 0 and result.max() <= 1
    assert np.abs(result[10] - fine[10]).mean() < 0.01
    # The stripes of one pixel are still there, and the hole is filled with their mean.
    assert np.ptp(result[15, 240:244, 380]) > 0.45
    assert np.abs(result[15, 205:215, 380] - 0.75).max() < 0.1


def test_what_changes_where_nothing_moves_fades_quickly(clip):
    """The network drops a whole part of a still picture, for good."""
    images, mattes = clip
    alphas = np.repeat(mattes[:1], 8, axis=0)
    alphas[4:, 40:80, 60:75] = 0
    levels = smoothed(np.repeat(images[:1], 8, axis=0), alphas)[:, 60, 68]
    assert levels[:4].min() > 0.95 and levels[4:].max() < 0.35 and levels[7] < 0.2


@pytest.mark.parametrize("enlarged", [1, 2])
def test_sharp_alphas_are_blurred_along_fast_movement(clip, enlarged):
    """A camera that is open for half of the time blurs a disc, and the network sees it sharp."""
    images, _ = clip
    wall, sharp, exposed, seen = images[0][:, ::-1] // 2, [], [], []
    for frame in range(5):
        parts = [np.zeros((120, 200), np.float32) for _ in range(13)]
        for index, part in enumerate(parts):
            centre = (320 + round(16 * 16 * (frame + (index - 6) / 24)), 60 * 16)
            cv2.circle(part, centre, 30 * 16, 1.0, -1, cv2.LINE_AA, shift=4)
        matte = np.mean(parts, axis=0)
        person = np.roll(images[0], 16 * frame - 30, axis=1)
        seen.append((matte[..., None] * person + (1 - matte[..., None]) * wall).astype(np.uint8))
        sharp.append(parts[6])
        exposed.append(matte)
    moments = [Moment.of(*pair, False) for pair in zip(seen, sharp, strict=True)]
    moment = list(smooth(moments))[2]
    size = tuple(enlarged * side for side in sharp[2].shape)
    alpha, true = (cv2.resize(each, size[::-1]) for each in (sharp[2], exposed[2]))
    blurred = blur_by_motion(dataclasses.replace(moment, alpha=alpha)).alpha
    assert np.abs(blurred - true).mean() < 0.7 * np.abs(alpha - true).mean()
    # Above and below, the outline lies along the movement and stays sharp.
    middle = slice(enlarged * 50, enlarged * 54)
    assert np.abs(blurred - alpha)[: enlarged * 35, middle].max() < 0.1


def test_what_does_not_move_is_not_blurred(clip):
    images, mattes = clip
    moments = [Moment.of(images[0], mattes[0], False)] * 3
    assert blur_by_motion(moments[0]) is moments[0]  # no neighbours are known
    for moment in smooth(moments):
        assert blur_by_motion(moment) is moment


def test_one_pixel(clip):
    images, mattes = clip
    alphas = np.zeros_like(mattes[:3])
    alphas[:, 20, 30] = 0.02
    result = smoothed(images[:3], alphas)
    assert result.shape == alphas.shape and result.max() < 0.03


def test_nobody(clip):
    images, mattes = clip
    assert not smoothed(images[:4], np.zeros_like(mattes[:4])).any()


@pytest.mark.parametrize("shape", [(60, 320), (320, 60), (1, 500), (8, 8)])
def test_flat_pictures(shape):
    """OpenCV's optical flow would crash on pictures of this size."""
    images = np.random.default_rng(0).integers(0, 255, (3, *shape, 3), np.uint8)
    alphas = smoothed(images, np.ones((3, *shape), np.float32))
    assert alphas.shape == (3, *shape) and np.isfinite(alphas).all()
