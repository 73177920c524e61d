"""Paints pictures at a small size, and gives the result the size and the details of the picture.

Strokes have a fixed number of pixels, so a picture that is painted small has large strokes, and
costs less.
"""

from collections.abc import Callable, Sequence

import cv2
import numpy as np

from portrait.errors import UnfitError
from portrait.io.images import TooSmallError, resize, shrunk
from portrait.style_transfer.steady import Steady

PaintFunction = Callable[[np.ndarray], np.ndarray]
"""From uint8 RGB (H, W, 3) to the painted picture, of the same shape, in 0..255."""
_DETAIL = 0.5  # of the details that the painted size cannot show, docs/style_transfer.md


class FullSize:
    """Paints pictures at a small size and returns them at their own.

    Args:
        paint: paints the small picture.
        fit: from (H, W) of a picture to (h, w) at which it is painted; see `longer_side`.
        finish: from the enlarged painted picture and the picture, both uint8 (H, W, 3), to the
            result: its strength and colours.
        steady: for the frames of one video, in order; None: pictures are painted independently.
        flag: the name of the flag that sets the small size, for messages.
    """

    def __init__(
        self,
        paint: PaintFunction,
        fit: Callable[[Sequence[int]], tuple[int, int]],
        finish: Callable[[np.ndarray, np.ndarray], np.ndarray] = lambda painted, picture: painted,
        *,
        steady: Steady | None = None,
        flag: str = "size",
    ):
        self._paint, self._fit, self._finish, self._steady = paint, fit, finish, steady
        self._flag = flag

    def __call__(self, picture: np.ndarray) -> np.ndarray:
        """The painted picture, of the shape and type of `picture`, uint8 RGB (H, W, 3)."""
        small = resize(picture, self._fit(picture.shape[:2]))
        painted = paint_shrunk(self._paint, small, picture, self._flag)
        if self._steady:
            painted = self._steady(small, painted)
        levels = np.rint(painted).clip(0, 255).astype(np.uint8)
        return self._finish(enlarge(levels, small, picture), picture)


def paint_shrunk(
    paint: PaintFunction, small: np.ndarray, picture: np.ndarray, flag: str
) -> np.ndarray:
    """Paints `small`, which `picture` was shrunk to; where this is too small, it names a remedy.

    Raises:
        UnfitError: `small` is too small for `paint`.
    """
    try:
        return paint(small)
    except TooSmallError as error:
        if min(picture.shape[:2]) < error.least:
            raise
        raise UnfitError(f"{error}: use a larger --{flag}") from error


def longer_side(side: int) -> Callable[[Sequence[int]], tuple[int, int]]:
    """From (H, W) to the size with a longer side of at most `side` pixels; 0: to (H, W)."""
    return lambda shape: shrunk(shape, side or max(shape))


def enlarge(painted: np.ndarray, small: np.ndarray, picture: np.ndarray) -> np.ndarray:
    """Enlarges a painted picture, and adds details of the brightness that `small` has lost.

    Args:
        painted: uint8 RGB (h, w, 3).
        small: the picture that was painted, of the same shape and type.
        picture: the picture before it was shrunk, uint8 RGB (H, W, 3).

    Returns:
        uint8 RGB (H, W, 3): `painted` itself if nothing was shrunk.
    """
    if painted.shape == picture.shape:
        return painted
    size = picture.shape[1::-1]
    large = cv2.resize(painted, size, interpolation=cv2.INTER_CUBIC)
    kept = cv2.resize(_brightness(small), size, interpolation=cv2.INTER_CUBIC)
    lost = cv2.addWeighted(_brightness(picture), _DETAIL, kept, -_DETAIL, 0, dtype=cv2.CV_16S)
    return cv2.add(large, cv2.merge([lost] * 3), dtype=cv2.CV_8U)


def blend(photo: np.ndarray, painted: np.ndarray, strength: float) -> np.ndarray:
    """A painted picture over its photograph, both (H, W, 3) in 0..255: uint8 (H, W, 3)."""
    if strength == 1 and painted.dtype == np.uint8:
        return painted
    photo = photo.astype(np.float32)
    return np.rint(photo + np.float32(strength) * (painted - photo)).astype(np.uint8)


def _brightness(picture: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
