"""Soft mattes from binary ones: what a mask cuts off at the outline, closed-form matting restores.

Data sets often have a person's mask where hair and blurred edges need an alpha. The mask is right
but for a thin band along its outline, so a trimap is unknown there only, and closed-form matting
(Levin, Lischinski and Weiss, TPAMI 2008) decides in it. PFCN+'s authors made their labels in this
way, with KNN matting.

The constants were chosen on synthetic composites with known alpha; `docs/data.md` has the figures.
"""

import cv2
import numpy as np

from portrait.matting.closed_form import closed_form_alpha
from portrait.matting.trimap import make_trimap

# As shares of the picture's diagonal. A wider band finds longer hair, and errs more elsewhere.
_BAND = 0.005
_WINDOW = 0.0375
_FEATHER = 1.0  # pixels: how soft a sharp photograph's edges are, whatever its size
# Levin's 1e-7 is for clean pictures; in the noise of a JPEG it lets the alpha follow every grain.
_EPSILON = 3e-4
_NOISE = 0.02
_SPECK = 3e-4  # of the picture's area
# Distances between the person's and the background's colours, in their own standard deviations,
# at which matting begins to be believed and is wholly believed.
_DOUBTFUL, _CLEAR = 0.3, 1.0
# The mask has its say everywhere, against leaks that the trust does not see. It costs 3 to 13 % of
# the error where masks are displaced by about a pixel, and gains where they are exact.
_MOST_TRUST = 0.7


def soft_matte(image: np.ndarray, matte: np.ndarray) -> np.ndarray:
    """Makes a soft matte from a (nearly) binary one.

    Alpha is 0.7 of what closed-form matting finds and 0.3 of the mask with smoothed edges. Where
    the colours to both sides of the outline can hardly be told apart matting guesses, and alpha
    leaks; there the smoothed mask alone counts.

    Args:
        image: uint8 RGB (H, W, 3).
        matte: uint8 (H, W), 255 = person.

    Returns:
        uint8 (H, W); beyond a band of 0.5 % of the diagonal to either side of the outline the mask
        itself without its specks (`fill_specks`).
    """
    mask = fill_specks((matte > 127).astype(np.uint8))
    band = band_width(matte.shape)
    trimap = make_trimap(mask, band)
    if not ((trimap == 0).any() and (trimap == 1).any() and (trimap == 0.5).any()):
        return mask * np.uint8(255)
    colours = image / 255.0
    smoothed = cv2.GaussianBlur(mask.astype(np.float64), (0, 0), _FEATHER)
    smoothed = np.where(trimap == 0.5, smoothed, trimap)
    solved = closed_form_alpha(colours, trimap, _EPSILON)
    trust = _MOST_TRUST * _trust(colours, trimap)
    alpha = trust * solved + (1 - trust) * smoothed
    return np.rint(alpha * 255).astype(np.uint8)


def fill_specks(mask: np.ndarray) -> np.ndarray:
    """Fills holes of up to 0.03 % of the picture, such as keying leaves in dark clothes.

    The trimap would take each for an outline. What is seen through hair at that size lies in the
    band of the hair's own outline.

    Args:
        mask: uint8 (H, W), 1 = person.

    Returns:
        uint8 (H, W).
    """
    _, labels, stats, _ = cv2.connectedComponentsWithStats(1 - mask, connectivity=4)
    small = stats[:, cv2.CC_STAT_AREA] <= round(_SPECK * mask.size)
    small[0] = False  # the person
    return np.where(small[labels], np.uint8(1), mask)


def band_width(shape: tuple[int, int]) -> int:
    """How far the unknown band reaches to either side of the outline, in pixels, at least 2."""
    return max(2, round(_BAND * float(np.hypot(*shape))))


def _trust(image: np.ndarray, trimap: np.ndarray) -> np.ndarray:
    """How far matting can be believed, (H, W) 0..1: by how different the two sides are nearby.

    |F - B| / sqrt(var F + var B), with the means and variances of the known person's and the known
    background's colours in a square window about each pixel. Where of one side nothing is known
    nearby its mean is black, and so matting mostly believed: the thin gaps and spurs of masks are
    of this kind, and on photographs they were mostly mistakes, which it took away.
    """
    side = 2 * round(_WINDOW * float(np.hypot(*trimap.shape)) / 2) + 1
    (person, spread), (background, other) = (
        _local_colours(image, (trimap == known).astype(np.float64), side) for known in (1, 0)
    )
    distance = np.linalg.norm(person - background, axis=2)
    separation = distance / np.sqrt(spread + other + _NOISE**2)
    trust = ((separation - _DOUBTFUL) / (_CLEAR - _DOUBTFUL)).clip(0, 1)
    return cv2.GaussianBlur(trust, (0, 0), 2 * _FEATHER)


def _local_colours(
    image: np.ndarray, known: np.ndarray, side: int
) -> tuple[np.ndarray, np.ndarray]:
    """Mean (H, W, 3) and variance (H, W), summed over channels, of the known colours nearby."""
    weight = known[..., None]
    share = cv2.blur(known, (side, side))[..., None] + 1e-6
    mean = cv2.blur(image * weight, (side, side)) / share
    square = cv2.blur(image**2 * weight, (side, side)) / share
    return mean, (square - mean**2).clip(0).sum(axis=2)
