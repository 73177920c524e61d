"""The learned refinement: the shipped refiner on tiles along the outline (`models.refiner`)."""

import functools
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np

from portrait.io.images import resize
from portrait.matting.guided_filter import edge_width
from portrait.tflite.runtime import TfliteModel

REFINER = Path(__file__).resolve().parents[2] / "trained_models" / "refiner"
"""The folder of the shipped refiner."""

_ONE = 1.6  # width of a sharp edge of an enlarged alpha, in pixels of the network
_LARGEST = 4.0  # pixels of the network beyond this size are refined in several passes
_FEWEST = 160  # pixels of a network on the longer side: an alpha without any edge is not coarser
_REACH = 3.0  # of the band around soft alphas, in pixels of the network
_LIMITS = 12.0  # pixels of the network, within which the coarse alphas limit the result
# Difference of the largest and the smallest coarse alpha within that distance, from which and at
# which there is an outline. Where it is smaller, the network is in doubt over a wide area, and a
# tile shows too little to decide for it.
_OUTLINE = 0.9, 0.99
# The mean difference in the band between a coarse alpha and the local means of the result, up to
# which the coarse alpha is precise, and from which it is not.
_PRECISE = 0.08, 0.11
_CORRECTIONS = 4  # more hardly change anything
_MARGIN = 16  # of a tile, in pixels: there, convolutions see the zeros outside of the tile


@functools.cache
def shipped_refiner() -> TfliteModel:
    """The shipped refiner, loaded once.

    Raises:
        UserError: its file is missing or damaged.
    """
    return TfliteModel(REFINER / "refiner_float16.tflite", "the refiner")


def refine_learned(
    image: np.ndarray,
    alpha: np.ndarray,
    guided: Callable[[np.ndarray, np.ndarray], np.ndarray],
    refiner: TfliteModel | None = None,
) -> np.ndarray:
    """Refines a coarse alpha by a small network that sees the photograph along the outline.

    The network sees the result of `guided` and the coarse alpha. It has learned pixels of the
    coarse alpha of up to four pixels of the photograph. If they are larger, it first works on
    smaller photographs, and then refines its own results. Outside of the band around soft alphas,
    the result is that of `guided`. The local means of a precise coarse alpha are kept.

    Args:
        image: uint8 RGB (H, W, 3).
        alpha: float32 (h, w), 0..1, of the same proportions and not larger.
        guided: the refinement before it, with the same first two arguments and result.
        refiner: from the photograph, the result of `guided` and the enlarged coarse alpha,
            (h, w, 5) in 0..255, to the alpha (h, w, 1); None: the shipped one.

    Returns:
        float32 (H, W), 0..1.

    Raises:
        UserError: the shipped refiner is missing or damaged.
    """
    refiner = refiner or shipped_refiner()
    shape, given = image.shape[:2], alpha
    width = edge_width(alpha) * max(shape) / max(alpha.shape)
    pixel = max(1.0, min(width / _ONE, max(shape) / _FEWEST))
    passes = max(1, math.ceil(math.log(pixel) / math.log(_LARGEST) - 0.01))
    for left in reversed(range(passes)):
        # The last pass is at full size; each one before it is smaller by the same factor.
        scale = pixel ** (-left / passes)
        size = tuple(min(side, max(8, round(side * scale))) for side in shape)
        part = resize(image, size)
        soft = resize(alpha, size)
        alpha = _one_pass(part, guided(part, alpha), soft, pixel ** (1 / passes), refiner)
    return _keep_precise(alpha, given)


def _keep_precise(fine: np.ndarray, coarse: np.ndarray) -> np.ndarray:
    """Gives `fine` the local means of a precise coarse alpha, by iterative back-projection (Irani
    and Peleg, "Improving Resolution by Image Registration", 1991).

    The refiner expects a network's errors. A coarse alpha without them, such as a true matte that
    was reduced, hardly differs from the local means of the result: it is better than these. The
    alphas of networks differ by more, and stay corrected.

    Args:
        fine: float32 (H, W), 0..1.
        coarse: float32 (h, w), 0..1, not larger.

    Returns:
        float32 (H, W), 0..1.
    """
    band = (coarse > 0.02) & (coarse < 0.98)
    if not band.any():
        return fine
    precise, wrong = _PRECISE
    difference = np.abs(resize(fine, coarse.shape) - coarse)[band].mean()
    trust = np.float32(min(1.0, (wrong - difference) / (wrong - precise)))
    for _ in range(_CORRECTIONS if trust > 0 else 0):
        # Soft pixels take the difference: they are in doubt, and edges stay as sharp as they are.
        doubt = fine * (1 - fine) + np.float32(0.01)
        missing = (coarse - resize(fine, coarse.shape)) / resize(doubt, coarse.shape)
        fine = (fine + trust * doubt * resize(missing, fine.shape)).clip(0, 1)
    return fine


