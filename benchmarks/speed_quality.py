"""Plots the speed of networks against their quality."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib import ticker
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from metrics import METRICS

SHOWN = ("person_iou", "boundary_iou")
_TICKS = (0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)
_SHAPES = "osD^"  # ten colours of each
_LETTER = 0.085  # mean width of a letter of the legend, in inches
_MARK = 0.6  # width of a mark and the gaps of the legend, in inches


@dataclass(frozen=True)
class Model:
    """A model of the plot.

    Attributes:
        name: for the legend.
        time: the place on the horizontal axis, above 0.
        size: the area of the mark without its constant part, in square points.
        scores: for each of `SHOWN`, the scores on the sets.
        seen: for each set, whether the model was trained on it: its mark is hollow there.
    """

    name: str
    time: float
    size: float
    scores: dict[str, Sequence[float]]
    seen: Sequence[bool]


def draw(models: Sequence[Model], sets: Sequence[str], time: str) -> Figure:
    """Draws a row of panels for each of `SHOWN` and a column for each set.

    Args:
        models: in the order of the legend.
        sets: titles of the columns.
        time: the label of the horizontal axis, which is logarithmic.
    """
    columns = max(len(sets), 1)
    width = 3.6 * columns + 0.6
    entry = _MARK + _LETTER * max(len(model.name) for model in models)
    across = max(1, min(len(models), int(width / entry)))
    height = 7 + 0.25 * -(-len(models) // across)
    figure = Figure(figsize=(width, height), layout="constrained")
    panels = figure.subplots(len(SHOWN), columns, squeeze=False, sharex=True)
    for row, key in enumerate(SHOWN):
        panels[row, 0].set_ylabel(METRICS[key].label)
        for column in range(len(sets)):
            for number, model in enumerate(models):
                _mark(panels[row, column], model, key, column, _look(number))
    for column, title in enumerate(sets):
        panels[0, column].set(title=title, xscale="log")
        panels[-1, column].set_xlabel(time)
    for axes in panels.flat:
        axes.margins(0.15)
        axes.grid(alpha=0.3)
        axes.xaxis.set_major_locator(ticker.FixedLocator(_TICKS))
        axes.xaxis.set_major_formatter(ticker.FormatStrFormatter("%g"))
        axes.minorticks_off()
    figure.legend(handles=_legend(models), loc="outside lower center", ncols=across)
    return figure


def _look(number: int) -> dict[str, str]:
    """Colour and shape, which differ for forty models."""
    return {"color": f"C{number % 10}", "marker": _SHAPES[number // 10 % len(_SHAPES)]}


def _mark(axes, model: Model, key: str, column: int, look: dict[str, str]) -> None:
    quality, area = model.scores[key][column], 20 + model.size
    hollow = {"facecolors": "none", "linewidths": 2, "alpha": 1}
    paint = hollow if model.seen[column] else {"alpha": 0.6}
    axes.scatter(model.time, quality, area, label=model.name, **look, **paint)


def _legend(models: Sequence[Model]) -> list[Line2D]:
    handles = [
        Line2D([], [], linestyle="", label=model.name, **_look(number))
        for number, model in enumerate(models)
    ]
    if any(any(model.seen) for model in models):
        hollow = {"color": "0.4", "marker": "o", "markerfacecolor": "none"}
        handles.append(Line2D([], [], linestyle="", label="hollow: trained on the set", **hollow))
    return handles


def rendered(figure: Figure) -> np.ndarray:
    """The figure as uint8 RGB (H, W, 3)."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.ascontiguousarray(np.asarray(canvas.buffer_rgba())[..., :3])
