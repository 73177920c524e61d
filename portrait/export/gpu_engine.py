"""Runs `.tflite` files in the GPU engine of phones, with a driver that computes on the CPU.

LiteRT's `CompiledModel` runs its GPU engine, ML Drift, on Vulkan through WebGPU. Two Vulkan drivers
in software replace a phone's GPU. lavapipe (Mesa 25) has 16-bit floats, so ML Drift computes in
float16 as on phones, and numbers above 65,504 overflow. SwiftShader has no 16-bit floats, so ML
Drift computes in float32. A file that fails only on lavapipe exceeds the range of float16. A file
that fails on both contains an operation that the engine computes wrongly.

`make gpu-engines` fetches the drivers. Each file runs in a separate process, because a driver that
crashes ends its process.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from metrics import person_iou
from portrait.export.verify import as_input, without_single_channel
from portrait.tflite.runtime import TfliteModel

ENGINES = Path(__file__).resolve().parents[2] / ".gpu-engines"
"""The folder that `make gpu-engines` writes to."""
HOW_TO_GET = "make gpu-engines fetches it"
MEAN_ERROR, IOU = 1e-3, 0.997
"""The limits for a file on a GPU, compared with the same file on the CPU: the largest mean error of
an alpha (255 times as much for pictures in 0..255), and the smallest IoU of the two masks."""

_CHILD = Path(__file__).with_name("gpu_engine_child.py")
_SECONDS, _TRIES = 600, 5
_REFUSED, _LATE = 3, 4  # exit statuses of the child


class Engine(NamedTuple):
    """A Vulkan driver for ML Drift.

    Attributes:
        name: the name of the driver.
        description: the JSON file that gives Vulkan's loader the path of the driver.
        settings: environment variables for the driver.
    """

    name: str
    description: Path
    settings: dict[str, str]

    @property
    def missing(self) -> str | None:
        """The reason why the driver cannot be used; None if it can."""
        if self.description.is_file():
            return None
        return f"there is no GPU engine {self.name} here ({HOW_TO_GET})"


# Compiling the shaders takes most of the time. Without LLVM's optimisations, and with vectors of
# 128 bits, it takes a few seconds; with vectors of 512 bits, the default of some processors, ten
# times as long.
FLOAT16 = Engine(
    "lavapipe",
    ENGINES / "lavapipe_icd.json",
    {"GALLIVM_PERF": "nopt", "LP_NATIVE_VECTOR_WIDTH": "128"},
)
FLOAT32 = Engine("SwiftShader", ENGINES / "swiftshader_icd.json", {})


class EngineError(Exception):
    """The engine refuses a file, crashes, or takes too long."""


class Run(NamedTuple):
    """The outputs of an engine.

    Attributes:
        outputs: float32 alphas (N, H, W) in 0..1, or pictures (N, H, W, 3) in 0..255.
        wholly: whether every operation ran on the GPU.
    """

    outputs: np.ndarray
    wholly: bool


class Verdict(NamedTuple):
    """The comparison of a file on a GPU with the same file on the CPU.

    Attributes:
        max_error: the largest absolute difference at any pixel: 0..1 for alphas, 0..255 for
            pictures; NaN if an output is NaN.
        mean_error: the mean absolute difference, in the same units.
        iou: the smallest IoU of the two masks of a picture; None if the output is a picture.
        wholly: whether every operation ran on the GPU.
        refused: the reason why the file did not run; None if it ran.
    """

    max_error: float | None
    mean_error: float | None
    iou: float | None
    wholly: bool
    refused: str | None = None

    @property
    def good(self) -> bool:
        """Whether all operations ran on the GPU, and the errors are within the limits."""
        if not self.wholly or self.refused:
            return False
        largest = MEAN_ERROR if self.iou is not None else 255 * MEAN_ERROR
        return self.mean_error <= largest and (self.iou is None or self.iou >= IOU)


def run(file: Path, pictures: np.ndarray, engine: Engine = FLOAT16) -> Run:
    """Runs a file in a separate process.

    Args:
        file: a `.tflite` file that takes one picture as float32.
        pictures: uint8 RGB (N, H, W, 3), of the file's input size.
        engine: the driver.

    Raises:
        EngineError: the engine is not installed or refuses the file, or the driver crashes or takes
            too long.
        UserError: the file is not a `.tflite` file that takes one picture.
    """
    if engine.missing:
        raise EngineError(engine.missing)
    model = TfliteModel(file, file.name)
    if not model.takes_floats:
        raise EngineError("it takes bytes, not float32")
    with tempfile.TemporaryDirectory() as folder:
        taken, given = Path(folder, "taken.npy"), Path(folder, "given.npz")
        np.save(taken, np.concatenate([as_input(each, model.channels) for each in pictures]))
        _run_child([file, taken, given], os.environ | _environment(engine, folder))
        with np.load(given) as results:
            outputs = results["outputs"].reshape(-1, *model.output_shape)
            return Run(without_single_channel(outputs), bool(results["wholly"]))


def _run_child(arguments: list[Path], environment: dict[str, str]) -> None:
    """Runs the child until it succeeds.

    LiteRT waits for about 100 s, and a busy machine may need longer to compile all shaders. Each
    child reads from the cache the shaders that earlier ones have compiled.
    """
    command = [sys.executable, "-P", _CHILD, *arguments, str(_REFUSED), str(_LATE)]
    for _ in range(_TRIES):
        try:
            done = subprocess.run(
                command, env=environment, capture_output=True, text=True, timeout=_SECONDS
            )
        except subprocess.TimeoutExpired:
            raise EngineError(f"no result after {_SECONDS} s") from None
        if done.returncode == 0:
            return
        if done.returncode != _LATE:
            break
    said = done.stdout.strip()
    if done.returncode == _REFUSED:
        raise EngineError(f"LiteRT refuses it: {said}")
    raise EngineError(f"the driver ends with status {done.returncode}: {said[-200:]}")


def check(file: Path, pictures: np.ndarray, engine: Engine = FLOAT16) -> Verdict:
    """Compares a file on the GPU engine with the same file on the CPU.

    Args:
        file: as in `run`.
        pictures: as in `run`.
        engine: the driver.

    Raises:
        UserError: the file is not a `.tflite` file that takes one picture.
    """
    try:
        outputs, wholly = run(file, pictures, engine)
    except EngineError as error:
        return Verdict(None, None, None, False, str(error))
    model = TfliteModel(file, file.name)
    expected = np.stack([without_single_channel(model(picture)) for picture in pictures])
    errors, iou = np.abs(outputs - expected), None
    if expected.ndim == 3:
        iou = min(person_iou(*pair) for pair in zip(outputs, expected, strict=True))
    return Verdict(float(errors.max()), float(errors.mean()), iou, wholly)


def _environment(engine: Engine, folder: str) -> dict[str, str]:
    """The environment variables that make Vulkan's loader use the engine's driver."""
    libraries = [str(path.parent) for path in ENGINES.glob("root/usr/lib/*/libvulkan.so.1")]
    libraries += filter(None, [os.environ.get("LD_LIBRARY_PATH")])
    return {
        "VK_DRIVER_FILES": str(engine.description),
        "VK_ICD_FILENAMES": str(engine.description),  # the same for older loaders
        "LD_LIBRARY_PATH": os.pathsep.join(libraries),
        "MESA_SHADER_CACHE_DIR": str(ENGINES / "shaders"),  # a second run takes seconds
        "XDG_RUNTIME_DIR": folder,
        **engine.settings,
    }
