"""The blur of a lens, for the background of a picture.

A lens images a point out of focus as a picture of its aperture, not as a Gaussian, and it sums up
light, not sRGB levels: small lights become bright discs. Colours of the person must not bleed into
the background, so only pixels that are certainly background are blurred, and the sums are divided
by their number (normalised convolution; Knutsson and Westin, 1993).
"""

import cv2
import numpy as np

from portrait.matting import compositing

APERTURES = {"round": 0, "oval": 0, "pentagon": 5, "hexagon": 6, "octagon": 8}
"""The shapes of apertures, with their numbers of corners."""

_LARGEST = 0.04  # radius at strength 1, as a share of the longer side
_MOST = 8  # radius in pixels; larger discs are computed on a smaller picture
_RIM = 0.006  # width by which the person is enlarged, as a share of the longer side
_LEAST = 1e-3
_STEP = 0.7  # between the radii that are computed; others are interpolated
_OVAL = 0.6  # width / height of the oval of an anamorphic lens
_FINE = 8  # corners are drawn at this multiple of the size

_LUMA = np.float32([[0.2126, 0.7152, 0.0722]])
_LIGHT = 0.8  # linear brightness from which pixels may be lights that the camera clipped
_GLOW = 6.0  # brightness of lights as a multiple of what the camera shows
_LIGHT_SHARE = 0.15  # mean of such pixels around something that is no small light


def radius_for(strength: float, shape: tuple[int, ...]) -> float:
    """The radius of the discs in pixels: `strength` (0..1) x 4 % of the longer side."""
    return strength * _LARGEST * max(shape[:2])


def lens_blur(
    background: np.ndarray,
    alpha: np.ndarray,
    radius: float | np.ndarray,
    aperture: str = "round",
) -> np.ndarray:
    """Blurs the background of a picture in linear light, as if the person were not there.

    Args:
        background: (H, W, 3), uint8 sRGB, or float32 0..1 in linear light.
        alpha: float32 (H, W), 0..1, of the person. The person's pixels are left out of the sums.
        radius: the radius of the discs in pixels, or of each row (H,). If it is below 0.5
            everywhere, the picture is returned unchanged.
        aperture: a key of `APERTURES`.

    Returns:
        The shape and type of `background`. The values more than 2 radii inside the person are
        meaningless.
    """
    radii = np.broadcast_to(np.float32(radius), alpha.shape[:1])
    if radii.max() < 0.5:
        return background
    scale = min(1.0, _MOST / float(radii.max()))
    height, width = alpha.shape
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    # One pixel more on the smaller picture, because its pixels at the edge mix both sides.
    rim = 2 * (round(_RIM * scale * max(alpha.shape)) + (scale < 1)) + 1
    small = cv2.resize(alpha, size, interpolation=cv2.INTER_AREA)
    weights = 1 - cv2.dilate(small, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (rim, rim)))
    colours = _light(background, size)
    weighted = cv2.merge([*cv2.split(colours * weights[..., None]), weights])
    # Pixels without background in their disc get the mean of a much wider neighbourhood.
    around = cv2.blur(weighted, (6 * _MOST + 1, 6 * _MOST + 1)) * np.float32(_LEAST)
    rows = cv2.resize(radii[:, None] * np.float32(scale), (1, size[1]))[:, 0]
    weighted = _by_rows(weighted, rows, aperture) + around
    blurred = (weighted[..., :3] / np.maximum(weighted[..., 3:], 1e-9)).clip(0, 1)
    if background.dtype == np.uint8:
        blurred = compositing.to_srgb(blurred)
    blurred = cv2.resize(blurred, (width, height), interpolation=cv2.INTER_LINEAR)
    # The reduced picture is too coarse for small discs.
    share = ((radii * np.float32(scale) - 0.3) / np.float32(0.9)).clip(0, 1)
    if share.min() == 1:
        return blurred
    share = cv2.resize(share[:, None], (width, height))
    return compositing.blend(blurred, background, share)


def disc(radius: float) -> np.ndarray:
    """The filter kernel of a uniform disc with sum 1; edge pixels are weighted by coverage."""
    half = int(np.ceil(radius))
    places = np.arange(-half, half + 1)
    distance = np.hypot(*np.meshgrid(places, places))
    kernel = (radius + 0.5 - distance).clip(0, 1).astype(np.float32)
    return kernel / kernel.sum()


