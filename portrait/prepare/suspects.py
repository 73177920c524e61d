"""Finds bad labels, and photographs without people, with a trained network."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from metrics import boundary_iou, false_person_share, mad, person_iou
from portrait.data.pairs import Pair, read_pair, read_pairs
from portrait.errors import UserError, warn_skipped
from portrait.evaluation.cases import Case, draw_cases
from portrait.inference.network import MatteFunction
from portrait.inference.predict import checked_alpha
from portrait.io.files import replacing
from portrait.io.images import read_image
from portrait.io.photos import leaving_out

_CLIP = 1e-3  # bounds the loss of a pixel with a certain but wrong alpha to 6.9
_COLUMNS = 3
FIGURES = ("loss", "person_iou", "boundary_iou", "mad")


def rank(matte_fn: MatteFunction, pairs: Sequence[Pair]) -> list[tuple[Pair, dict[str, float]]]:
    """Scores labels by how much a trained model disagrees with them, the worst first.

    A network that was trained on thousands of labels contradicts the few wrong ones, even if it was
    trained on them, too. It also ranks its own failures high, so look at the pictures.

    Returns:
        Pairs with their `FIGURES`. They are ranked by `loss`, the mean binary cross-entropy of a
        pixel at the photograph's size; the other figures are from `metrics`.

    Raises:
        UserError: no picture could be read, the network yields NaN.
    """
    ranked, left_out = [], []
    for pair, image, matte in read_pairs(tqdm(pairs, "searching", unit=" pictures", disable=None)):
        with leaving_out(pair.image, left_out):
            alpha = checked_alpha(matte_fn, image, pair.image)
            scores = (cross_entropy, person_iou, boundary_iou, mad)
            values = [score(alpha, matte) for score in scores]
            ranked.append((pair, dict(zip(FIGURES, values, strict=True))))
    warn_skipped(left_out, "{count} left out: {names}")
    if not ranked:
        raise UserError("no picture could be read")
    return sorted(ranked, key=lambda each: each[1]["loss"], reverse=True)


def cross_entropy(alpha: np.ndarray, matte: np.ndarray) -> float:
    """Mean over pixels of -m log a - (1 - m) log(1 - a), for alpha and matte (H, W), 0..1."""
    likely = np.clip(alpha.astype(np.float64), _CLIP, 1 - _CLIP)
    return float(-(matte * np.log(likely) + (1 - matte) * np.log(1 - likely)).mean())


def write_ranking(ranked: Sequence[tuple[Pair, dict[str, float]]], path: Path) -> None:
    """Writes one row for each pair: rank, name, `FIGURES`, files."""
    with (
        replacing(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(["rank", "name", *FIGURES, "image", "matte"])
        for number, (pair, figures) in enumerate(ranked, 1):
            values = [f"{figures[key]:.5f}" for key in FIGURES]
            writer.writerow([number, pair.name, *values, pair.image, pair.matte or ""])


def draw_sheet(
    matte_fn: MatteFunction, ranked: Sequence[tuple[Pair, dict[str, float]]], first: int = 1
) -> np.ndarray:
    """The pairs with the model's alpha, in three columns, numbered from `first`; uint8 RGB."""
    cases = []
    for number, (pair, figures) in enumerate(ranked, first):
        image, matte = read_pair(pair)
        words = f"loss {figures['loss']:.2f}   IoU {figures['person_iou']:.3f}"
        truth = matte.astype(np.float32) / 255
        cases.append(Case(image, truth, matte_fn(image), f"{number}. {pair.name}", words))
    rows = -(-len(cases) // _COLUMNS)
    titles = (f"from {first + start}" for start in range(0, len(cases), rows))
    return draw_cases(
        dict(zip(titles, (cases[i : i + rows] for i in range(0, len(cases), rows)), strict=True))
    )


def find_empty(
    matte_fn: MatteFunction, photos: Sequence[Path], most: float
) -> list[tuple[Path, float]]:
    """The photographs with a person (alpha >= 0.5) on at most the share `most` of the area.

    Returns:
        Photographs with their share, in the given order, without unreadable ones.
    """
    empty, unreadable = [], []
    for photo in tqdm(photos, "searching", unit=" pictures", disable=None):
        with leaving_out(photo, unreadable):
            share = false_person_share(checked_alpha(matte_fn, read_image(photo), photo))
            if share <= most:
                empty.append((photo, share))
    warn_skipped(unreadable, "{count} left out: {names}")
    return empty
