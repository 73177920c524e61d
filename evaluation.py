"""A trained network on photographs: scores against true mattes, mattes and cut-outs to keep.

Nothing here knows how a matte is made: a `MatteFunction` is Keras, TFLite or anything else.
"""

import csv
import itertools
import json
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from tqdm import tqdm

from case_sheet import Case, draw_cases
from files import UserError, replacing
from metrics import METRICS, THRESHOLD, all_metrics, false_person_share
from pairs import Pair, read_pair, warn_left_out
from pictures import PictureError, list_images, read_image, write_png
from preprocess import resize

MatteFunction = Callable[[np.ndarray], np.ndarray]
"""From a photograph, uint8 RGB (H, W, 3), to its alpha, float32 (H, W), 0..1."""

_CASES = 6
_KINDS = ("alpha", "cutout")


def model_matte_fn(
    predict_batch: Callable[[np.ndarray], np.ndarray], input_shape: tuple[int, int]
) -> MatteFunction:
    """Makes a network of fixed input size work on photographs of any size.

    The photograph is squeezed to the network's shape exactly as in training, and the alpha is
    stretched back (bilinear where it grows).

    Args:
        predict_batch: float32 (1, h, w, 3), RGB 0..255, to float32 (1, h, w, 1), 0..1.
        input_shape: (h, w) of the network.
    """

    def matte_fn(image: np.ndarray) -> np.ndarray:
        batch = resize(image, input_shape)[np.newaxis].astype(np.float32)
        alpha = np.asarray(predict_batch(batch), np.float32)[0, :, :, 0]
        return resize(alpha, image.shape[:2]).clip(0, 1)

    return matte_fn


def evaluate(matte_fn: MatteFunction, datasets: dict[str, list[Pair]], output: str | Path) -> dict:
    """Scores a network on data sets, at the photographs' own size, and says where it fails.

    Prints a table with a row a data set. Writes `evaluation.json` (what is returned),
    `evaluation.csv` (a row a photograph) and, where there are persons, `worst_best.png` (the cases
    with the lowest and highest person IoU) into the folder `output`.

    Returns:
        The report of `score`.

    Raises:
        UserError: as `score`; or `output` cannot be written.
    """
    output = Path(output)
    report, pairs = score(matte_fn, datasets)
    print(format_table(report))
    _write_report(report, output)
    cases = zip(report["pictures"], pairs, strict=True)
    people = sorted((c for c in cases if not c[0]["blank"]), key=lambda c: c[0]["person_iou"])
    if people:
        write_png(output / "worst_best.png", _worst_and_best(matte_fn, people))
    return report


def score(matte_fn: MatteFunction, datasets: dict[str, list[Pair]]) -> tuple[dict, list[Pair]]:
    """Scores a network on data sets, at the photographs' own size.

    A photograph without a person (no matte, or one without a pixel >= 0.5) has no meaningful IoU:
    it is scored by the share of pixels falsely taken for a person, apart from the means.
    Photographs that cannot be read, or whose matte has another aspect, are left out, named and
    counted.

    Returns:
        The report, and the pair of each of its `pictures`. The report has `sets`: for each data set
        `pictures`, `blank`, `unreadable` (paths), `mean` (metric to mean over the photographs with
        a person; None without one), `false_person_share` (mean over the blank ones; None without
        one). `all`: the same over every photograph. `pictures`: for each `set`, `name`, `image`,
        `blank` and its metrics (see `metrics.METRICS`) or `false_person_share`.

    Raises:
        UserError: nothing could be read, the network yields NaN.
    """
    cases: list[tuple[dict, Pair]] = []
    unreadable: dict[str, list[str]] = {}
    for name, pairs in datasets.items():
        scored, unreadable[name] = _score_set(matte_fn, name, pairs)
        cases += scored
    rows = [row for row, _ in cases]
    if not rows:
        raise UserError(f"nothing to evaluate: no picture of {', '.join(datasets)} could be read")
    report = {
        "threshold": THRESHOLD,
        "sets": {
            name: _summary([row for row in rows if row["set"] == name], unreadable[name])
            for name in datasets
        },
        "all": _summary(rows, list(itertools.chain.from_iterable(unreadable.values()))),
        "pictures": rows,
    }
    return report, [pair for _, pair in cases]