def aperture_kernel(aperture: str, radius: float) -> np.ndarray:
    """The filter kernel of an aperture with sum 1, and with the area of a disc of `radius`.

    Args:
        aperture: a key of `APERTURES`.
        radius: in pixels.

    Returns:
        float32 (N, N), N odd.
    """
    if aperture == "round":
        return disc(radius)
    half = int(np.ceil(1.4 * radius)) + 1
    side = (2 * half + 1) * _FINE
    mask = np.zeros((side, side), np.float32)
    middle, fine = (side - 1) / 2, radius * _FINE
    corners = APERTURES[aperture]
    if corners:
        # The area of a regular polygon is n / 2 sin(2 pi / n) times its radius squared.
        fine *= np.sqrt(2 * np.pi / (corners * np.sin(2 * np.pi / corners)))
        angles = 2 * np.pi * (np.arange(corners) / corners + 1 / (2 * corners))
        points = middle + fine * np.column_stack([np.sin(angles), np.cos(angles)])
    else:
        angles = np.linspace(0, 2 * np.pi, 64, endpoint=False)
        axes = np.sqrt(_OVAL), 1 / np.sqrt(_OVAL)
        points = middle + fine * np.column_stack([np.sin(angles), np.cos(angles)]) * axes
    cv2.fillConvexPoly(mask, np.rint(points).astype(np.int32), 1.0)
    kernel = cv2.resize(mask, (2 * half + 1,) * 2, interpolation=cv2.INTER_AREA)
    return kernel / kernel.sum()


def _light(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Reduces a picture to linear light, in which small lights are as bright as they were.

    Args:
        picture: as for `lens_blur`.
        size: (width, height).

    Returns:
        float32 (height, width, 3), 0 or more.
    """
    reduced = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    if picture.dtype == np.uint8:
        reduced = compositing.to_linear(reduced)
        clipped = cv2.LUT(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), _CLIPPED)
    else:
        clipped = _clipped(cv2.transform(picture, _LUMA))
    clipped = cv2.resize(clipped, size, interpolation=cv2.INTER_AREA)
    share = cv2.blur(clipped, (4 * _MOST + 1, 4 * _MOST + 1))
    # Skies, walls and shirts are as bright, but they are no lights.
    lost = np.float32(_GLOW - 1) * clipped * (1 - share / np.float32(_LIGHT_SHARE)).clip(0, 1)
    if not lost.any():
        return reduced
    tint = reduced / np.maximum(cv2.transform(reduced, _LUMA), np.float32(0.05))[..., None]
    return reduced + lost[..., None] * tint


def _clipped(luma: np.ndarray) -> np.ndarray:
    """The brightness of pixels that the camera may have clipped, 0 for darker ones."""
    return luma * ((luma - np.float32(_LIGHT)) / np.float32(1 - _LIGHT)).clip(0, 1)


_CLIPPED = _clipped(compositing.to_linear(np.arange(256, dtype=np.uint8)))


def _by_rows(planes: np.ndarray, radii: np.ndarray, aperture: str) -> np.ndarray:
    """Filters each row of (h, w, 4) with the aperture of its radius.

    A few radii are computed, each for the rows that need it, and the rows between are interpolated.
    """
    levels = _levels(float(radii.min()), float(radii.max()))
    result = np.zeros_like(planes)
    for level, hat in zip(levels, np.eye(len(levels)), strict=True):
        weights = np.interp(radii, levels, hat).astype(np.float32)
        needed = np.flatnonzero(weights)
        if not len(needed):
            continue
        kernel = aperture_kernel(aperture, level)
        margin = kernel.shape[0] // 2
        first, last = needed[0], needed[-1] + 1
        top, bottom = max(0, first - margin), min(len(planes), last + margin)
        part = cv2.filter2D(planes[top:bottom], -1, kernel, borderType=cv2.BORDER_REPLICATE)
        result[first:last] += weights[first:last, None, None] * part[first - top : last - top]
    return result


def _levels(least: float, most: float) -> np.ndarray:
    """Radii from about `least`, but half a pixel or more, to `most`."""
    steps = np.log(max(least, 0.5) / most) / np.log(_STEP) if most > 0.5 else 0
    return most * _STEP ** np.arange(int(np.ceil(max(steps, 0) - 1e-3)), -1, -1)
