"""The results of `segmentation.py`: a table, a plot of speed against quality, contact sheets."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from tqdm import tqdm

from benchmarks import speed_quality
from benchmarks.side_by_side import Model
from metrics import METRICS
from portrait.data.pairs import Pair, read_pair
from portrait.evaluation.cases import Row, draw_rows, error_overlay
from portrait.util import aligned, figure

SHOWN = ("person_iou", "mean_iou", "boundary_iou", "mad", "gradient_error")
_SEEN = "*"


def table(report: dict) -> str:
    """Aligned lines: size and speed of each model, its scores on each data set, and differences.

    A model is marked on the sets that it was trained on. MAD is in thousandths, the gradient error
    in thousands. Latencies are medians with the quartiles; `x` is the median of the ratios to the
    first model. The last part has the differences to the first model's scores, picture by picture,
    as mean and standard error; differences below two standard errors may be chance.
    """
    costs = [("model", "input", "kB", "params", "MMACs", "ms", "25..75 %", "x")]
    for model in report["models"]:
        time = model["latency_ms"]
        costs.append(
            (
                model["name"],
                "x".join(map(str, model["input_shape"])),
                f"{model['bytes'] / 1e3:.0f}",
                "-" if model["parameters"] is None else f"{model['parameters']:,}",
                "-" if model["macs"] is None else f"{model['macs'] / 1e6:.1f}",
                f"{time['median']:.2f}",
                f"{time['low']:.2f}..{time['high']:.2f}",
                f"{time['relative']:.2f}",
            )
        )
    scores = [("data set", "model", "pictures", *(METRICS[key].label for key in SHOWN))]
    sets = report["models"][0]["sets"]
    for name in sets:
        for model in report["models"]:
            scores.append((name, _marked(model, name), *score_cells(model["sets"][name])))
    lines = [*aligned(costs, 1), "", *aligned(scores, 2)]
    if any(_marked(model, name) != model["name"] for model in report["models"] for name in sets):
        lines.append(f"{_SEEN} trained on the training pictures of this set")
    if len(report["models"]) > 1:
        lines += ["", *aligned(leads(report), 2)]
    return "\n".join(lines)


def score_cells(summary: dict) -> list[str]:
    """The number of pictures and the mean of each of `SHOWN`, of a set of `evaluate.score`."""
    mean = summary["mean"] or {}
    means = [figure(mean.get(key), METRICS[key].scale) for key in SHOWN]
    return [str(summary["pictures"]), *means]


def leads(report: dict) -> list[tuple[str, ...]]:
    """The rows of `table`'s last part."""
    first, *others = report["models"]
    labels = [METRICS[key].label for key in SHOWN]
    rows = [("data set", f"minus {first['name']}", "pictures", *labels)]
    for name in first["sets"]:
        for model in others:
            pairs = [
                (ours, theirs)
                for ours, theirs in zip(model["pictures"], first["pictures"], strict=True)
                if ours["set"] == name and not ours["blank"]
            ]
            cells = [
                _lead([ours[key] - theirs[key] for ours, theirs in pairs], METRICS[key].scale)
                for key in SHOWN
            ]
            rows.append((name, _marked(model, name), str(len(pairs)), *cells))
    return rows


def _marked(model: dict, set_name: str) -> str:
    """The model's name, with `_SEEN` where it was trained on the set."""
    return f"{model['name']} {_SEEN}" if _seen(model, set_name) else model["name"]


def _seen(model: dict, set_name: str) -> bool:
    """Whether the model was trained on the training pictures of the set of this name or path."""
    return Path(set_name).name in model["trained_on"]


def _lead(differences: Sequence[float], scale: float) -> str:
    """Mean and standard error."""
    if len(differences) < 2:
        return "-"
    values = scale * np.array(differences)
    mean, error = values.mean(), values.std(ddof=1) / np.sqrt(len(values))
    digits = 4 if scale == 1 else 2
    return f"{mean:+.{digits}f} ± {error:.{digits}f}"


def plot(report: dict) -> Figure:
    """Person and boundary IoU against the time relative to the first model, as `speed_quality`."""
    first = report["models"][0]
    sets = [name for name, summary in first["sets"].items() if summary["mean"]]
    models = []
    for model in report["models"]:
        means = {name: model["sets"][name]["mean"] for name in sets}
        scores = {key: [means[name][key] for name in sets] for key in speed_quality.SHOWN}
        seen = [_seen(model, name) for name in sets]
        label = f"{model['name']} ({model['bytes'] / 1e6:.1f} MB)"
        time = model["latency_ms"]["relative"]
        models.append(speed_quality.Model(label, time, model["bytes"] / 2e4, scores, seen))
    return speed_quality.draw(models, sets, f"time relative to {first['name']}")


def sheet(
    report: dict, models: Sequence[Model], pairs: dict[Path, Pair], place: int, count: int
) -> np.ndarray | None:
    """The pictures on which a model gains and loses most person IoU against the first one.

    Each picture has a row: the photograph, the true matte, and the errors of the first model and of
    the other. The figures are the person IoU of both and their difference.

    Args:
        report: from `side_by_side.compare`.
        models: the same models in the same order.
        pairs: by photograph.
        place: of the model in `models`.
        count: the largest number of gains, and of losses.

    Returns:
        uint8 RGB (h, w, 3); None if no picture differs.
    """
    theirs, ours = (report["models"][each]["pictures"] for each in (0, place))
    peer, model = models[0], models[place]
    gains, losses = largest_differences(theirs, ours, count)
    if not gains and not losses:
        return None
    bar = tqdm(
        total=len(gains) + len(losses), desc=f"{model.name}: sheet", unit=" pictures", disable=None
    )
    columns = {}
    with bar:
        for title, chosen in ("wins", gains), ("loses", losses):
            rows = columns[f"{model.name} {title} against {peer.name}"] = []
            for index in chosen:
                rows.append(_row(theirs[index], ours[index], (peer, model), pairs))
                bar.update()
    return draw_rows(columns, ("photo", "matte", peer.name, model.name))


def largest_differences(
    theirs: Sequence[dict], ours: Sequence[dict], count: int
) -> tuple[list[int], list[int]]:
    """The places of the largest gains and the largest losses of person IoU, the largest first.

    Args:
        theirs, ours: `pictures` of two models of a report.
        count: the largest number of each.
    """
    gains = {
        place: mine["person_iou"] - other["person_iou"]
        for place, (other, mine) in enumerate(zip(theirs, ours, strict=True))
        if not mine["blank"]
    }
    ranked = sorted(gains, key=gains.get)
    won = [place for place in ranked[::-1] if gains[place] > 0]
    return won[:count], [place for place in ranked if gains[place] < 0][:count]


def _row(theirs: dict, ours: dict, models: Sequence[Model], pairs: dict[Path, Pair]) -> Row:
    # Mattes are computed again, because keeping all of them could fill the memory.
    image, levels = read_pair(pairs[Path(ours["image"])])
    matte = levels.astype(np.float32) / 255
    errors = [error_overlay(image, matte, model.matte(image)) for model in models]
    ious = theirs["person_iou"], ours["person_iou"]
    figures = f"IoU {ious[0]:.3f}, {ious[1]:.3f} ({ious[1] - ious[0]:+.3f})"
    return Row((image, matte, *errors), ours["name"], figures)