def predict(
    matte_fn: MatteFunction, inputs: Iterable[str | Path], output: str | Path
) -> list[Path]:
    """Writes `NAME_alpha.png` (grey) and `NAME_cutout.png` (RGBA, the photograph's colours).

    NAME is the photograph's name without its suffix; with it where two would have the same. A
    photograph that is given is never overwritten, whatever the folder `output`.

    Args:
        matte_fn: makes the mattes.
        inputs: picture files, and folders, of which every picture is taken but mattes and earlier
            results: `NAME_matte`, `NAME_alpha` and `NAME_cutout` of a NAME beside them.
        output: the folder to write into; made if missing.

    Returns:
        The files written, the alpha before the cut-out of each photograph.

    Raises:
        UserError: no picture could be found or read, the network yields NaN, `output` cannot be
            written.
    """
    photos = _photographs(inputs)
    written: list[Path] = []
    unreadable: list[str] = []
    targets = _targets(photos, Path(output))
    bar = tqdm(photos, desc="predict", unit=" pictures", disable=len(photos) < 2)
    for photo, (alpha_path, cutout_path) in zip(bar, targets, strict=True):
        try:
            image = read_image(photo)
        except PictureError as error:
            unreadable.append(str(error))
            continue
        levels = np.rint(_alpha(matte_fn, image, photo) * 255).astype(np.uint8)
        write_png(alpha_path, levels)
        write_png(cutout_path, np.dstack([image, levels]))
        written += [alpha_path, cutout_path]
    if not written:
        raise UserError("no picture could be read: " + "; ".join(unreadable))
    warn_left_out(unreadable, "{count} photographs left out: {names}")
    return written


