"""Makes soft mattes from binary ones by closed-form matting along the outline.

Many data sets have masks, although hair and blurred edges need an alpha. The mask is correct except
in a thin band along its outline. The trimap is unknown only there, and closed-form matting (Levin,
Lischinski and Weiss, TPAMI 2008) estimates the alpha. The authors of PFCN+ made their labels in
this way, with KNN matting.

The constants were chosen on synthetic composites with known alpha; `docs/data.md` has the figures.
"""

import cv2
import numpy as np

from portrait.matting.closed_form import closed_form_alpha
from portrait.matting.trimap import make_trimap

# The width of the band as a share of the picture's diagonal. A wider band finds longer hair, with
# more errors elsewhere.
_BAND = 0.005
_WINDOW = 0.0375
_FEATHER = 1.0  # softness of edges in a sharp photograph of any size, in pixels
# Levin's 1e-7 is for clean pictures; with the noise of a JPEG, the alpha would follow the noise.
_EPSILON = 3e-4
_NOISE = 0.02
_SPECK = 3e-4  # the largest speck as a share of the picture's area
# Distances between the colours of person and background, in their standard deviations, at which the
# trust in matting starts to rise and reaches 1.
_DOUBTFUL, _CLEAR = 0.3, 1.0
# The share of the mask limits leaks that the trust does not detect. It raises the error by 3 to 13
# % if masks are displaced by about one pixel, and lowers it if they are exact.
_MOST_TRUST = 0.7


def soft_matte(image: np.ndarray, matte: np.ndarray) -> np.ndarray:
    """Makes a soft matte from a (nearly) binary one; the softness of another one is lost.

    The result is 0.7 times the alpha of closed-form matting plus 0.3 times the mask with smoothed
    edges. Where the colours on both sides of the outline are too similar, matting is unreliable and
    the alpha leaks; there the result is the smoothed mask.

    Args:
        image: uint8 RGB (H, W, 3).
        matte: uint8 (H, W), 255 = person.

    Returns:
        uint8 (H, W). Outside a band of 0.5 % of the diagonal on both sides of the outline it is the
        mask without specks (`fill_specks`).
    """
    mask = fill_specks((matte > 127).astype(np.uint8))
    band = band_width(matte.shape)
    trimap = make_trimap(mask, band)
    known = (trimap == 0).any() and (trimap == 1).any() and (trimap == 0.5).any()
    if not known or min(mask.shape) < 3:  # the windows of matting have 3 x 3 pixels
        return mask * np.uint8(255)
    colours = image / 255.0
    smoothed = cv2.GaussianBlur(mask.astype(np.float64), (0, 0), _FEATHER)
    smoothed = np.where(trimap == 0.5, smoothed, trimap)
    solved = closed_form_alpha(colours, trimap, _EPSILON)
    trust = _MOST_TRUST * _trust(colours, trimap)
    alpha = trust * solved + (1 - trust) * smoothed
    return np.rint(alpha * 255).astype(np.uint8)


def fill_specks(mask: np.ndarray) -> np.ndarray:
    """Fills holes of up to 0.03 % of the picture, which keying leaves in dark clothes.

    The trimap would treat each hole as an outline. Gaps of that size in hair are within the band of
    the hair's outline anyway.

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
    """The width of the unknown band on each side of the outline in pixels, at least 2."""
    return max(2, round(_BAND * float(np.hypot(*shape))))


def _trust(image: np.ndarray, trimap: np.ndarray) -> np.ndarray:
    """Trust in matting, (H, W) 0..1, from the difference of the colours nearby on both sides.

    It follows |F - B| / sqrt(var F + var B), with the means and variances of the known colours of
    person and background in a square window around each pixel. If one side has no known colours
    nearby, its mean is black, so matting is mostly trusted. This is the case in thin gaps and spurs
    of masks, which on photographs were mostly errors of the mask that matting removed.
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
