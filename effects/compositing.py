"""Persons before backgrounds: alpha F + (1 - alpha) B."""

from collections.abc import Callable, Sequence

import cv2
import numpy as np

from effects import light
from effects.foreground import multilevel
from preprocess import resize

Estimator = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
"""From image and alpha to F and B: `foreground.multilevel` or `foreground.blur_fusion`."""


def compose(
    image: np.ndarray,
    alpha: np.ndarray,
    background: np.ndarray | Sequence[int],
    linear: bool = False,
    estimate: Estimator = multilevel,
) -> np.ndarray:
    """Sets the person of a photograph before another background, without a halo of the old one.

    Args:
        image: uint8 RGB (H, W, 3).
        alpha: float32 (H, W), 0..1, of the person.
        background: uint8 RGB of any size, cut to the photograph's aspect, or a colour (R, G, B).
        linear: mix in linear light.
        estimate: finds the person's own colours at soft edges.

    Returns:
        uint8 RGB (H, W, 3).
    """
    background = fill(background, image.shape[:2])
    if linear:
        image, background = light.to_linear(image), light.to_linear(background)
    foreground, _ = estimate(image, alpha)
    result = blend(foreground, background, alpha)
    return light.to_srgb(result) if linear else result


def blend(foreground: np.ndarray, background: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """alpha F + (1 - alpha) B.

    Args:
        foreground: (H, W, 3), uint8 or float32.
        background: of the same shape and type.
        alpha: float32 (H, W), 0..1.

    Returns:
        As `foreground`; uint8 is rounded.
    """
    return cv2.blendLinear(foreground, background, alpha, 1 - alpha)


def fill(background: np.ndarray | Sequence[int], shape: Sequence[int]) -> np.ndarray:
    """A picture that covers `shape` = (H, W), its overhanging sides cut off; or a plain colour.

    Returns:
        uint8 RGB (H, W, 3).
    """
    height, width = shape
    background = np.asarray(background, np.uint8)
    if background.ndim == 1:
        return np.full((height, width, 3), background, np.uint8)
    scale = max(height / background.shape[0], width / background.shape[1])
    rows = max(height, round(background.shape[0] * scale))
    columns = max(width, round(background.shape[1] * scale))
    top, left = (rows - height) // 2, (columns - width) // 2
    covering = resize(background, (rows, columns))
    return np.ascontiguousarray(covering[top : top + height, left : left + width])
