"""The interface of a file format for phones, and the list of formats.

`FORMATS` maps each format to its module without importing it, because TensorFlow and coremltools
take seconds to import. Such a module has its own dict `FORMATS` from name to `Format`.
"""

import importlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from portrait.errors import UserError

FORMATS: dict[str, str] = {
    "float32": "portrait.export.tflite",
    "float16": "portrait.export.tflite",
    "dynamic": "portrait.export.tflite",
    "int8": "portrait.export.tflite",
    "uint8": "portrait.export.tflite",
    "mlpackage_float32": "portrait.export.coreml",
    "mlpackage_float16": "portrait.export.coreml",
    "mlpackage_int8": "portrait.export.coreml",
    "mlpackage_palettized": "portrait.export.coreml",
    "mlmodel": "portrait.export.coreml",
}
QAT_FORMATS = ("int8", "uint8")
"""The formats for networks from quantisation-aware training."""
RGBA_FORMATS = ("float32", "float16", "dynamic", "int8", "uint8")
"""The formats with a 4-channel variant for Android (`Format.rgba`)."""

INPUT, ALPHA, PICTURE = "image", "alpha", "painted"
"""The names of a file's input, and of its output, which is an alpha or a picture."""


class ExportError(Exception):
    """A converted file is not as it should be, and is not kept."""


Runtime = Callable[[np.ndarray], np.ndarray]
"""Runs a file on a picture of the network's size, uint8 RGB (H, W, 3).

Returns float32: the alpha (H, W) in 0..1, or the picture (H, W, 3) in 0..255.
"""


@dataclass(frozen=True)
class Source:
    """The network to export, with one input and one output.

    Attributes:
        model: a `keras.Model` from raw 0..255 (N, H, W, channels) to the alpha (N, H, W, 1) in
            0..1, as from `models.build.for_inference`, or to a picture (N, H, W, 3) in 0..255.
        calibration: uint8 RGB (N, H, W, 3), real pictures of the network's size. They determine the
            ranges of quantised formats, and the largest activations of every file (unknown without
            calibration pictures).
    """

    model: Any
    calibration: np.ndarray | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return tuple(self.model.input_shape[1:3])

    @property
    def channels(self) -> int:
        """3 for RGB, 4 for RGBA."""
        return self.model.input_shape[3]

    @property
    def gives_picture(self) -> bool:
        """Whether the output is a picture, not an alpha."""
        return self.model.output_shape[3] == 3


class Tolerance(NamedTuple):
    """Limits on the difference between a file and its Keras model; None: no limit.

    Differences of alphas are in 0..1, and differences of pictures in levels of 0..255.

    Attributes:
        largest: the largest difference at any pixel of any picture.
        iou: the largest change of the mean person IoU, with the margin of `verify.Score.exceeds`;
            for alphas only.
        gains: whether a higher IoU counts as a change. It does not for a file with further
            training.
        exact: whether the file differs from Keras only in the order of sums. If Keras's own float32
            error is larger than `largest`, the limit is raised (`verify.rounding_error`).
        mean: the largest mean difference.
        boundary: the largest change of the mean boundary IoU, as `iou`.
    """

    largest: float | None
    iou: float | None = None
    gains: bool = True
    exact: bool = False
    mean: float | None = None
    boundary: float | None = None


# Of float16. There is no limit for single pixels: on a steep outline one may be far off.
HALF = Tolerance(largest=None, iou=5e-4, mean=1e-3, boundary=2e-3)
# There is no limit for single pixels of an 8-bit file: the person's mask is what matters.
EIGHT_BIT = Tolerance(largest=None, iou=0.005, mean=0.02)


class Violation(NamedTuple):
    """An op that phone GPUs do not support: `op` computes `tensor` for the Keras layer `layer`."""

    op: str
    tensor: str
    layer: str
    reason: str


class Activation(NamedTuple):
    """The largest magnitude that an op gives: `op` makes `tensor`, for the Keras layer `layer`."""

    largest: float
    op: str
    tensor: str
    layer: str


class Inspection(NamedTuple):
    """The ops of a file with their counts, and the ops that phone GPUs do not support.

    `violations` is None for formats for which this cannot be determined on this machine.
    `activations` are the largest of every op on the calibration pictures; empty if unknown.
    """

    ops: Counter[str]
    violations: list[Violation] | None
    activations: Sequence[Activation] = ()


@dataclass(frozen=True)
class Format:
    """One file format.

    Attributes:
        suffix: of the file's name, as in "_float16.tflite".
        write: writes a `Source` to a path: a file, or a folder such as an `.mlpackage`.
        runtimes: opens a file with each runtime that can run it here; returns them by name.
        tolerance: the limits for a file to be kept.
        inspect: lists a file's ops; the `Source` is needed for the names of the layers.
        latency: from (path, threads) to the median time of a run in seconds; None if the file runs
            in an interpreter whose time is meaningless.
        rgba: whether there is a 4-channel variant for Android.
        gpu_engine: whether `gpu_engine` runs it.
    """

    suffix: str
    write: Callable[[Source, Path], None]
    runtimes: Callable[[Path], Mapping[str, Runtime]]
    tolerance: Tolerance
    inspect: Callable[[Path, Source], Inspection]
    latency: Callable[[Path, int], float] | None = None
    rgba: bool = False
    gpu_engine: bool = False


def check_format(name: str) -> None:
    """Raises UserError if there is no such format."""
    if name not in FORMATS:
        raise UserError(f"there is no export format {name!r}; the formats are {', '.join(FORMATS)}")


def load_format(name: str) -> Format:
    """Imports and returns the format `name`.

    Raises:
        UserError: there is no such format.
    """
    check_format(name)
    return importlib.import_module(FORMATS[name]).FORMATS[name]
