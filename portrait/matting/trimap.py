"""Trimaps: pixels that are certainly person, certainly background, or unknown."""

import cv2
import numpy as np


def make_trimap(alpha: np.ndarray, band: int) -> np.ndarray:
    """Makes a trimap: 1 person, 0 background, 0.5 unknown.

    Pixels are unknown if the alpha is soft or an edge is within `band` pixels. The border of the
    picture is not an edge: where it cuts a person off, the pixels stay known.

    Args:
        alpha: (H, W), 0..1; or a mask of 0 and 1.
        band: the width in pixels on each side of an edge.

    Returns:
        float64 (H, W).
    """
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * band + 1, 2 * band + 1))
    # With OpenCV's default border, pixels outside the picture change neither erosion nor dilation.
    inner = cv2.erode((alpha > 0.95).astype(np.uint8), disc)
    outer = cv2.dilate((alpha > 0.05).astype(np.uint8), disc)
    return np.where(inner == 1, 1.0, np.where(outer == 0, 0.0, 0.5))
