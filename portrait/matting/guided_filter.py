"""The fast guided filter: aligns a coarse alpha with the edges of its photograph.

He, Sun, Tang: "Guided Image Filtering", TPAMI 2013; He, Sun: "Fast Guided Filter", 1505.00996.
"""

import cv2
import numpy as np

_SHARP = 85  # percentile of the slopes along the outline: hair is not counted


def guided_filter(
    guide: np.ndarray,
    target: np.ndarray,
    radius: int,
    eps: float,
    subsample: int = 1,
    tolerance: float | None = None,
) -> np.ndarray:
    """Filters `target` so that its edges follow the colour picture `guide`.

    In every square window w of 2 radius + 1 pixels the target p is approximated by a linear
    function of the guide's colour I, a_w . I + b_w, with the least squared error plus eps |a_w|^2:

        a_w = (cov_w(I) + eps 1)^-1 cov_w(I, p),   b_w = mean_w(p) - a_w . mean_w(I).

    The result of a pixel is the mean of the functions of all windows that contain it, applied to
    its colour. With a `tolerance`, the mean is weighted by 1 / (e_w + tolerance), where e_w is the
    least value of the above: the mean squared error plus eps |a_w|^2. Windows whose colours do not
    explain the target, such as those with a texture, then count less. Windows are cut off at the
    border. The time does not depend on `radius`.

    Args:
        guide: (H, W, 3), RGB 0..255, uint8 or float.
        target: (H, W), float, of the guide's size: the map to filter.
        radius: the radius of the windows in pixels of the guide, at least 1.
        eps: windows in which the variance of the guide's colours, in 0..1, is below this value are
            only smoothed; 1e-6 to 1e-2 are usual.
        subsample: the linear functions are computed on pictures that are smaller by this factor,
            and applied at full size. This is about subsample^2 times faster and hardly less
            accurate if `radius` is several times larger than `subsample`.
        tolerance: the squared error above which windows count less; None: all count the same.

    Returns:
        float32 (H, W). It may exceed the target's range a little at strong edges.

    Raises:
        ValueError: the shapes do not fit, or radius, eps or subsample are not positive.
    """
    if guide.ndim != 3 or guide.shape[2] != 3 or target.shape != guide.shape[:2]:
        raise ValueError(
            f"guide must be (H, W, 3) and target (H, W), got {guide.shape} and {target.shape}"
        )
    if radius < 1 or eps <= 0 or subsample < 1:
        raise ValueError(f"radius {radius}, eps {eps} and subsample {subsample} must be positive")
    height, width = target.shape
    colours = guide.astype(np.float32) / np.float32(255)
    small, p = colours, target.astype(np.float32)
    if subsample > 1:
        size = (-(-width // subsample), -(-height // subsample))
        small = cv2.resize(small, size, interpolation=cv2.INTER_AREA)
        p = cv2.resize(p, size, interpolation=cv2.INTER_AREA)
    planes = _linear_functions(small, p, max(1, round(radius / subsample)), eps, tolerance)
    if subsample > 1:
        planes = cv2.resize(planes, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.einsum("hwc,hwc->hw", planes[..., :3], colours) + planes[..., 3]


def edge_width(alpha: np.ndarray) -> float:
    """The width in pixels of the sharp edges of an alpha (H, W): 2 for a mask, 1 if it has none."""
    half = np.float32([-0.5, 0, 0.5])
    right = cv2.sepFilter2D(alpha, cv2.CV_32F, half, np.float32([1]))
    slope = cv2.magnitude(right, cv2.sepFilter2D(alpha, cv2.CV_32F, np.float32([1]), half))
    edge = (slope > 0.25) | (np.abs(alpha - np.float32(0.5)) < 0.25)
    return 1 / max(0.02, float(np.percentile(slope[edge], _SHARP))) if edge.any() else 1.0


def _linear_functions(
    colours: np.ndarray, p: np.ndarray, radius: int, eps: float, tolerance: float | None
) -> np.ndarray:
    """The mean a (3 planes) and b (1 plane) of the windows around each pixel, (H, W, 4)."""
    side = 2 * radius + 1
    count = cv2.boxFilter(
        np.ones_like(p), -1, (side, side), normalize=False, borderType=cv2.BORDER_CONSTANT
    )

    def mean(planes: np.ndarray) -> np.ndarray:
        """The mean over the window around each pixel, without pixels beyond the border."""
        sums = cv2.boxFilter(
            planes, -1, (side, side), normalize=False, borderType=cv2.BORDER_CONSTANT
        )
        return sums / (count if planes.ndim == 2 else count[..., None])

    # Variances are differences of squares, which lose precision if the values are far from zero.
    centre = colours.mean(axis=(0, 1))
    colours = colours - centre
    mean_colour, mean_p = mean(colours), mean(p)
    covariance = mean(colours * p[..., None]) - mean_colour * mean_p[..., None]
    r, g, b = np.moveaxis(colours, 2, 0)
    mean_r, mean_g, mean_b = np.moveaxis(mean_colour, 2, 0)
    rr = mean(r * r) - mean_r * mean_r + np.float32(eps)
    gg = mean(g * g) - mean_g * mean_g + np.float32(eps)
    bb = mean(b * b) - mean_b * mean_b + np.float32(eps)
    rg, rb, gb = (
        mean(r * g) - mean_r * mean_g,
        mean(r * b) - mean_r * mean_b,
        mean(g * b) - mean_g * mean_b,
    )
    a = _solve_symmetric((rr, rg, rb, gg, gb, bb), covariance)
    offset = mean_p - np.einsum("hwc,hwc->hw", a, mean_colour + centre)
    planes = np.dstack([a, offset])
    if tolerance is None:
        return mean(planes)
    error = mean(p * p) - mean_p * mean_p - np.einsum("hwc,hwc->hw", a, covariance)
    weight = 1 / (np.maximum(error, 0) + np.float32(tolerance))
    return mean(planes * weight[..., None]) / mean(weight)[..., None]


def _solve_symmetric(matrix: tuple[np.ndarray, ...], right: np.ndarray) -> np.ndarray:
    """Solves a symmetric 3x3 system at every pixel, by the adjugate.

    Args:
        matrix: the planes 11, 12, 13, 22, 23, 33, each (H, W).
        right: (H, W, 3).
    """
    # The determinant is a difference of products, for which float32 is not precise enough.
    m11, m12, m13, m22, m23, m33 = (each.astype(np.float64) for each in matrix)
    a11, a12, a13 = m22 * m33 - m23 * m23, m13 * m23 - m12 * m33, m12 * m23 - m13 * m22
    a22, a23, a33 = m11 * m33 - m13 * m13, m12 * m13 - m11 * m23, m11 * m22 - m12 * m12
    determinant = m11 * a11 + m12 * a12 + m13 * a13
    x, y, z = np.moveaxis(right, 2, 0)
    solved = [
        a11 * x + a12 * y + a13 * z,
        a12 * x + a22 * y + a23 * z,
        a13 * x + a23 * y + a33 * z,
    ]
    return np.stack([each / determinant for each in solved], axis=2).astype(np.float32)
