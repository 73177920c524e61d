"""Metrics of an alpha against the true matte of a photograph: masks, mattes and videos.

Every metric takes `alpha` (the prediction) and `matte` (the truth), float (H, W), 0..1, person = 1,
at the photograph's own size, and returns a float. Hard metrics compare the masks `>= 0.5`, with
the classes background (0) and person (1) and

    n_ij = pixels of true class i that were predicted as class j,   t_i = sum_j n_ij.

A score over many photographs is the mean of the photographs' scores. `METRICS` lists all metrics
in the order in which tables show them. Only NumPy and OpenCV are imported here; the metric that
Keras reports during training is in `portrait/training/person_iou.py`.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np

THRESHOLD = 0.5
_RIM_SHARE = 0.02
_GRADIENT_SIGMA = 1.4
_CONNECTIVITY_STEPS = 10
_CONNECTIVITY_TOLERANCE = 0.15
_FLOW_SCALE = 2  # optical flow is found on pictures this much smaller, if not said otherwise


def person_iou(alpha: np.ndarray, matte: np.ndarray) -> float:
    """Intersection over union of the person masks: n_11 / (t_1 + n_01).

    1 if neither mask has a person: there was nothing to find and nothing was found.
    """
    return float(_class_ious(_confusion(alpha, matte))[1])


def mean_iou(alpha: np.ndarray, matte: np.ndarray) -> float:
    """Mean over both classes of n_ii / (t_i + sum_j n_ji - n_ii) (Long et al., 1411.4038).

    A class that neither mask has counts as 1. With two classes the other one then fills both
    masks and is 1 too, so leaving the absent class out would give the same number.
    """
    return float(_class_ious(_confusion(alpha, matte)).mean())


def pixel_accuracy(alpha: np.ndarray, matte: np.ndarray) -> float:
    """Share of pixels in the right class: sum_i n_ii / sum_i t_i (Long et al., 1411.4038)."""
    counts = _confusion(alpha, matte)
    return float(np.trace(counts) / counts.sum())


def mean_accuracy(alpha: np.ndarray, matte: np.ndarray) -> float:
    """Mean of n_ii / t_i over the classes that the matte has (Long et al., 1411.4038).

    A blank photograph has one class only: its value is the accuracy on the background.
    """
    counts = _confusion(alpha, matte)
    true = counts.sum(axis=1)
    return float((np.diag(counts)[true > 0] / true[true > 0]).mean())


def frequency_weighted_iou(alpha: np.ndarray, matte: np.ndarray) -> float:
    """Mean of the class IoUs weighted with the classes' true areas (Long et al., 1411.4038).

    (sum_k t_k)^-1 sum_i t_i n_ii / (t_i + sum_j n_ji - n_ii)
    """
    counts = _confusion(alpha, matte)
    return float((counts.sum(axis=1) * _class_ious(counts)).sum() / counts.sum())


def boundary_iou(alpha: np.ndarray, matte: np.ndarray) -> float:
    """IoU of the masks' rims (Cheng et al., Boundary IoU, 2103.16562).

    |rim(A) & rim(M)| / |rim(A) | rim(M)|, where a rim is the part that an erosion with a square
    removes: the mask's pixels less than d + 1 pixels (chessboard distance) from a pixel outside,
    with d = 2 % of the image's diagonal, rounded, at least 1. As in the paper's code, beyond the
    image's border is outside. 1 when neither mask has a person.
    """
    _check_pair(alpha, matte)
    alpha_rim, matte_rim = _rim(_hard(alpha)), _rim(_hard(matte))
    union = np.count_nonzero(alpha_rim | matte_rim)
    return np.count_nonzero(alpha_rim & matte_rim) / union if union else 1.0


def mad(alpha: np.ndarray, matte: np.ndarray) -> float:
    """Mean absolute difference, mean |alpha - matte|, 0..1."""
    return float(np.abs(_difference(alpha, matte)).mean(dtype=np.float64))


def mse(alpha: np.ndarray, matte: np.ndarray) -> float:
    """Mean squared error, mean (alpha - matte)^2, 0..1."""
    return float(np.square(_difference(alpha, matte)).mean(dtype=np.float64))


def sad(alpha: np.ndarray, matte: np.ndarray) -> float:
    """Sum of absolute differences over the whole photograph, in thousands of pixels.

    1e-3 sum |alpha - matte|. Grows with the photograph's size. Papers that have a trimap sum over
    its unknown region only; here there is none.
    """
    return float(np.abs(_difference(alpha, matte)).sum(dtype=np.float64) * 1e-3)


def gradient_error(alpha: np.ndarray, matte: np.ndarray) -> float:
    """Difference of the gradient magnitudes, 1e-3 sum (|grad alpha| - |grad matte|)^2.

    Rhemann et al., A Perceptually Motivated Online Benchmark for Image Matting, CVPR 2009. The
    gradient is a first-order Gaussian derivative, sigma 1.4, with a kernel of L2 norm 1, as in the
    benchmark's code; the photograph's border is repeated outwards. Sums over the whole photograph.
    """
    _check_pair(alpha, matte)
    error = _gradient_strength(alpha) - _gradient_strength(matte)
    return float(np.square(error).sum(dtype=np.float64) * 1e-3)


def connectivity_error(alpha: np.ndarray, matte: np.ndarray) -> float:
    """Parts that are disconnected in one matte and not in the other, in thousands of pixels.

    1e-3 sum |phi(alpha) - phi(matte)|,  phi(a) = 1 - (a - l) where a - l >= 0.15, else 1.
    l of a pixel is the highest level t of 0, 0.1, ..., 1 up to which it belongs to Omega_t, the
    largest 4-connected part of {alpha >= t and matte >= t}. Rhemann et al., CVPR 2009, with the
    one-source region per level of the evaluation code that came with Xu et al., Deep Image
    Matting, 1703.03872. Sums over the whole photograph.
    """
    _check_pair(alpha, matte)
    common = np.minimum(alpha, matte)
    level = np.zeros(common.shape, np.float32)
    connected = np.ones(common.shape, bool)
    for step in range(1, _CONNECTIVITY_STEPS + 1):
        threshold = step / _CONNECTIVITY_STEPS
        connected &= _largest_component(common >= threshold)
        if not connected.any():
            break
        level[connected] = threshold
    return float(np.abs(_loose(alpha, level) - _loose(matte, level)).sum(dtype=np.float64) * 1e-3)


def false_person_share(alpha: np.ndarray) -> float:
    """Share of pixels predicted as person, 0..1: the error on a photograph without a person."""
    return float(_hard(alpha).mean())


class Metric(NamedTuple):
    """A metric and its form in tables: `function` times `scale` under `label`."""

    function: Callable[[np.ndarray, np.ndarray], float]
    label: str
    scale: float = 1.0


METRICS: dict[str, Metric] = {
    "person_iou": Metric(person_iou, "person IoU"),
    "mean_iou": Metric(mean_iou, "mean IoU"),
    "boundary_iou": Metric(boundary_iou, "boundary IoU"),
    "pixel_accuracy": Metric(pixel_accuracy, "pixel acc."),
    "mean_accuracy": Metric(mean_accuracy, "mean acc."),
    "frequency_weighted_iou": Metric(frequency_weighted_iou, "freq.w. IoU"),
    "mad": Metric(mad, "MAD x1e3", 1e3),
    "mse": Metric(mse, "MSE x1e3", 1e3),
    "sad": Metric(sad, "SAD /1e3"),
    "gradient_error": Metric(gradient_error, "grad. /1e3"),
    "connectivity_error": Metric(connectivity_error, "conn. /1e3"),
}


def all_metrics(alpha: np.ndarray, matte: np.ndarray) -> dict[str, float]:
    """Every metric of `METRICS`, unscaled, by name, in that order.

    Raises:
        ValueError: the two do not have the same shape (H, W).
    """
    return {name: metric.function(alpha, matte) for name, metric in METRICS.items()}


def _check_pair(alpha: np.ndarray, matte: np.ndarray) -> None:
    # (H, W, 1) against (H, W) would broadcast to (H, H, W) and silently give a wrong number.
    if alpha.ndim != 2 or alpha.shape != matte.shape:
        raise ValueError(
            f"alpha and matte must both be (H, W), got {alpha.shape} and {matte.shape}"
        )


def _hard(alpha: np.ndarray) -> np.ndarray:
    return alpha >= THRESHOLD


def _difference(alpha: np.ndarray, matte: np.ndarray) -> np.ndarray:
    _check_pair(alpha, matte)
    return alpha - matte


def _confusion(alpha: np.ndarray, matte: np.ndarray) -> np.ndarray:
    """The 2x2 pixel counts n_ij, float64."""
    _check_pair(alpha, matte)
    predicted, true = _hard(alpha), _hard(matte)
    hits = np.count_nonzero(predicted & true)
    false = np.count_nonzero(predicted) - hits
    missed = np.count_nonzero(true) - hits
    return np.array([[matte.size - hits - false - missed, false], [missed, hits]], np.float64)


def _class_ious(counts: np.ndarray) -> np.ndarray:
    hits = np.diag(counts)
    union = counts.sum(axis=0) + counts.sum(axis=1) - hits
    return np.where(union > 0, hits / np.maximum(union, 1), 1.0)


def _rim(mask: np.ndarray) -> np.ndarray:
    width = max(1, round(_RIM_SHARE * math.hypot(*mask.shape)))
    square = np.ones((2 * width + 1, 2 * width + 1), np.uint8)
    inner = cv2.erode(mask.astype(np.uint8), square, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    return mask & (inner == 0)


def _gradient_strength(alpha: np.ndarray) -> np.ndarray:
    # The benchmark cuts the kernel where the Gaussian density falls below 0.01: after 4 pixels.
    alpha = alpha.astype(np.float32, copy=False)
    x = np.arange(-4, 5) / _GRADIENT_SIGMA
    smooth = np.exp(-(x**2) / 2)
    slope = x * smooth
    smooth, slope = smooth / np.linalg.norm(smooth), slope / np.linalg.norm(slope)
    across = cv2.sepFilter2D(alpha, cv2.CV_32F, slope, smooth, borderType=cv2.BORDER_REPLICATE)
    down = cv2.sepFilter2D(alpha, cv2.CV_32F, smooth, slope, borderType=cv2.BORDER_REPLICATE)
    return cv2.magnitude(across, down)


def _largest_component(mask: np.ndarray) -> np.ndarray:
    """The largest 4-connected component of a mask, as a mask (empty if the mask is)."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(
        mask.astype(np.uint8), connectivity=4
    )
    if count == 1:
        return np.zeros_like(mask)
    return labels == 1 + stats[1:, cv2.CC_STAT_AREA].argmax()


