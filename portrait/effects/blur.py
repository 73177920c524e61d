"""Lens blur of a background.

A lens images a point out of focus as a disc, not as a Gaussian. Colours of the person must not
bleed into the background, so only pixels that are certainly background are blurred, and the sums
are divided by their number (normalised convolution; Knutsson and Westin, 1993).
"""

import cv2
import numpy as np

_LARGEST = 0.04  # radius at strength 1, as a share of the longer side
_MOST = 10  # radius in pixels; larger discs are computed on a smaller picture
_RIM = 0.006  # width by which the person is enlarged, as a share of the longer side
_LEAST = 1e-3


def radius_for(strength: float, shape: tuple[int, ...]) -> float:
    """The radius of the discs in pixels: `strength` (0..1) x 4 % of the longer side."""
    return strength * _LARGEST * max(shape[:2])


def lens_blur(background: np.ndarray, alpha: np.ndarray, radius: float) -> np.ndarray:
    """Blurs the background of a picture, as if the person were not there.

    Args:
        background: (H, W, 3), uint8 or float32.
        alpha: float32 (H, W), 0..1, of the person. The person's pixels are left out of the sums.
        radius: the radius of the discs in pixels; below 0.5 the picture is returned unchanged.

    Returns:
        The shape and type of `background`. The values more than 2 radii inside the person are
        meaningless.
    """
    if radius < 0.5:
        return background
    scale = min(1.0, _MOST / radius)
    height, width = alpha.shape
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    # One pixel more on the smaller picture, because its pixels at the edge mix both sides.
    rim = 2 * (round(_RIM * scale * max(alpha.shape)) + (scale < 1)) + 1
    small = cv2.resize(alpha, size, interpolation=cv2.INTER_AREA)
    weights = 1 - cv2.dilate(small, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (rim, rim)))
    colours = cv2.resize(background, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    weighted = cv2.merge([*cv2.split(colours * weights[..., None]), weights])
    # Pixels without background in their disc get the mean of a much wider neighbourhood.
    around = cv2.blur(weighted, (6 * _MOST + 1, 6 * _MOST + 1)) * np.float32(_LEAST)
    weighted = cv2.filter2D(weighted, -1, disc(radius * scale), borderType=cv2.BORDER_REPLICATE)
    weighted += around
    blurred = weighted[..., :3] / np.maximum(weighted[..., 3:], 1e-9)
    blurred = cv2.resize(blurred, (width, height), interpolation=cv2.INTER_LINEAR)
    if background.dtype == np.uint8:
        return cv2.convertScaleAbs(blurred)
    return blurred


def disc(radius: float) -> np.ndarray:
    """The filter kernel of a uniform disc with sum 1; edge pixels are weighted by coverage."""
    half = int(np.ceil(radius))
    places = np.arange(-half, half + 1)
    distance = np.hypot(*np.meshgrid(places, places))
    kernel = (radius + 0.5 - distance).clip(0, 1).astype(np.float32)
    return kernel / kernel.sum()
