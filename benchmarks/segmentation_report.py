"""The results of `segmentation.py`: a table, a plot of speed against quality, a sheet."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from metrics import METRICS
from portrait.data.pairs import Pair, read_pair
from portrait.evaluation.cases import Case, error_overlay
from portrait.inference.network import Network
from portrait.io.sheets import INK, PAPER, drawable, fitted, grid
from portrait.util import aligned, figure

SHOWN = ("person_iou", "mean_iou", "boundary_iou", "mad", "gradient_error")
_PLOTTED = ("person_iou", "boundary_iou")
_CASES = 16
_CELL = (200, 150)  # height and width of a picture of the sheet
_CAPTION = 18
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
                f"{model['parameters']:,}",
                f"{model['macs'] / 1e6:.1f}",
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
    """The model's name, with `_SEEN` where it was trained on the set of this name or path."""
    seen = Path(set_name).name in model["trained_on"]
    return f"{model['name']} {_SEEN}" if seen else model["name"]


def _lead(differences: Sequence[float], scale: float) -> str:
    """Mean and standard error."""
    if len(differences) < 2:
        return "-"
    values = scale * np.array(differences)
    mean, error = values.mean(), values.std(ddof=1) / np.sqrt(len(values))
    digits = 4 if scale == 1 else 2
    return f"{mean:+.{digits}f} ± {error:.{digits}f}"


def plot(report: dict) -> np.ndarray:
    """Plots person and boundary IoU against latency, one column for each data set; uint8 RGB.

    Horizontal bars are the quartiles of the latency; the area of a disc shows the file's size.
    """
    from matplotlib import colormaps
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    models = report["models"]
    # Ten distinct colours, or more shades of a rainbow.
    colours = colormaps["tab10" if len(models) <= 10 else "turbo"].resampled(len(models))
    sets = [name for name, summary in models[0]["sets"].items() if summary["mean"]]
    columns = max(len(sets), 1)
    legend_rows = -(-len(models) // columns)  # a name is about as wide as a column
    figure = Figure(figsize=(3.6 * columns + 0.6, 7 + 0.25 * legend_rows), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    panels = figure.subplots(len(_PLOTTED), columns, squeeze=False, sharex=True)
    for column, name in enumerate(sets):
        for row, key in enumerate(_PLOTTED):
            axes = panels[row, column]
            for number, model in enumerate(models):
                _plot_model(axes, model, model["sets"][name]["mean"][key], colours(number))
            axes.set(title=f"{name}: {METRICS[key].label}", ylabel="")
            axes.margins(0.15)
            axes.grid(alpha=0.3)
        axes.set(xlabel="ms, one thread")  # only the lowest row has tick labels
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(len(models), columns))
    canvas.draw()
    return np.ascontiguousarray(np.asarray(canvas.buffer_rgba())[..., :3])


def _plot_model(axes, model: dict, quality: float, colour) -> None:
    time = model["latency_ms"]
    low, high = time["median"] - time["low"], time["high"] - time["median"]
    axes.errorbar(time["median"], quality, xerr=[[low], [high]], color=colour, capsize=3)
    area = 20 + model["bytes"] / 2e4
    label = f"{model['name']} ({model['bytes'] / 1e6:.2f} MB)"
    axes.scatter(time["median"], quality, area, color=colour, alpha=0.6, label=label)


def differences(
    report: dict, models: Sequence[Network], pairs: dict[Path, Pair], count: int = _CASES
) -> np.ndarray:
    """The pictures with the largest range of person IoU over the models.

    Each row has the photograph, the true matte, and the result of each model: missed person is red,
    false person blue.

    Args:
        report: from `side_by_side.compare`.
        models: the same models in the same order.
        pairs: by photograph.
        count: the largest number of pictures.

    Returns:
        uint8 RGB (h, w, 3).
    """
    rows = []
    for index in most_different(report, count):
        scored = [model["pictures"][index] for model in report["models"]]
        image, matte = read_pair(pairs[Path(scored[0]["image"])])
        truth = matte.astype(np.float32) / 255
        panels = [_panel(image, scored[0]["name"]), _panel(matte, "matte")]
        for model, row in zip(models, scored, strict=True):
            overlay = error_overlay(Case(image, truth, model.matte(image), "", ""))
            caption = f"IoU {row['person_iou']:.3f}  b. {row['boundary_iou']:.3f}"
            panels.append(_panel(overlay, caption))
        rows.append(panels)
    if not rows:
        return np.full((*_CELL, 3), PAPER, np.uint8)
    names = [model.name if len(model.name) < 22 else f"..{model.name[-18:]}" for model in models]
    return grid(rows, ("photograph", "", *names), repeat=1 if len(models) > 4 else 2)


def most_different(report: dict, count: int) -> list[int]:
    """The places in `pictures` with the widest range of person IoU, the widest first."""
    lists = [model["pictures"] for model in report["models"]]
    ranges = {
        place: np.ptp([row["person_iou"] for row in rows])
        for place, rows in enumerate(zip(*lists, strict=True))
        if not rows[0]["blank"]
    }
    return sorted(ranges, key=ranges.get, reverse=True)[:count]


def _panel(picture: np.ndarray, caption: str) -> np.ndarray:
    """A picture fitted into a cell, unstretched, with a caption above."""
    cell = Image.new("RGB", (_CELL[1], _CELL[0] + _CAPTION), PAPER)
    cell.paste(Image.fromarray(fitted(picture, _CELL)), (0, _CAPTION))
    ImageDraw.Draw(cell).text((2, 2), drawable(caption), INK, ImageFont.load_default(12))
    return np.asarray(cell)
