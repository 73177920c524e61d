"""Errors of a network's alphas: by threshold, by confidence, along the outline, by person.

`metrics.py` computes the scores of a photograph, and `evaluate.py` the scores of a data set. This
module analyses them, and `notebooks/Model_output_EDA.ipynb` draws the results. As in `metrics.py`,
`alpha` is the prediction and `matte` the truth, float (H, W), 0..1, at the photograph's own size.
"""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from tqdm import tqdm

from metrics import THRESHOLD, all_metrics
from portrait.data.pairs import Pair, read_pairs
from portrait.errors import UserError
from portrait.inference.network import MatteFunction
from portrait.inference.predict import checked_alpha
from portrait.io.images import resize

THRESHOLDS = np.arange(1, 20) / 20
BINS = 10
FRAME = (32, 24)
"""Rows and columns of the grid on which errors are summed up over pictures of any size."""


class Examined(NamedTuple):
    """The results of a network on one photograph with a person.

    Attributes:
        pair: the photograph and its matte.
        scores: `metrics.METRICS` by name.
        ious: person IoU at each of `THRESHOLDS`.
        calibration: see `calibration`, (BINS, 3).
        offsets: see `outline_offsets`, in per cent of the photograph's diagonal.
        person: share of the photograph that is person.
        x: the middle of the person, 0 at the left and 1 at the right border.
        y: the same, 0 at the top and 1 at the bottom.
        errors: mean |alpha - matte| in each cell of `FRAME`, float32.
    """

    pair: Pair
    scores: dict[str, float]
    ious: np.ndarray
    calibration: np.ndarray
    offsets: np.ndarray
    person: float
    x: float
    y: float
    errors: np.ndarray


def examine(matte_fn: MatteFunction, pairs: Sequence[Pair]) -> list[Examined]:
    """Runs a network on photographs with true mattes.

    Photographs without a person are skipped, because most of these figures need one.

    Args:
        matte_fn: from a photograph to its alpha.
        pairs: photographs with mattes.

    Raises:
        UserError: no photograph with a person could be read.
    """
    examined = []
    bar = tqdm(pairs, "examining", unit=" pictures", leave=False, delay=2, disable=None)
    for pair, image, matte in read_pairs(bar):
        if (matte >= THRESHOLD).any():
            examined.append(_examine(pair, checked_alpha(matte_fn, image, pair.image), matte))
    if not examined:
        raise UserError("no photograph with a person could be read")
    return examined


def _examine(pair: Pair, alpha: np.ndarray, matte: np.ndarray) -> Examined:
    share, x, y = placement(matte)
    return Examined(
        pair,
        all_metrics(alpha, matte),
        iou_by_threshold(alpha, matte),
        calibration(alpha, matte),
        100 * outline_offsets(alpha, matte) / float(np.hypot(*matte.shape)),
        share,
        x,
        y,
        resize(np.abs(alpha - matte), FRAME),
    )


def iou_by_threshold(
    alpha: np.ndarray, matte: np.ndarray, thresholds: np.ndarray = THRESHOLDS
) -> np.ndarray:
    """Person IoU of the masks {alpha >= t} and {matte >= 0.5} for each t, (len(thresholds),).

    If the best t is far from 0.5, the loss of the training weighs person and background unevenly.
    """
    true = matte >= THRESHOLD
    ious = []
    for threshold in thresholds:
        predicted = alpha >= threshold
        either = np.count_nonzero(predicted | true)
        ious.append(np.count_nonzero(predicted & true) / either if either else 1.0)
    return np.array(ious)


def calibration(alpha: np.ndarray, matte: np.ndarray, bins: int = BINS) -> np.ndarray:
    """Sums for a reliability diagram; sums of several photographs can be added.

    Pixels are sorted into `bins` equal intervals of alpha; the last one includes 1.

    Returns:
        (bins, 3): the number of pixels, the sum of their alpha, the sum of their matte.
    """
    place = np.minimum((alpha.ravel() * bins).astype(int), bins - 1)
    weights = (None, alpha.ravel(), matte.ravel())
    return np.stack([np.bincount(place, each, bins) for each in weights], axis=1).astype(float)


def calibration_error(sums: np.ndarray) -> float:
    """Expected calibration error: sum over bins of n_b / N |mean alpha_b - mean matte_b|.

    Guo et al., On Calibration of Modern Neural Networks, 1706.04599, with the matte in place of the
    correctness of a class.

    Args:
        sums: from `calibration`, (bins, 3).
    """
    return float(np.abs(sums[:, 1] - sums[:, 2]).sum() / sums[:, 0].sum())


def outline_offsets(alpha: np.ndarray, matte: np.ndarray) -> np.ndarray:
    """Distances of the outline of {alpha >= 0.5} outside (+) or inside (-) the true one, in pixels.

    An outline is the person's pixels with a background pixel among their four neighbours; the
    border of the photograph is not an outline.

    Returns:
        float32 (K,): the distance of each pixel of the alpha's outline to the nearest pixel of the
        matte's outline. Empty if one of them has no outline.
    """
    true = matte >= THRESHOLD
    found, wanted = _outline(alpha >= THRESHOLD), _outline(true)
    if not wanted.any():
        return np.zeros(0, np.float32)
    distance = cv2.distanceTransform((~wanted).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.where(true, -distance, distance)[found]


def placement(matte: np.ndarray) -> tuple[float, float, float]:
    """The person's share of the picture and the middle (x, y) of its area, all 0..1.

    Raises:
        ValueError: there is no person.
    """
    rows, columns = np.nonzero(matte >= THRESHOLD)
    if not len(rows):
        raise ValueError("the matte has no person")
    height, width = matte.shape
    middle = (columns.mean() + 0.5) / width, (rows.mean() + 0.5) / height
    return len(rows) / matte.size, float(middle[0]), float(middle[1])


class Group(NamedTuple):
    """Values whose key is in low <= ... < high; `mean` is NaN if there are none."""

    low: float
    high: float
    count: int
    mean: float


def group_means(
    values: Sequence[float], by: Sequence[float], edges: Sequence[float]
) -> list[Group]:
    """The mean of `values` in each interval of the keys `by` between two neighbours of `edges`."""
    values, by = np.asarray(values, float), np.asarray(by, float)
    groups = []
    for low, high in itertools.pairwise(edges):
        chosen = values[(by >= low) & (by < high)]
        mean = float(chosen.mean()) if len(chosen) else float("nan")
        groups.append(Group(low, high, len(chosen), mean))
    return groups


def _outline(mask: np.ndarray) -> np.ndarray:
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    # With OpenCV's default border, pixels beyond the border count as no neighbours.
    return mask & (cv2.erode(mask.astype(np.uint8), cross) == 0)
