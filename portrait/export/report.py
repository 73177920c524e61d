"""The results of an export as a table, as JSON and as a picture."""

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from portrait.errors import printable
from portrait.export.formats import Activation, Violation
from portrait.export.gpu_engine import Verdict
from portrait.export.verify import Parity, Score
from portrait.io.images import resize
from portrait.io.sheets import INK, PAPER, as_rgb
from portrait.util import aligned

_PANELS = ("photo", "Keras", "file", "difference")
_HEIGHT = 192  # pixels of a panel
_NAMED = 3  # violations in a message, at most
_GAP, _HEAD, _CAPTION = 4, 26, 22


@dataclass
class Result:
    """The results for one file of an export.

    Attributes:
        format: the name of the format in `formats.FORMATS`.
        file: the name of the file.
        refused: the reason why the file was refused; None if it was kept.
        bytes: the size of the file in bytes.
        zipped_bytes: the size of the deflated file in bytes, as in an app's download.
        ops: the count of each op.
        violations: ops that phone GPUs do not support; None if this is unknown.
        activations: the largest of every op on the calibration pictures; empty if unknown.
        parity: the comparison with the Keras model, by runtime.
        latency: seconds by the number of threads.
        gpu_float16: the comparison of a GPU in float16 with the CPU; None if it was not made.
    """

    format: str
    file: str
    refused: str | None = None
    bytes: int = 0
    zipped_bytes: int = 0
    ops: dict[str, int] = field(default_factory=dict)
    violations: list[Violation] | None = None
    activations: Sequence[Activation] = ()
    parity: dict[str, Parity] = field(default_factory=dict)
    latency: dict[int, float] = field(default_factory=dict)
    gpu_float16: Verdict | None = None

    @property
    def furthest(self) -> Parity | None:
        """The comparison for the runtime that differs most from Keras."""
        return max(
            self.parity.values(),
            key=lambda parity: np.nan_to_num(parity.max_error, nan=np.inf),
            default=None,
        )

    @property
    def gpu(self) -> str:
        """Whether phone GPUs support the file, as one word for the table."""
        if self.violations is None:
            return "-"
        return "no" if self.violations else "yes"

    @property
    def largest_activation(self) -> Activation | None:
        """The largest of all; None where not known."""
        return max(
            self.activations,
            key=lambda each: np.nan_to_num(each.largest, nan=np.inf),
            default=None,
        )

    def as_json(self) -> dict:
        """Converts to plain values; `iou_change` is the file's mean person IoU minus Keras's."""
        return {
            "format": self.format,
            "file": self.file,
            "kept": self.refused is None,
            "refused": self.refused,
            "bytes": self.bytes,
            "zipped_bytes": self.zipped_bytes,
            "ops": dict(sorted(self.ops.items())),
            "gpu": {
                "verdict": self.gpu,
                "violations": [each._asdict() for each in self.violations or ()],
            },
            "largest_activation": _described(self.largest_activation),
            "activations": [_described(each) for each in self.activations],
            "against_keras": {name: _figures(parity) for name, parity in self.parity.items()},
            "latency_ms": {str(n): seconds * 1e3 for n, seconds in self.latency.items()},
            "gpu_float16": self.gpu_float16 and _judged(self.gpu_float16),
        }


def _described(activation: Activation | None) -> dict | None:
    """Plain values: JSON has no NaN."""
    if activation is None:
        return None
    return activation._asdict() | {"largest": _number(activation.largest)}


def _judged(verdict: Verdict) -> dict:
    errors = {name: _number(getattr(verdict, name)) for name in ("max_error", "mean_error", "iou")}
    return verdict._asdict() | errors | {"good": verdict.good}


def _figures(parity: Parity) -> dict[str, float | None]:
    """The figures of a comparison; for pictures only the errors, in levels of 0..255."""
    largest, mean = _number(parity.max_error), _number(parity.mean_error)
    if parity.agreement is None:
        return {"max_error": largest, "mean_error": mean}
    return {
        "max_alpha_error": largest,
        "mean_alpha_error": mean,
        "mask_agreement_iou": parity.agreement.file,
        **_scores("person_iou", "iou_change", parity.iou),
        **_scores("boundary_iou", "boundary_iou_change", parity.boundary_iou),
    }


def _scores(name: str, change: str, score: Score | None) -> dict[str, float | None]:
    return {
        name: score and score.file,
        f"keras_{name}": score and score.keras,
        change: score and score.change,
        f"{change}_standard_error": score and _number(score.standard_error),
    }


def _number(value: float | None) -> float | None:
    """Replaces NaN and infinity, which JSON does not have, by None."""
    return value if value is not None and np.isfinite(value) else None


