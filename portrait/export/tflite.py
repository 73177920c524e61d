"""Converts a Keras model to TFLite: float32, float16, dynamic-range int8, full int8 and uint8.

Every file has a batch size of 1, one input `image`, raw 0..255, (1, H, W, 3 or 4), one output, and
the signature `serving_default`. The output is `alpha`, (1, H, W, 1) in 0..1, or, for a style
network, `painted`, (1, H, W, 3) in 0..255.

The converter gets a concrete function whose weights are frozen to constants. From a function that
is not frozen it would silently write a file without weights. `tflite_finish` then sets names,
signature and metadata.
"""

import contextlib
import functools
import logging
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from absl import logging as absl_logging
from tensorflow.lite.python.convert_phase import ConverterError
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from portrait.backend import stderr_kept_back
from portrait.errors import UserError, first_line
from portrait.export import gpu_ops, gpu_range, rewrites
from portrait.export.formats import (
    EIGHT_BIT,
    HALF,
    INPUT,
    ExportError,
    Format,
    Inspection,
    Runtime,
    Source,
    Tolerance,
)
from portrait.export.tflite_finish import finish
from portrait.export.verify import as_input, without_single_channel
from portrait.tflite import graph
from portrait.tflite.graph import pack
from portrait.tflite.runtime import TfliteModel

TOLERANCES = {
    "float32": Tolerance(largest=1e-5, iou=None, exact=True),
    "float16": HALF,
    "dynamic": Tolerance(largest=None, iou=2e-3, mean=0.02),
    "int8": EIGHT_BIT,
    "uint8": EIGHT_BIT,
}
_FULLY_QUANTISED = ("int8", "uint8")


def convert(
    model: keras.Model,
    kind: str,
    calibration: np.ndarray | None = None,
    quantisation_aware: bool = False,
) -> bytes:
    """Converts a network.

    Args:
        model: see `formats.Source`.
        kind: "float32"; "float16", with all weights stored in float16; "dynamic", with int8
            weights and float activations; "int8", with integers except for a float32 input and
            output; or "uint8", with a uint8 input (a picture's bytes) and output (1/256 per step).
        calibration: uint8 RGB (N, H, W, 3), pictures to find the ranges of "int8" and "uint8".
        quantisation_aware: whether the model is from `quantise.with_channels` and contains ranges.

    Returns:
        The bytes of the file.

    Raises:
        UserError: Keras does not run on TensorFlow.
        ExportError: the result of the converter differs from the description above.
    """
    converted = run_converter(model, kind, calibration, quantisation_aware)
    written = graph.parse(converted)
    if rewrites.rewrite(written):
        converted = pack(written)
    if kind in _FULLY_QUANTISED:
        _refuse_floats(converted)
    shapes = ((1, *model.input_shape[1:]), (1, *model.output_shape[1:]))
    return finish(converted, *shapes, kind, model.name)


def run_converter(
    model: keras.Model,
    kind: str,
    calibration: np.ndarray | None = None,
    quantisation_aware: bool = False,
) -> bytes:
    """Runs TensorFlow's converter; for "float16", the result is float32.

    For the arguments and exceptions, see `convert`.
    """
    if keras.backend.backend() != "tensorflow":
        raise UserError("TFLite needs Keras on TensorFlow: set KERAS_BACKEND=tensorflow")
    # The converter requires an object that owns variables, although all are frozen.
    converter = tf.lite.TFLiteConverter.from_concrete_functions([_frozen(model)], tf.Module())
    if kind not in ("float32", "float16"):
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if kind in _FULLY_QUANTISED and not quantisation_aware:
        if calibration is None or not len(calibration):
            raise ValueError(f"{kind} needs calibration pictures")
        channels = model.input_shape[3]
        converter.representative_dataset = lambda: _batches(calibration, channels)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    if kind == "uint8":
        converter.inference_input_type = converter.inference_output_type = tf.uint8
    try:
        with _quiet():
            return converter.convert()
    except (ConverterError, RuntimeError, ValueError) as error:
        raise ExportError(f"TFLite's converter: {first_line(error)[:200]}") from error