def _loose(alpha: np.ndarray, level: np.ndarray) -> np.ndarray:
    """1 - phi: how far a pixel stands above the level up to which it is connected."""
    distance = alpha - level
    return np.where(distance >= _CONNECTIVITY_TOLERANCE, distance, 0)


def flow_sources(
    flow: cv2.DISOpticalFlow, grey: np.ndarray, before: np.ndarray, scale: int = _FLOW_SCALE
) -> tuple[np.ndarray, np.ndarray]:
    """The position of each pixel of `grey` in `before`: x and y, float32 (h, w).

    The flow is found on pictures that are smaller by `scale`.
    """
    height, width = grey.shape
    # OpenCV's finest scale is a quarter, with patches of 8 pixels: less ends the process.
    size = max(32, width // scale), max(32, height // scale)
    small = [cv2.resize(each, size, interpolation=cv2.INTER_AREA) for each in (grey, before)]
    moved = cv2.resize(flow.calc(*small, None), (width, height))
    x = moved[..., 0] * np.float32(width / size[0]) + np.arange(width, dtype=np.float32)
    y = moved[..., 1] * np.float32(height / size[1]) + np.arange(height, dtype=np.float32)[:, None]
    return x, y


def dt_ssd(alphas: np.ndarray, mattes: np.ndarray) -> float:
    """Error of the changes from frame to frame, in hundredths.

    100 x the mean over frames t of sqrt(mean((a_t - a_(t-1) - (m_t - m_(t-1)))^2)), which is dtSSD
    of Erofeev et al., "Perceptually Motivated Benchmark for Video Matting", BMVC 2015.

    Args:
        alphas: predictions, float (T, H, W), 0..1, T at least 2.
        mattes: the truth, of the same shape.
    """
    change = np.diff(alphas, axis=0) - np.diff(mattes, axis=0)
    return float(100 * np.sqrt(np.square(change).mean(axis=(1, 2), dtype=np.float64)).mean())


def flicker(alphas: np.ndarray, images: np.ndarray) -> float:
    """Change of alpha where the picture does not move, in thousandths; needs no true matte.

    1000 x the mean of |a_t - a_(t-1)| over the pixels of the person and the outline (one of the two
    is above 0.02) that do not move: colours in the 5 x 5 window around them change by at most 3 of
    255.

    Args:
        alphas: float (T, H, W), 0..1, T at least 2.
        images: uint8 RGB (T, H, W, 3).
    """
    changes = []
    for t in range(1, len(alphas)):
        moved = cv2.absdiff(images[t], images[t - 1]).max(axis=2)
        still = cv2.dilate(moved, np.ones((5, 5), np.uint8)) <= 3
        still &= np.maximum(alphas[t], alphas[t - 1]) > 0.02
        changes.append(np.abs(alphas[t] - alphas[t - 1])[still])
    changes = np.concatenate(changes)
    return float(1000 * changes.mean(dtype=np.float64)) if len(changes) else 0.0
