"""Trimaps: pixels that are certainly person, certainly background, or unknown."""

import cv2
import numpy as np


def make_trimap(alpha: np.ndarray, band: int) -> np.ndarray:
    """1: person, 0: background, 0.5: unknown, where alpha is soft or within `band` of an edge.

    The border of the picture is not an edge: a person who is cut off by it stays known there.

    Args:
        alpha: (H, W), 0..1; or a mask of 0 and 1.
        band: in pixels, on both sides.

    Returns:
        float64 (H, W).
    """
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * band + 1, 2 * band + 1))
    # OpenCV's default border is no neighbour of any pixel, for erosion and for dilation.
    inner = cv2.erode((alpha > 0.95).astype(np.uint8), disc)
    outer = cv2.dilate((alpha > 0.05).astype(np.uint8), disc)
    return np.where(inner == 1, 1.0, np.where(outer == 0, 0.0, 0.5))