def _one_pass(
    image: np.ndarray, rough: np.ndarray, coarse: np.ndarray, pixel: float, refiner: TfliteModel
) -> np.ndarray:
    """Refines `rough` around the soft parts of `coarse`, whose pixels have this size.

    Args:
        image: uint8 (H, W, 3).
        rough: float32 (H, W), the result of `guided`.
        coarse: float32 (H, W), the enlarged coarse alpha.
        pixel: the size of the network's pixels.
        refiner: see `refine_learned`.
    """
    reach = math.ceil(_REACH * pixel)
    soft = ((coarse > 0.02) & (coarse < 0.98)).astype(np.uint8)
    square = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    band = cv2.dilate(soft, square)
    total, weight = np.zeros_like(rough), np.zeros_like(rough)
    size = refiner.input_shape
    ramp = np.outer(*(_ramp(side) for side in size))
    levels = np.dstack([image, rough * 255, coarse * 255])  # float32
    below, right = (max(0, a - b) for a, b in zip(size, rough.shape, strict=True))
    levels = cv2.copyMakeBorder(levels, 0, below, 0, right, cv2.BORDER_REFLECT)
    for top, left in tiles(band, size):
        place = np.s_[top : top + size[0], left : left + size[1]]
        inner = rough[place].shape
        part = np.s_[: inner[0], : inner[1]]
        total[place] += (refiner(levels[place])[..., 0] * ramp)[part]
        weight[place] += ramp[part]
    # Between the smallest and the largest coarse alpha nearby, nobody appears in an uncertain area.
    fine = total / np.maximum(weight, 1e-6)
    limits = np.ones((2 * math.ceil(_LIMITS * pixel) + 1,) * 2, np.uint8)
    least, most = cv2.erode(coarse, limits), cv2.dilate(coarse, limits)
    fine = fine.clip(least, most)
    near = cv2.blur(band.astype(np.float32), (2 * reach + 1, 2 * reach + 1))
    near *= (weight > 0) & (band > 0)
    doubt, outline = _OUTLINE
    certain = ((most - least - doubt) / (outline - doubt)).clip(0, 1)
    # The limits change abruptly along straight lines, which would be seams in the result.
    near *= cv2.blur(certain, (2 * reach + 1, 2 * reach + 1))
    return rough + near * (fine - rough)


def tiles(band: np.ndarray, size: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """Places tiles so that every pixel of a band is in the middle of one, or at the border.

    Strips of tiles from top to bottom; in a strip, each tile starts where the band goes on.

    Args:
        band: (H, W), not 0 in the band.
        size: (height, width) of a tile, which has a margin of 16 pixels on each side.

    Yields:
        The top and the left of a tile. A tile may reach out of the band's picture only at the
        bottom and the right, and only if the picture is smaller.
    """
    height, width = size[0] - 2 * _MARGIN, size[1] - 2 * _MARGIN
    rows = np.flatnonzero(band.any(axis=1))
    top = 0
    while len(rows := rows[rows >= top]):
        top = int(rows[0])
        columns = np.flatnonzero(band[top : top + height].any(axis=0))
        left = 0
        while len(columns := columns[columns >= left]):
            left = int(columns[0])
            yield (
                _inside(top - _MARGIN, size[0], band.shape[0]),
                _inside(left - _MARGIN, size[1], band.shape[1]),
            )
            left += width
        top += height


def _inside(start: int, length: int, side: int) -> int:
    return max(0, min(start, side - length))


def _ramp(side: int) -> np.ndarray:
    """Weights that fall towards both ends of a tile, float32 (side,)."""
    distance = np.minimum(np.arange(side), np.arange(side)[::-1]) + 1
    return (distance / _MARGIN).clip(0.01, 1).astype(np.float32)
