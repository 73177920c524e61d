"""Composites people and backgrounds: alpha F + (1 - alpha) B."""

import math
from collections.abc import Callable, Sequence

import cv2
import numpy as np

from portrait.io.images import resize
from portrait.matting import compositing
from portrait.matting.foreground import multilevel

Estimator = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
"""From image and alpha to F and B: `foreground.multilevel` or `foreground.blur_fusion`."""

_LARGEST = 8  # times the result: thin pictures would be enlarged to gigabytes and then cropped


def compose(
    image: np.ndarray,
    alpha: np.ndarray,
    background: np.ndarray | Sequence[int],
    linear: bool = False,
    estimate: Estimator = multilevel,
) -> np.ndarray:
    """Puts the person of a photograph on another background, without a halo of the old background.

    Args:
        image: uint8 RGB (H, W, 3).
        alpha: float32 (H, W), 0..1, of the person.
        background: uint8 RGB of any size, cropped to the photograph's proportions, or a colour (R,
            G, B).
        linear: mix in linear light.
        estimate: estimates the person's colours at soft edges.

    Returns:
        uint8 RGB (H, W, 3).
    """
    background = fill(background, image.shape[:2])
    if linear:
        image, background = compositing.to_linear(image), compositing.to_linear(background)
    foreground, _ = estimate(image, alpha)
    result = blend(foreground, background, alpha)
    return compositing.to_srgb(result) if linear else result


def blend(foreground: np.ndarray, background: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """alpha F + (1 - alpha) B.

    Args:
        foreground: (H, W, 3), uint8 or float32.
        background: of the same shape and type.
        alpha: float32 (H, W), 0..1.

    Returns:
        The shape and type of `foreground`; uint8 is rounded.
    """
    return cv2.blendLinear(foreground, background, alpha, 1 - alpha)


def fill(background: np.ndarray | Sequence[int], shape: Sequence[int]) -> np.ndarray:
    """A picture scaled and cropped to cover `shape` = (H, W), or a plain colour.

    Returns:
        uint8 RGB (H, W, 3).
    """
    height, width = shape
    background = np.asarray(background, np.uint8)
    if background.ndim == 1:
        return np.full((height, width, 3), background, np.uint8)
    scale = _covering_scale(background, shape)
    if background.shape[0] * background.shape[1] * scale**2 > _LARGEST * height * width:
        background = _middle(background, height / scale, width / scale)
        scale = _covering_scale(background, shape)
    rows = max(height, round(background.shape[0] * scale))
    columns = max(width, round(background.shape[1] * scale))
    top, left = (rows - height) // 2, (columns - width) // 2
    covering = resize(background, (rows, columns))
    return np.ascontiguousarray(covering[top : top + height, left : left + width])


def _covering_scale(picture: np.ndarray, shape: Sequence[int]) -> float:
    return max(shape[0] / picture.shape[0], shape[1] / picture.shape[1])


def _middle(picture: np.ndarray, rows: float, columns: float) -> np.ndarray:
    """At least these rows and columns around the middle of a picture."""
    top, left = (
        (side - min(side, math.ceil(part))) // 2
        for side, part in zip(picture.shape, (rows, columns), strict=False)
    )
    return picture[top : picture.shape[0] - top, left : picture.shape[1] - left]


_LEVELS = np.arange(256, dtype=np.float64) / 255
_LINEAR = np.where(_LEVELS <= 0.04045, _LEVELS / 12.92, ((_LEVELS + 0.055) / 1.055) ** 2.4).astype(
    np.float32
)


def _encoded() -> np.ndarray:
    """sRGB levels of the linear values 0, 1/65535, ... 1."""
    linear = np.arange(65536) / 65535
    levels = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.rint(levels * 255).astype(np.uint8)


_ENCODED = _encoded()


def to_linear(picture: np.ndarray) -> np.ndarray:
    """uint8 sRGB to float32 linear light, 0..1, of the same shape."""
    return cv2.LUT(picture, _LINEAR)


def to_srgb(picture: np.ndarray) -> np.ndarray:
    """float32 linear light, clipped to 0..1, to uint8 sRGB of the same shape."""
    return _ENCODED[np.rint(picture.clip(0, 1) * 65535).astype(np.uint16)]
