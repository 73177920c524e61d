"""Pictures in linear light: proportional to photons, as mixtures of colours really are.

sRGB, IEC 61966-2-1. In linear light soft edges before a bright background are right, and out of
focus lamps stay bright discs.
"""

import cv2
import numpy as np

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
