"""What a file format for phones has to offer, and where each one lives.

`FORMATS` names the module of every format without importing it: TensorFlow and coremltools take
seconds to load. A module that holds formats has a dict `FORMATS` from name to `Format`, too.
"""

import importlib
from collections import Counter
from collections.abc import Callable, Mapping
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
"""Those of a network that was trained with the rounding of 8 bits."""
RGBA_FORMATS = ("float32", "float16", "dynamic", "int8", "uint8")
"""Those that have a variant of 4 channels for Android (`Format.rgba`)."""

INPUT, ALPHA, PICTURE = "image", "alpha", "painted"
"""Names in a file: of its input, and of its output, which is an alpha or a picture."""


class ExportError(Exception):
    """A converter gave a file that is not what it should be; it is not kept."""


Runtime = Callable[[np.ndarray], np.ndarray]
"""Runs a written file on a picture of the network's size, uint8 RGB (H, W, 3).

Returns float32: the alpha (H, W) in 0..1, or the picture (H, W, 3) in 0..255.
"""


@dataclass(frozen=True)
class Source:
    """What is exported: a network with one input and one output.

    Attributes:
        model: a `keras.Model` from raw 0..255 (N, H, W, channels) to the alpha (N, H, W, 1) in
            0..1, as `models.build.for_inference` returns it, or to a picture (N, H, W, 3) in
            0..255.
        calibration: uint8 RGB (N, H, W, 3), real pictures of the network's size. They set the
            ranges of quantised formats, and choose which weights of a float16 file stay in float32;
            without them, none do.
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
    """How far a file may be from its Keras model; None: no limit.

    Differences are between the two outputs at a pixel: of alphas in 0..1, of pictures in levels of
    0..255.

    Attributes:
        largest: the largest difference at any pixel of any picture.
        iou: the largest change of the mean person IoU; for alphas only.
        gains: whether a rise of the IoU counts as a change. It does for a file that shall equal its
            model; a file with further training may be better.
        exact: whether the file computes as Keras does, so that only the order of sums differs. Then
            `largest` rises where Keras's own float32 is less exact (`verify.rounding_error`).
        mean: the largest mean difference.
    """

    largest: float | None
    iou: float | None = None
    gains: bool = True
    exact: bool = False
    mean: float | None = None


# Nothing bounds how far one pixel of an 8-bit file may be off: what counts is the person's mask.
EIGHT_BIT = Tolerance(largest=None, iou=0.005, mean=0.02)


class Violation(NamedTuple):
    """Why a phone's GPU would not take an op: `op` makes `tensor`, for the Keras layer `layer`."""

    op: str
    tensor: str
    layer: str
    reason: str


class Inspection(NamedTuple):
    """What is in a file: its ops with their counts, and what no GPU would take.

    `violations` is None for formats whose GPU verdict cannot be had on this machine.
    """

    ops: Counter[str]
    violations: list[Violation] | None


@dataclass(frozen=True)
class Format:
    """One file format.

    Attributes:
        suffix: of the file's name, as in "_float16.tflite".
        write: writes a `Source` to a path: a file, or a folder such as a `.mlpackage`.
        runtimes: opens a written file with every runtime that can run it here, by name.
        tolerance: a file beyond it is not kept.
        inspect: lists a written file's ops; the `Source` tells the names of its layers.
        latency: (path, threads) to the median seconds of a run; None where the file runs through
            a stand-in whose time says nothing.
        rgba: whether there is a 4-channel variant for Android.
    """

    suffix: str
    write: Callable[[Source, Path], None]
    runtimes: Callable[[Path], Mapping[str, Runtime]]
    tolerance: Tolerance
    inspect: Callable[[Path, Source], Inspection]
    latency: Callable[[Path, int], float] | None = None
    rgba: bool = False


def check_format(name: str) -> None:
    """Raises UserError: there is no such format."""
    if name not in FORMATS:
        raise UserError(f"there is no export format {name!r}; the formats are {', '.join(FORMATS)}")


def load_format(name: str) -> Format:
    """The format `name`, importing what it needs.

    Raises:
        UserError: no such format.
    """
    check_format(name)
    return importlib.import_module(FORMATS[name]).FORMATS[name]