def table(results: Sequence[Result], pictures: bool = False) -> str:
    """Formats a table with one line per file.

    Errors are from the runtime that differs most from Keras. Latencies are milliseconds on this
    machine's CPU. The columns of GPUs in float16 appear if a file was run on one.

    Args:
        results: the results of the files.
        pictures: whether the outputs are pictures, with errors in levels of 0..255, and not alphas.
    """
    iou_heads = () if pictures else (("person", "IoU"), ("", "change"))
    columns = (
        *(("", "format"), ("", "kB"), ("kB,", "zipped")),
        *(("levels" if pictures else "alpha", "max"), ("error", "mean")),
        *iou_heads,
        *(("ms, 1", "thread"), ("ms, 2", "threads")),
        *(("largest", "activation"), ("phone", "GPU")),
    )
    on_gpu = any(result.gpu_float16 for result in results)
    if on_gpu:
        columns += (("GPU float16", "max"), ("", "mean"), ("", "IoU"), ("wholly", "on it"))
    rows = list(zip(*columns, strict=True))
    for result in results:
        parity = result.furthest
        errors, ious = ("-", "-"), ("-", "-")
        if parity:
            digits = ".3f" if pictures else ".1e"
            errors = (f"{parity.max_error:{digits}}", f"{parity.mean_error:{digits}}")
        if parity and parity.iou is not None:
            ious = (f"{parity.iou.file:.4f}", f"{parity.iou.change:+.5f}")
        activation = result.largest_activation
        times = [result.latency.get(threads) for threads in (1, 2)]
        rows.append(
            (
                result.format,
                f"{result.bytes / 1e3:.0f}",
                f"{result.zipped_bytes / 1e3:.0f}",
                *errors,
                *(() if pictures else ious),
                *("-" if time is None else f"{time * 1e3:.1f}" for time in times),
                "-" if activation is None else f"{activation.largest:.0f}",
                result.gpu,
                *(_gpu_cells(result.gpu_float16) if on_gpu else ()),
            )
        )
    notes = [f"{printable(r.file)} was not kept: {r.refused}" for r in results if r.refused]
    notes += [
        f"{printable(r.file)} in a GPU engine: {r.gpu_float16.refused}"
        for r in results
        if r.gpu_float16 and r.gpu_float16.refused
    ]
    return "\n".join([*aligned(rows), *notes])


def not_for_gpus(violations: Sequence[Violation]) -> str:
    """Says which ops phone GPUs do not support, at most three of them."""
    named = [
        f"{each.op} of layer {each.layer or '?'} ({each.tensor}): {each.reason}"
        if each.tensor
        else each.reason
        for each in violations[:_NAMED]
    ]
    more = f"; and {len(violations) - _NAMED} more" if len(violations) > _NAMED else ""
    return f"phone GPUs do not support it: {'; '.join(named)}{more}"


def _gpu_cells(verdict: Verdict | None) -> tuple[str, ...]:
    """Errors, IoU, and whether all ops ran on the GPU; "!" marks a verdict that is not good."""
    if verdict is None or verdict.refused:
        return ("-", "-", "-", "-" if verdict is None else "no!")
    iou = "-" if verdict.iou is None else f"{verdict.iou:.4f}"
    wholly = ("yes" if verdict.wholly else "no") + ("" if verdict.good else "!")
    return (f"{verdict.max_error:.1e}", f"{verdict.mean_error:.1e}", iou, wholly)


def machine() -> dict[str, str | int]:
    """The machine on which latencies were measured, and the versions of the packages."""
    packages = ("tensorflow", "keras", "ai-edge-litert")
    return {
        "processor": f"{platform.machine()}, {os.cpu_count()} cores",
        "system": platform.system(),
        **{package: version(package) for package in packages},
    }


class Case(NamedTuple):
    """A row of the sheet: a format, a picture, and the outputs of Keras and of the file.

    Attributes:
        format: the name of the format.
        picture: uint8 RGB (H, W, 3).
        expected: Keras's output, float32: an alpha (H, W) in 0..1 or a picture (H, W, 3) in 0..255.
        found: the file's output, like `expected`.
    """

    format: str
    picture: np.ndarray
    expected: np.ndarray
    found: np.ndarray


def sheet(cases: Sequence[Case]) -> np.ndarray:
    """Draws a row for each file: the photo, Keras's output, the file's output, their difference.

    White in the difference is the largest difference of the row, which the caption states.

    Returns:
        uint8 RGB (h, w, 3).
    """
    height, width = cases[0].picture.shape[:2]
    size = (round(width * _HEIGHT / height), _HEIGHT)
    row_height = _CAPTION + _HEIGHT + _GAP
    sheet = Image.new(
        "RGB",
        (_GAP + len(_PANELS) * (size[0] + _GAP), _HEAD + len(cases) * row_height),
        PAPER,
    )
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for place, label in enumerate(_PANELS):
        draw.text((_GAP + place * (size[0] + _GAP), 6), label, INK, font)
    for row, case in enumerate(cases):
        difference = np.abs(case.found - case.expected)
        largest = float(difference.max())
        panels = (case.picture[..., :3], _shown(case.expected), _shown(case.found))
        panels += (as_rgb(difference / max(largest, 1e-12)),)
        top = _HEAD + row * row_height
        caption = f"{case.format}: white is a difference of {largest:.1e}"
        draw.text((_GAP, top + 3), caption, INK, font)
        for place, panel in enumerate(panels):
            corner = (_GAP + place * (size[0] + _GAP), top + _CAPTION)
            sheet.paste(Image.fromarray(resize(panel, size[::-1])), corner)
    return np.asarray(sheet)


def _shown(output: np.ndarray) -> np.ndarray:
    """Converts an alpha or a picture to uint8 RGB."""
    return as_rgb(output if output.ndim == 2 else output / np.float32(255))
