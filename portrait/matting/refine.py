"""Refines the alpha of any network at the photograph's own size.

The functions in `METHODS` take the image, uint8 RGB (H, W, 3), and an alpha that is not larger,
float32 (h, w) in 0..1, and return the refined alpha, float32 (H, W) in 0..1.
"""

from collections.abc import Callable

import cv2
import numpy as np

from portrait.io.images import Window, resize
from portrait.matting.closed_form import solve_band
from portrait.matting.dense_crf import dense_crf
from portrait.matting.guided_filter import edge_width, guided_filter
from portrait.matting.learned import refine_learned
from portrait.matting.trimap import make_trimap

_RADIUS = 2.0  # of the guided filter's windows, in widths of the coarse alpha's sharp edges
_LARGEST_RADIUS = 0.012  # as a share of the longer side
_EPS = 1e-5  # smaller values copy less texture, as colours then explain the alpha better
_TOLERANCE = 0.03
_SUBSAMPLE = 4  # at most; smaller for small radii
# Closed-form matting: half the width of the unknown band, in widths of the coarse alpha's sharp
# edges, and the weight of the prior; first at sharp edges, then at hair, where the network is in
# doubt.
_BANDS = 1, 3
_TRUST = 1.0, 0.03
_DOUBT = 0.35, 0.7  # of the smoothed 4 a (1 - a): at most at sharp edges, and at least at hair
_CLOSED_FORM_SIDE = 900  # pixels: the equations grow with the area
_PULL = 0.15  # alphas closer than this to 0 or 1 are rounded to it


def refine_guided(image: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Enlarges a coarse alpha along the edges of its photograph.

    The fast guided filter (He and Sun, 1505.00996), in the box where the alpha is not 0. Its radius
    follows the width of the sharp edges of the coarse alpha, which is about one and a half pixels
    of the network. The result stays between the least and the largest coarse alpha within that
    width, so that a texture inside the person cannot show up in it.

    Args:
        image: uint8 RGB (H, W, 3).
        alpha: float32 (h, w), 0..1, of the same proportions and not larger.

    Returns:
        float32 (H, W), 0..1.
    """
    shape = image.shape[:2]
    result = np.zeros(shape, np.float32)
    width = edge_width(alpha) * max(shape) / max(alpha.shape)
    radius = max(2, round(min(_RADIUS * width, _LARGEST_RADIUS * max(shape))))
    box = _around(alpha, shape, 2 * radius)
    if box is None:
        return result
    subsample = max(1, min(_SUBSAMPLE, radius // 2))
    rough = resize(alpha, shape)[box.slices]
    fine = guided_filter(image[box.slices], rough, radius, _EPS, subsample, _TOLERANCE)
    # Alphas near 0 and 1 are rounded, because the filter would leave a haze there.
    fine = (fine - _PULL) / (1 - 2 * _PULL)
    reach = np.ones((2 * round(min(width, radius)) + 1,) * 2, np.uint8)
    result[box.slices] = fine.clip(cv2.erode(rough, reach), cv2.dilate(rough, reach))
    return result


def refine_closed_form(image: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Solves closed-form matting (pymatting) in a band along the outline.

    Levin, Lischinski, Weiss: "A Closed-Form Solution to Natural Image Matting", TPAMI 2008. It
    works on the box around the people, at a size of at most 900 pixels, and the guided filter
    enlarges the result. In the band, the result of the guided filter is a prior, because matting
    alone leaks where person and background have similar colours, as at sky and foliage. Where the
    coarse alpha is soft in a wide area, the band is wider and the prior yields: there is hair.

    Args:
        image: uint8 RGB (H, W, 3).
        alpha: float32 (h, w), 0..1, of the same proportions and not larger.

    Returns:
        float32 (H, W), 0..1.
    """
    guided = refine_guided(image, alpha)
    own_width = edge_width(alpha)
    width = own_width * max(image.shape) / max(alpha.shape)
    box = _around(guided, guided.shape, round(2 * _BANDS[1] * width))
    if box is None:
        return guided
    crop, rough = image[box.slices], guided[box.slices]
    scale = min(1.0, _CLOSED_FORM_SIDE / max(box.size))
    size = (max(1, round(box.size[0] * scale)), max(1, round(box.size[1] * scale)))
    prior = resize(rough, size)
    doubt = resize(resize(_doubt(alpha, own_width), guided.shape)[box.slices], size)
    trimap = _wider_trimap(prior, doubt, width * scale)
    if not (trimap == 0).any() or not (trimap == 1).any():
        return guided  # closed-form matting needs both to start from
    trust = _TRUST[0] * (_TRUST[1] / _TRUST[0]) ** doubt
    solved = solve_band(resize(crop, size) / 255.0, trimap, prior, trust)
    result = np.zeros_like(guided)
    result[box.slices] = solved if scale == 1 else refine_guided(crop, solved)
    return result


def _doubt(alpha: np.ndarray, width: float) -> np.ndarray:
    """How far the network is in doubt at each pixel, (h, w), 0..1: 0 at edges of this width."""
    soft = cv2.GaussianBlur(4 * alpha * (1 - alpha), (0, 0), max(0.5, 1.5 * width))
    return ((soft - _DOUBT[0]) / (_DOUBT[1] - _DOUBT[0])).clip(0, 1)


def _wider_trimap(alpha: np.ndarray, doubt: np.ndarray, width: float) -> np.ndarray:
    """A trimap (H, W) of an alpha with edges of this width, with a wider band around doubts."""
    narrow, wide = (max(1, round(times * width)) for times in _BANDS)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * wide + 1, 2 * wide + 1))
    near = cv2.dilate((doubt > 0.2).astype(np.uint8), disc) > 0
    return np.where(near, make_trimap(alpha, wide), make_trimap(alpha, narrow))


def _around(alpha: np.ndarray, shape: tuple[int, int], margin: int) -> Window | None:
    """The box of all pixels above 0, in pixels of `shape`, with a margin; None if all are 0."""
    box = cv2.boundingRect((alpha > 0.02).astype(np.uint8))
    if not box[2]:
        return None
    down, right = shape[0] / alpha.shape[0], shape[1] / alpha.shape[1]
    return Window(
        max(0, int(box[0] * right) - margin),
        max(0, int(box[1] * down) - margin),
        min(shape[1], int((box[0] + box[2]) * right) + 1 + margin),
        min(shape[0], int((box[1] + box[3]) * down) + 1 + margin),
    )


METHODS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "guided": refine_guided,
    "learned": lambda image, alpha: refine_learned(image, alpha, refine_guided),
    "crf": dense_crf,
    "closed_form": refine_closed_form,
}


def refined(
    matte_fn: Callable[[np.ndarray], np.ndarray], method: str
) -> Callable[[np.ndarray], np.ndarray]:
    """`matte_fn` followed by the refinement `method`.

    Args:
        matte_fn: from a photograph to its alpha.
        method: a key of `METHODS`.

    Raises:
        KeyError: there is no such method.
    """
    step = METHODS[method]
    return lambda image: step(image, matte_fn(image))
