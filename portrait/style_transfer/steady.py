"""Keeps painted videos quiet: every painted frame is mixed with the one before.

A network paints small changes of a photograph, such as noise and compression, as large ones.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from metrics import flow_sources
from portrait.io.cuts import CutFinder

_FLOW_SCALE = 1  # of the painted size: with flow at half of it, strokes swim a little
_KEEP_MOVED = 0.85  # weight of the frame before where the flow explains the photograph
_KEEP_STILL = 0.95  # where the photograph stands still; elsewhere it would blur the strokes
_MISSED = 15.0  # scale of the flow's error in levels: what was hidden before is painted afresh
_AROUND = 5  # pixels, side of the squares in which that error is averaged
_NOISE = 1.0  # levels: movement must explain the photograph better by this than standing still


@dataclass
class _Frame:
    photo: np.ndarray
    grey: np.ndarray
    painted: np.ndarray


class Steady:
    """Mixes the painted frames of a video with the ones before; use one object per video.

    Optical flow (DIS) between the photographs moves the frame before along, except where the
    photograph does not change: on plain walls, flow follows the noise. The weight of the frame
    before falls to 0 where the photograph that is moved in the same way differs from the new one:
    behind people who move, and where light changes. After a cut, everything starts afresh.

    Example:
        steady = Steady()
        for photo in frames:
            painted = steady(photo, paint(photo))
    """

    def __init__(self):
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        self._starts = CutFinder()
        self._before: _Frame | None = None

    def __call__(self, photo: np.ndarray, painted: np.ndarray) -> np.ndarray:
        """Takes the next frame.

        Args:
            photo: uint8 RGB (H, W, 3).
            painted: the painted photograph, of the same shape, in 0..255.

        Returns:
            float32 (H, W, 3), 0..255.
        """
        frame = _Frame(photo, cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY), np.float32(painted))
        before, starts = self._before, self._starts(photo)
        if not starts and before.photo.shape == photo.shape:
            frame.painted = self._mixed(frame, before)
        self._before = frame
        return frame.painted

    def _mixed(self, frame: _Frame, before: _Frame) -> np.ndarray:
        places = flow_sources(self._flow, frame.grey, before.grey, _FLOW_SCALE)
        expected, carried = (
            cv2.remap(each, *places, interpolation, borderMode=cv2.BORDER_REPLICATE)
            # Linear interpolation would blur the strokes more with every frame.
            for each, interpolation in (
                (before.photo, cv2.INTER_LINEAR),
                (before.painted, cv2.INTER_CUBIC),
            )
        )
        moved, still = _difference(expected, frame.photo), _difference(before.photo, frame.photo)
        stays = _mean(np.float32(still <= moved + _NOISE))
        carried = cv2.blendLinear(before.painted, carried, stays, 1 - stays)
        missed = np.minimum(still, moved) / np.float32(_MISSED)
        keep = (_KEEP_MOVED + (_KEEP_STILL - _KEEP_MOVED) * stays) * np.exp(-np.square(missed))
        return cv2.blendLinear(carried, frame.painted, keep, 1 - keep)


def _difference(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The largest difference of the channels around each pixel, float32 (H, W)."""
    return _mean(cv2.absdiff(one, other).max(axis=2).astype(np.float32))


def _mean(picture: np.ndarray) -> np.ndarray:
    return cv2.blur(picture, (_AROUND, _AROUND))
