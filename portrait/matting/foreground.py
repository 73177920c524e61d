"""Estimates the colours of the person alone and of the background alone.

At a soft edge, the colour of a photograph is alpha F + (1 - alpha) B. On a new background, the old
B would be visible as a halo, so F must be estimated first.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from portrait.matting.closed_form import load_pymatting

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
        F and B, each with the shape and type of `image`.
    """
    if alpha.size < 2:  # pymatting cannot shrink a single pixel
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
        F = F' + alpha D,   B = B' + (1 - alpha) D,   D = I - alpha F' - (1 - alpha) B'.

    F' and B' are computed on a small picture, in a wide and then in a narrow neighbourhood. The
    wide one fills places without certain colours nearby. The paper's weights are alpha and 1 -
    alpha; their fourth powers keep mixed colours out, which more than halves the error. Only the
    box with all soft edges is computed; elsewhere F and B are the image.

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
    """Weighted means of the colours around each pixel, float32 (h, w, 3)."""
    weighted = cv2.merge([*cv2.split(colours * weights[..., None]), weights])
    mean = colours
    for radius in radii:
        sums = cv2.blur(weighted, (2 * radius + 1, 2 * radius + 1))
        mean = (sums[..., :3] + _WIDER * mean) / (sums[..., 3:] + _WIDER)
    return mean


def _as(picture: np.ndarray, like: np.ndarray) -> np.ndarray:
    """Converts a picture to the range and the type of `like`."""
    if like.dtype == np.uint8:
        return cv2.convertScaleAbs(np.maximum(picture, 0))
    return picture.clip(0, 1).astype(like.dtype)


def blur_fusion_as_published(image: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """The colours of the person by blur fusion (Forte and Pitie, 2021), coarse then fine.

    This is the method of the paper; `blur_fusion` is a faster variant for video.

    Args:
        image: float64 (H, W, 3) 0..1.
        alpha: float64 (H, W) 0..1.

    Returns:
        float64 (H, W, 3) 0..1, the image itself where alpha is 1.
    """
    alpha = alpha[..., None]
    foreground = background = image
    for size in (91, 7):
        share = cv2.blur(alpha, (size, size))[..., None]
        near = cv2.blur(foreground * alpha, (size, size)) / (share + 1e-5)
        far = cv2.blur(background * (1 - alpha), (size, size)) / (1 - share + 1e-5)
        foreground = np.clip(near + alpha * (image - alpha * near - (1 - alpha) * far), 0, 1)
        background = far
    return foreground


def person_colours(image: np.ndarray, matte: np.ndarray) -> np.ndarray:
    """Replaces the old background's share in the image's colours with the person's colours.

    Each pixel of the edge gets the mean of the inner pixels in a box around it. Strands of hair
    with hardly any inner pixel nearby are alpha F + (1 - alpha) B: there, (1 - alpha) times the
    nearest background colour is subtracted and (1 - alpha) times the nearest person colour is
    added. A dark braid in front of a blue shirt stays dark.
    """
    # One pixel less than the matte: hand-made masks include a rim of the old background.
    solid = cv2.erode(cv2.inRange(matte, 250, 255), np.ones((3, 3), np.uint8))
    radius = max(2, round(image.shape[0] / 64))
    box = (2 * radius + 1, 2 * radius + 1)
    near = cv2.blur(cv2.bitwise_and(image, image, mask=solid), box)
    weight = cv2.blur(solid, box)
    means = cv2.divide(near, cv2.merge([weight] * 3), scale=255)
    known = cv2.inRange(weight, 26, 255)  # at least a tenth of the box, enough for a mean
    painted = cv2.copyTo(means, known & ~solid, image.copy())
    loose = np.flatnonzero((cv2.inRange(matte, 1, 249) & ~known) > 0)  # faster on booleans
    if len(loose):
        person, wall = _nearest_colours(image, (solid, cv2.inRange(matte, 0, 0)), loose, radius)
        pixels = painted.reshape(-1, 3)  # a view
        share = 1 - matte.ravel()[loose, None] / np.float32(255)
        pixels[loose] = (pixels[loose] + share * (person - wall)).clip(0, 255)
    return painted


def _nearest_colours(
    image: np.ndarray, masks: Sequence[np.ndarray], pixels: np.ndarray, side: int
) -> list[np.ndarray]:
    """For each mask, the colours of the nearest cells that it covers completely.

    Args:
        image: uint8 (H, W, 3).
        masks: uint8 (H, W), 255 or 0.
        pixels: the indices of N pixels in the flattened image.
        side: the side of the square cells in pixels.

    Returns:
        float32 (N, 3) for each mask; all zeros if one of the masks covers no cell.
    """
    height, width = image.shape[:2]
    size = (max(1, width // side), max(1, height // side))
    colours = cv2.resize(image, size, interpolation=cv2.INTER_AREA).reshape(-1, 3)
    colours = colours.astype(np.float32)
    rows, columns = np.divmod(pixels, width)
    cells = rows * size[1] // height * size[0] + columns * size[0] // width
    found = []
    for mask in masks:
        unknown = cv2.inRange(cv2.resize(mask, size, interpolation=cv2.INTER_AREA), 0, 254)
        known = np.flatnonzero(unknown == 0)
        if not len(known):
            return [np.zeros((len(pixels), 3), np.float32)] * len(masks)
        _, labels = cv2.distanceTransformWithLabels(
            unknown, cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
        )
        labels = labels.ravel()
        owners = np.empty(len(known) + 1, int)
        owners[labels[known]] = known
        found.append(colours[owners[labels[cells]]])
    return found
