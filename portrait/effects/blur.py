"""Lens blur of a background.

A point out of focus becomes a disc, not a Gaussian. The background continues behind the person, and
no colour of the person may bleed into it: only pixels that are certainly background are blurred,
and the sums are divided by their number (normalised convolution; Knutsson and Westin, 1993).
"""

import cv2
import numpy as np

_LARGEST = 0.04  # radius at strength 1, as a share of the longer side
_MOST = 10  # pixels of radius; larger discs are made on a smaller picture
_RIM = 0.006  # by which the person is taken to be larger, as a share of the longer side
_LEAST = 1e-3


def radius_for(strength: float, shape: tuple[int, ...]) -> float:
    """Radius in pixels of the discs: `strength` (0..1) x 4 % of the longer side."""
    return strength * _LARGEST * max(shape[:2])


def lens_blur(background: np.ndarray, alpha: np.ndarray, radius: float) -> np.ndarray:
    """Blurs the background of a picture, as if the person were not there.

    Args:
        background: (H, W, 3), uint8 or float32.
        alpha: float32 (H, W), 0..1: of the person, whose colours do not count.
        radius: of the discs, in pixels; below 0.5 nothing happens.

    Returns:
        As `background`. It is practically undefined more than 2 radii inside the person.
    """
    if radius < 0.5:
        return background
    scale = min(1.0, _MOST / radius)
    height, width = alpha.shape
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    # One more on the smaller picture, for cells on the edge.
    rim = 2 * (round(_RIM * scale * max(alpha.shape)) + (scale < 1)) + 1
    small = cv2.resize(alpha, size, interpolation=cv2.INTER_AREA)
    weights = 1 - cv2.dilate(small, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (rim, rim)))
    colours = cv2.resize(background, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    weighted = cv2.merge([*cv2.split(colours * weights[..., None]), weights])
    # Pixels that no disc reaches get the colour of a much wider surrounding.
    around = cv2.blur(weighted, (6 * _MOST + 1, 6 * _MOST + 1)) * np.float32(_LEAST)
    weighted = cv2.filter2D(weighted, -1, disc(radius * scale), borderType=cv2.BORDER_REPLICATE)
    weighted += around
    blurred = weighted[..., :3] / np.maximum(weighted[..., 3:], 1e-9)
    blurred = cv2.resize(blurred, (width, height), interpolation=cv2.INTER_LINEAR)
    if background.dtype == np.uint8:
        return cv2.convertScaleAbs(blurred)
    return blurred


def disc(radius: float) -> np.ndarray:
    """A filter kernel of sum 1: an evenly lit disc, whose edge pixels count by their share."""
    half = int(np.ceil(radius))
    places = np.arange(-half, half + 1)
    distance = np.hypot(*np.meshgrid(places, places))
    kernel = (radius + 0.5 - distance).clip(0, 1).astype(np.float32)
    return kernel / kernel.sum()
