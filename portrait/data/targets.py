"""Training targets: the boundary band of a matte."""

from collections.abc import Sequence

import cv2
import numpy as np


def boundary_thickness(matte: np.ndarray) -> int:
    """Width in pixels of the boundary band: max(5, 40 x person's share) at a height of 256.

    A person who fills the frame has a long outline with much uncertain hair and cloth along it,
    and gets a wide band; a small one keeps at least five pixels.
    """
    share = float(np.mean(matte)) / (255.0 if matte.dtype == np.uint8 else 1.0)
    return max(1, round(max(5.0, 40.0 * share) * matte.shape[0] / 256.0))


def boundary_target(matte: np.ndarray, thickness: Sequence[int] = ()) -> np.ndarray:
    """The band along the person's outline, the target of the boundary head.

    Canny edges (thresholds 50 and 100) of the matte, dilated by an ellipse.

    Args:
        matte: (H, W), uint8 0..255 or float 0..1.
        thickness: diameters of the ellipse in pixels; several give the mean of their bands, which
            is 1 on the outline and falls off in steps. Empty: `boundary_thickness(matte)`.

    Returns:
        float32 (H, W), 0..1.
    """
    levels = matte if matte.dtype == np.uint8 else np.rint(matte * 255.0).astype(np.uint8)
    edges = cv2.Canny(levels, 50, 100)
    if not edges.any():
        return np.zeros(levels.shape, np.float32)
    bands = []
    for diameter in thickness or (boundary_thickness(levels),):
        ellipse = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (diameter, diameter))
        bands.append(cv2.dilate(edges, ellipse).astype(np.float32) / 255.0)
    return bands[0] if len(bands) == 1 else np.mean(bands, axis=0, dtype=np.float32)
