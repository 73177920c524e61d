"""The colours of the person alone and of the background alone.

At a soft edge a photograph's colour is alpha F + (1 - alpha) B. Laid on a new background as it is,
the old B shines through as a halo: F has to be found first.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from effects.matting import load_pymatting

_RADII = (0.05, 0.01)  # of blur fusion, as shares of the longer side
_SIDE = 256  # pixels of the small picture
_POWER = 4
_WIDER = np.float32(1e-2)  # weight of the wider neighbourhood in the narrower


def multilevel(image: np.ndarray, alpha: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """F and B by pymatting's multi-level method: for single pictures.

    Germer et al., "Fast Multi-Level Foreground Estimation", 2006.14970.

    Args:
        image: (H, W, 3), uint8 0..255, or float32 0..1.
        alpha: float32 (H, W), 0..1.

    Returns:
        F and B, each as `image`.
    """
    if alpha.size < 2:  # of a single pixel it cannot make a smaller picture
        return image, image
    scale = 255 if image.dtype == np.uint8 else 1
    solved = load_pymatting().estimate_foreground_ml(
        image / np.float32(scale), alpha, return_background=True
    )
    return tuple(_as(plane * np.float32(scale), image) for plane in solved)


def blur_fusion(image: np.ndarray, alpha: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """F and B by blur fusion: a few milliseconds, for video.

    After Forte and Pitie, "Approximate Fast Foreground Colour Estimation", ICIP 2021:

        F' = blur(w I) / blur(w),  w = alpha^4;   B' = blur(v I) / blur(v),  v = (1 - alpha)^4,
        F = F' + alpha (I - alpha F' - (1 - alpha) B'),   B = B' + (1 - alpha) (the same).

    F' and B' are found on a small picture, in a wide and then in a narrow neighbourhood, where the
    wide one fills the places that have no sure colours near them. The paper's weights are alpha
    and 1 - alpha; their fourth powers keep mixed colours out, which more than halves the error.
    Only the box that holds all soft edges is touched: elsewhere F and B are the image itself.

    Args:
        image: (H, W, 3), uint8 0..255, or float32 0..1.
        alpha: float32 (H, W), 0..1.

    Returns:
        F and B, each as `image`.
    """
    soft = ((alpha > 0) & (alpha < 1)).view(np.uint8)
    x, y, width, height = cv2.boundingRect(soft)
    if not width:
        return image, image
    margin = round(_RADII[0] * max(alpha.shape))
    top, left = max(0, y - margin), max(0, x - margin)
    box = np.s_[top : y + height + margin, left : x + width + margin]
    part, share = image[box].astype(np.float32), alpha[box]
    scale = min(1.0, _SIDE / max(share.shape))
    size = (max(1, round(part.shape[1] * scale)), max(1, round(part.shape[0] * scale)))
    small, cover = (cv2.resize(each, size, interpolation=cv2.INTER_AREA) for each in (part, share))
    radii = [max(1, round(radius * scale * max(alpha.shape))) for radius in _RADII]
    near, far = (
        cv2.resize(_spread(small, weight**_POWER, radii), part.shape[1::-1])
        for weight in (cover, 1 - cover)
    )
    cover = cv2.merge([share] * 3)
    missing = part - far - cover * (near - far)
    foreground, background = image.copy(), image.copy()
    foreground[box] = _as(near + cover * missing, image)
    background[box] = _as(far + (1 - cover) * missing, image)
    return foreground, background


def _spread(colours: np.ndarray, weights: np.ndarray, radii: Sequence[int]) -> np.ndarray:
    """Means of the colours around each pixel, by weight; float32 (h, w, 3)."""
    weighted = cv2.merge([*cv2.split(colours * weights[..., None]), weights])
    mean = colours
    for radius in radii:
        sums = cv2.blur(weighted, (2 * radius + 1, 2 * radius + 1))
        mean = (sums[..., :3] + _WIDER * mean) / (sums[..., 3:] + _WIDER)
    return mean


def _as(picture: np.ndarray, like: np.ndarray) -> np.ndarray:
    """Clipped to the range, and in the type, of `like`."""
    if like.dtype == np.uint8:
        return cv2.convertScaleAbs(np.maximum(picture, 0))
    return picture.clip(0, 1).astype(like.dtype)
