"""Scores a network on photographs and shows its worst cases."""

import csv
import itertools
import json
from pathlib import Path

import numpy as np
from tqdm import tqdm

from metrics import METRICS, THRESHOLD, all_metrics, false_person_share
from portrait.data.pairs import Pair, read_pair, read_pairs
from portrait.errors import UserError
from portrait.evaluation.cases import Case, draw_cases
from portrait.inference.network import MatteFunction
from portrait.inference.predict import checked_alpha
from portrait.io.files import check_writable, replacing
from portrait.io.images import write_png
from portrait.util import aligned, figure

_CASES = 6


def evaluate(matte_fn: MatteFunction, datasets: dict[str, list[Pair]], output: str | Path) -> dict:
    """Scores a network on data sets, at the photographs' own size, and writes a report.

    Prints a table with one row for each data set. Writes into the folder `output`:
    `evaluation.json` (the returned report), `evaluation.csv` (one row for each photograph) and, if
    there are persons, `worst_best.png` (the cases with the lowest and highest person IoU).

    Returns:
        The report of `score`.

    Raises:
        UserError: as `score`; or `output` cannot be written.
    """
    output = Path(output)
    check_writable(output)
    report, pairs = score(matte_fn, datasets)
    print(format_table(report))
    files = _write_report(report, output)
    cases = zip(report["pictures"], pairs, strict=True)
    people = sorted((c for c in cases if not c[0]["blank"]), key=lambda c: c[0]["person_iou"])
    if people:
        write_png(output / "worst_best.png", _worst_and_best(matte_fn, people))
        files.append("worst_best.png")
    print(f"in {output}: {', '.join(files)}")
    return report


def score(matte_fn: MatteFunction, datasets: dict[str, list[Pair]]) -> tuple[dict, list[Pair]]:
    """Scores a network on data sets, at the photographs' own size.

    A photograph without a person (no matte, or one without a pixel >= 0.5) has no meaningful IoU:
    its score is the share of pixels that are wrongly predicted as person, and it does not enter the
    means. Photographs that cannot be read, or whose matte has other proportions, are skipped, named
    and counted.

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
        cells = [figure(mean.get(key), metric.scale) for key, metric in METRICS.items()]
        if blank:
            cells += [str(summary["blank"]), figure(summary["false_person_share"], 100)]
        table.append([name, str(summary["pictures"]), *cells])
    return "\n".join(aligned(table))


def _score_set(
    matte_fn: MatteFunction, set_name: str, pairs: list[Pair]
) -> tuple[list[tuple[dict, Pair]], list[str]]:
    """The rows of a set's readable pictures, each with its pair, and the paths of the others."""
    scored = []
    bar = tqdm(pairs, desc=set_name, unit=" pictures", disable=None)
    for pair, image, matte in read_pairs(bar):
        alpha = checked_alpha(matte_fn, image, pair.image)
        row = {"set": set_name, "name": pair.name, "image": str(pair.image)}
        row["blank"] = not (matte >= THRESHOLD).any()
        if row["blank"]:
            row["false_person_share"] = false_person_share(alpha)
        else:
            row |= all_metrics(alpha, matte)
        scored.append((row, pair))
    readable = {pair for _, pair in scored}
    return scored, [str(pair.image) for pair in pairs if pair not in readable]


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


def _write_report(report: dict, output: Path) -> list[str]:
    """Returns: the names of the files."""
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
    return ["evaluation.json", "evaluation.csv"]


def _worst_and_best(matte_fn: MatteFunction, ranked: list[tuple[dict, Pair]]) -> np.ndarray:
    """The picture of the extreme cases; with few pictures, none is shown twice."""
    count = min(_CASES, -(-len(ranked) // 2))
    worst, best = ranked[:count], ranked[count:][-count:][::-1]
    columns = {}
    for title, chosen in ("worst", worst), ("best", best):
        # Mattes are computed again, because keeping all of them could fill the memory.
        columns[title] = [_case(matte_fn, row, pair) for row, pair in chosen]
    return draw_cases(columns)


def _case(matte_fn: MatteFunction, row: dict, pair: Pair) -> Case:
    image, levels = read_pair(pair)
    figures = (
        f"IoU {row['person_iou']:.3f}   boundary {row['boundary_iou']:.3f}"
        f"   MAD {row['mad'] * 1e3:.1f}e-3"
    )
    matte = levels.astype(np.float32) / 255
    return Case(image, matte, matte_fn(image), row["name"], figures)
