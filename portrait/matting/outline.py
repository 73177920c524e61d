"""Moves and softens the outline of an alpha."""

import cv2
import numpy as np


def choke(alpha: np.ndarray, pixels: float) -> np.ndarray:
    """Moves the outline inwards; negative values move it outwards.

    Args:
        alpha: float32 (H, W), 0..1.
        pixels: the distance; fractions are interpolated.

    Returns:
        float32 (H, W), 0..1.
    """
    if pixels == 0:
        return alpha
    move = cv2.erode if pixels > 0 else cv2.dilate
    whole, part = divmod(abs(pixels), 1)
    near, far = (
        move(alpha, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * each + 1,) * 2))
        for each in (int(whole), int(whole) + 1)
    )
    return near + np.float32(part) * (far - near)


def feather(alpha: np.ndarray, pixels: float) -> np.ndarray:
    """Softens the outline over a width of about `pixels` on each side.

    Args:
        alpha: float32 (H, W), 0..1.
        pixels: two standard deviations of the Gaussian.

    Returns:
        float32 (H, W), 0..1.
    """
    return cv2.GaussianBlur(alpha, (0, 0), pixels / 2) if pixels > 0 else alpha
