"""What an export came to: a table to read, a JSON to keep, a picture to look at."""

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from portrait.export.formats import Violation
from portrait.export.verify import Parity
from portrait.io.images import resize
from portrait.io.sheets import INK, PAPER, as_rgb
from portrait.util import aligned

_PANELS = ("photo", "Keras", "file", "difference")
_HEIGHT = 192  # of a panel
_GAP, _HEAD, _CAPTION = 4, 26, 22


@dataclass
class Result:
    """One file of an export.

    Attributes:
        format: its name in `formats.FORMATS`.
        file: the file's name.
        refused: why the file was not kept; None if it was.
        bytes: its size.
        zipped_bytes: the same when it is deflated, as in an app's download.
        ops: each op with its count.
        violations: what a phone's GPU would not take; None where this cannot be told.
        parity: against the Keras model, by runtime.
        latency: seconds by number of threads.
    """

    format: str
    file: str
    refused: str | None = None
    bytes: int = 0
    zipped_bytes: int = 0
    ops: dict[str, int] = field(default_factory=dict)
    violations: list[Violation] | None = None
    parity: dict[str, Parity] = field(default_factory=dict)
    latency: dict[int, float] = field(default_factory=dict)

    @property
    def furthest(self) -> Parity | None:
        """The parity of the runtime that is furthest from Keras."""
        return max(
            self.parity.values(),
            key=lambda parity: np.nan_to_num(parity.max_error, nan=np.inf),
            default=None,
        )

    @property
    def gpu(self) -> str:
        """The verdict in a word."""
        if self.violations is None:
            return "-"
        return "no" if self.violations else "yes"

    def as_json(self) -> dict:
        """Plain values; `iou_change` is the file's mean person IoU less the Keras model's."""
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
            "against_keras": {name: _figures(parity) for name, parity in self.parity.items()},
            "latency_ms": {str(n): seconds * 1e3 for n, seconds in self.latency.items()},
        }


def _figures(parity: Parity) -> dict[str, float | None]:
    """Of alphas in 0..1; of pictures the errors alone, in levels of 0..255."""
    largest, mean = _number(parity.max_error), _number(parity.mean_error)
    if parity.agreement is None:
        return {"max_error": largest, "mean_error": mean}
    return {
        "max_alpha_error": largest,
        "mean_alpha_error": mean,
        "mask_agreement_iou": parity.agreement,
        "person_iou": parity.iou,
        "keras_person_iou": parity.keras_iou,
        "iou_change": parity.iou_change,
    }


def _number(value: float | None) -> float | None:
    """None for NaN, which JSON does not have."""
    return value if value is not None and np.isfinite(value) else None


def table(results: Sequence[Result], pictures: bool = False) -> str:
    """Aligned lines, one a file, with the figures of the runtime that is furthest from Keras.

    Args:
        results: of the files.
        pictures: the files give pictures, with errors in levels of 0..255, not alphas in 0..1.

    Latencies are milliseconds on this machine's CPU.
    """
    iou_heads = () if pictures else (("person", "IoU"), ("", "change"))
    columns = (
        *(("", "format"), ("", "kB"), ("kB,", "zipped")),
        *(("levels" if pictures else "alpha", "max"), ("error", "mean")),
        *iou_heads,
        *(("ms, 1", "thread"), ("ms, 2", "threads"), ("phone", "GPU")),
    )
    rows = list(zip(*columns, strict=True))
    for result in results:
        parity = result.furthest
        errors, ious = ("-", "-"), ("-", "-")
        if parity:
            digits = ".3f" if pictures else ".1e"
            errors = (f"{parity.max_error:{digits}}", f"{parity.mean_error:{digits}}")
        if parity and parity.iou is not None:
            ious = (f"{parity.iou:.4f}", f"{parity.iou_change:+.5f}")
        times = [result.latency.get(threads) for threads in (1, 2)]
        rows.append(
            (
                result.format,
                f"{result.bytes / 1e3:.0f}",
                f"{result.zipped_bytes / 1e3:.0f}",
                *errors,
                *(() if pictures else ious),
                *("-" if time is None else f"{time * 1e3:.1f}" for time in times),
                result.gpu,
            )
        )
    refusals = [f"{r.file} was not kept: {r.refused}" for r in results if r.refused]
    return "\n".join([*aligned(rows), *refusals])


def machine() -> dict[str, str | int]:
    """Where latencies were measured, and with what the files were made."""
    packages = ("tensorflow", "keras", "ai-edge-litert")
    return {
        "processor": f"{platform.machine()}, {os.cpu_count()} cores",
        "system": platform.system(),
        **{package: version(package) for package in packages},
    }


class Case(NamedTuple):
    """A row of the sheet: a format, a picture, and the alphas of Keras and of the file.

    Attributes:
        format: its name.
        picture: uint8 RGB (H, W, 3).
        expected: Keras's output, float32: an alpha (H, W) in 0..1 or a picture (H, W, 3) in 0..255.
        found: the file's output, the same.
    """

    format: str
    picture: np.ndarray
    expected: np.ndarray
    found: np.ndarray


def sheet(cases: Sequence[Case]) -> np.ndarray:
    """Photo, Keras's output, the file's and their difference, a row a file.

    White in the difference is the row's largest, which its caption tells.

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
        panels = (case.picture, _shown(case.expected), _shown(case.found))
        panels += (as_rgb(difference / max(largest, 1e-12)),)
        top = _HEAD + row * row_height
        caption = f"{case.format}: white in the difference is {largest:.1e}"
        draw.text((_GAP, top + 3), caption, INK, font)
        for place, panel in enumerate(panels):
            corner = (_GAP + place * (size[0] + _GAP), top + _CAPTION)
            sheet.paste(Image.fromarray(resize(panel, size[::-1])), corner)
    return np.asarray(sheet)


def _shown(output: np.ndarray) -> np.ndarray:
    """An alpha or a picture as uint8 RGB."""
    return as_rgb(output if output.ndim == 2 else output / np.float32(255))