def format_table(report: dict) -> str:
    """The means of `evaluate`'s report as aligned lines; '-' where a set has no such pictures."""
    sets = dict(report["sets"])
    if len(sets) > 1:
        sets["all"] = report["all"]
    lines = [
        ["", "data set"],
        ["pic-", "tures"],
        *(metric.label.rsplit(" ", 1) for metric in METRICS.values()),
    ]
    blank = report["all"]["blank"] > 0
    if blank:
        lines += [["blank", "pict."], ["false", "person %"]]
    table = [[top for top, _ in lines], [bottom for _, bottom in lines]]
    for name, summary in sets.items():
        mean = summary["mean"] or {}
        cells = [_cell(mean.get(key), metric.scale) for key, metric in METRICS.items()]
        if blank:
            cells += [str(summary["blank"]), _cell(summary["false_person_share"], 100)]
        table.append([name, str(summary["pictures"]), *cells])
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return "\n".join(
        "  ".join(
            [row[0].ljust(widths[0])]
            + [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        )
        for row in table
    )


def _cell(value: float | None, scale: float) -> str:
    if value is None:
        return "-"
    return f"{value * scale:.4f}" if scale == 1 and value < 10 else f"{value * scale:.2f}"


def _score_set(
    matte_fn: MatteFunction, set_name: str, pairs: list[Pair]
) -> tuple[list[tuple[dict, Pair]], list[str]]:
    """The rows of a set's readable pictures, each with its pair, and the paths of the others."""
    scored, unreadable, reasons = [], [], []
    for pair in tqdm(pairs, desc=set_name, unit=" pictures"):
        try:
            image, matte = _read_pair(pair)
        except PictureError as error:
            unreadable.append(str(pair.image))
            reasons.append(str(error))
            continue
        alpha = _alpha(matte_fn, image, pair.image)
        row = {"set": set_name, "name": pair.name, "image": str(pair.image)}
        row["blank"] = not (matte >= THRESHOLD).any()
        if row["blank"]:
            row["false_person_share"] = false_person_share(alpha)
        else:
            row |= all_metrics(alpha, matte)
        scored.append((row, pair))
    warn_left_out(reasons, "{count} left out of the evaluation: {names}")
    return scored, unreadable


def _read_pair(pair: Pair) -> tuple[np.ndarray, np.ndarray]:
    """The photograph, and its matte as float32 0..1, at the photograph's size."""
    image, matte = read_pair(pair)
    return image, matte.astype(np.float32) / 255


def _alpha(matte_fn: MatteFunction, image: np.ndarray, path: Path) -> np.ndarray:
    alpha = matte_fn(image)
    if not np.isfinite(alpha).all():
        raise UserError(f"the network gives NaN for {path}: its weights are damaged")
    return alpha


def _summary(rows: list[dict], unreadable: list[str]) -> dict:
    people = [row for row in rows if not row["blank"]]
    false = [row["false_person_share"] for row in rows if row["blank"]]
    return {
        "pictures": len(rows),
        "blank": len(false),
        "unreadable": unreadable,
        "mean": {key: float(np.mean([row[key] for row in people])) for key in METRICS}
        if people
        else None,
        "false_person_share": float(np.mean(false)) if false else None,
    }


def _write_report(report: dict, output: Path) -> None:
    with replacing(output / "evaluation.json") as path:
        path.write_text(json.dumps(report, indent=1, allow_nan=False), encoding="ascii")
    fields = ["set", "name", "image", "blank", *METRICS, "false_person_share"]
    # Names that are not UTF-8 keep their bytes.
    with (
        replacing(output / "evaluation.csv") as path,
        path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file,
    ):
        writer = csv.DictWriter(file, fields)
        writer.writeheader()
        writer.writerows(report["pictures"])


def _worst_and_best(matte_fn: MatteFunction, ranked: list[tuple[dict, Pair]]) -> np.ndarray:
    """The picture of the extreme cases; none is shown twice when there are few."""
    count = min(_CASES, -(-len(ranked) // 2))
    worst, best = ranked[:count], ranked[count:][-count:][::-1]
    columns = {}
    for title, chosen in ("worst", worst), ("best", best):
        # Mattes are computed again: keeping those of every photograph could fill the memory.
        columns[title] = [_case(matte_fn, row, pair) for row, pair in chosen]
    return draw_cases(columns)


def _case(matte_fn: MatteFunction, row: dict, pair: Pair) -> Case:
    image, matte = _read_pair(pair)
    figures = (
        f"IoU {row['person_iou']:.3f}   boundary {row['boundary_iou']:.3f}"
        f"   MAD {row['mad'] * 1e3:.1f}e-3"
    )
    return Case(image, matte, matte_fn(image), row["name"], figures)


def _photographs(inputs: Iterable[str | Path]) -> list[Path]:
    """The files to work on, each once, in the order given, folders sorted by name."""
    photos: dict[Path, Path] = {}
    for source in map(Path, inputs):
        found = [source]
        if source.is_dir():
            pictures = list_images(source)
            names = {name for each in pictures for name in (each.stem, each.name)}
            found = [each for each in pictures if not _is_result(each.stem, names)]
            if not found:
                raise UserError(f"{source} holds no photographs (.jpg, .png, .webp, ...)")
        for photo in found:
            photos.setdefault(photo.resolve(), photo)
    if not photos:
        raise UserError("no photograph or folder is given")
    return list(photos.values())


def _is_result(stem: str, names: set[str]) -> bool:
    base, _, kind = stem.rpartition("_")
    return kind in (*_KINDS, "matte") and base in names


def _targets(photos: list[Path], output: Path) -> list[tuple[Path, Path]]:
    """Where each photograph's alpha and cut-out go: no file twice, none that is a photograph."""
    # Disks of Windows and macOS take A.png for a.png.
    taken = {str(photo.resolve()).casefold() for photo in photos}
    targets = []
    for photo in photos:
        numbered = (f"{photo.name}-{number}" for number in itertools.count(2))
        for name in itertools.chain([photo.stem, photo.name], numbered):
            paths = tuple(output / f"{name}_{kind}.png" for kind in _KINDS)
            keys = {str(path.resolve()).casefold() for path in paths}
            if not keys & taken:
                break
        taken |= keys
        targets.append(paths)
    return targets