def _frozen(model: keras.Model):
    """The inference function of `model` for batch size 1, with frozen weights."""
    specification = tf.TensorSpec((1, *model.input_shape[1:]), tf.float32, name=INPUT)

    @tf.function(input_signature=[specification])
    def infer(image):
        return model(image, training=False)

    return convert_variables_to_constants_v2(infer.get_concrete_function())


def _refuse_floats(converted: bytes) -> None:
    """Raises ExportError if a tensor other than input and output of a quantised file is float."""
    for op in graph.read(converted).ops:
        floats = [each for each in (*op.inputs, *op.outputs) if each.type == "FLOAT32"]
        if floats and op.name not in ("QUANTIZE", "DEQUANTIZE"):
            raise ExportError(f"{op.name} stays in float ({floats[-1].name})")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hides the converter's messages about temporary files and settings."""
    log, verbosity = logging.getLogger("tensorflow"), absl_logging.get_verbosity()
    level = log.level
    log.setLevel(logging.WARNING)
    absl_logging.set_verbosity(absl_logging.WARNING)
    try:
        with warnings.catch_warnings(), stderr_kept_back():
            warnings.filterwarnings("ignore", "Statistics for quantized inputs were expected")
            yield
    finally:
        log.setLevel(level)
        absl_logging.set_verbosity(verbosity)


def _batches(pictures: np.ndarray, channels: int) -> Iterator[list[np.ndarray]]:
    """Yields batches of one float picture; together they span exactly 0..255.

    A uint8 model takes a picture's bytes unchanged only if its input scale is exactly 1. The first
    picture therefore gets a black and a white pixel in its corners.
    """
    for index, picture in enumerate(pictures):
        batch = as_input(picture, channels)
        if index == 0:
            batch[0, 0, 0], batch[0, -1, -1] = 0, 255
        yield [batch]


def runtimes(path: Path) -> Mapping[str, Runtime]:
    """The file with XNNPACK, the default on phones' CPUs, and with LiteRT's own kernels."""
    return {
        "XNNPACK": _runtime(path, xnnpack=True),
        "LiteRT kernels": _runtime(path, xnnpack=False),
    }


def _runtime(path: Path, xnnpack: bool) -> Runtime:
    try:
        model = TfliteModel(path, "the file", xnnpack=xnnpack)
    except UserError as error:
        raise ExportError(str(error)[:200]) from error
    return lambda picture: without_single_channel(model(picture))


def latency(path: Path, threads: int) -> float:
    """The median time in seconds of a run with XNNPACK on this machine's CPU."""
    return TfliteModel(path, "the file", threads).latency()


def inspect(path: Path, source: Source) -> Inspection:
    """Lists the file's ops, those that phone GPUs do not support, and the largest activations."""
    model, layers = path.read_bytes(), _layer_names(source.model)
    violations = gpu_ops.check(model, source.model.count_params(), layers)
    activations = []
    if source.calibration is not None and len(source.calibration):
        activations = gpu_range.largest_activations(model, source.calibration, layers)
    violations += gpu_range.check(activations)
    return Inspection(graph.read(model).counts(), violations, activations)


def _layer_names(model: keras.Model) -> set[str]:
    return {layer.name for layer in model._flatten_layers(include_self=False)}


def _write(source: Source, path: Path, kind: str) -> None:
    path.write_bytes(convert(source.model, kind, source.calibration))


FORMATS = {
    kind: Format(
        suffix=f"_{kind}.tflite",
        write=functools.partial(_write, kind=kind),
        runtimes=runtimes,
        tolerance=tolerance,
        inspect=inspect,
        latency=latency,
        rgba=True,
        gpu_engine=True,
    )
    for kind, tolerance in TOLERANCES.items()
}
