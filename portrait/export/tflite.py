"""TFLite files from a Keras model: float32, float16, dynamic-range int8, full int8 and uint8.

Every file has a fixed batch of 1, one input `image` of raw 0..255 (1, H, W, 3 or 4), one output,
and the signature `serving_default` with their names. The output is `alpha`, (1, H, W, 1) in 0..1,
or, of a network that paints, `painted`, (1, H, W, 3) in 0..255.

The Keras model goes through a concrete function with its weights frozen into constants: from an
unfrozen one the converter writes a file without weights, and says nothing. `tflite_finish` then
sets names, signature and metadata.
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
from portrait.export import gpu_ops, half, rewrites
from portrait.export.formats import (
    EIGHT_BIT,
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
    "float16": Tolerance(largest=2e-3, iou=5e-4),
    "dynamic": Tolerance(largest=None, iou=2e-3, mean=0.02),
    "int8": EIGHT_BIT,
    "uint8": EIGHT_BIT,
}
_FULLY_QUANTISED = ("int8", "uint8")
# Other pictures than those for calibration fare worse, of one U-Net by twice this.
HALF_LIMIT = 0.25 * TOLERANCES["float16"].largest


def convert(
    model: keras.Model,
    kind: str,
    calibration: np.ndarray | None = None,
    quantisation_aware: bool = False,
) -> bytes:
    """Converts a network.

    Args:
        model: see `formats.Source`.
        kind: "float32"; "float16", which stores the large weights in half; "dynamic", int8 weights
            and float activations; "int8", integers throughout but float32 at both ends; "uint8",
            integers there, too: a picture's bytes in, alpha in steps of 1/256 out.
        calibration: uint8 RGB (N, H, W, 3), pictures that show a fully quantised model its ranges,
            and which weights of a float16 one must stay in float32.
        quantisation_aware: the model is from `quantise.with_channels`, and has its ranges itself.

    Returns:
        The bytes of the file.

    Raises:
        UserError: Keras does not run on TensorFlow.
        ExportError: the converter gave something else than what is described above.
    """
    converted = run_converter(model, kind, calibration, quantisation_aware)
    written = graph.parse(converted)
    if rewrites.rewrite(written):
        converted = pack(written)
    if kind in _FULLY_QUANTISED:
        _refuse_floats(converted)
    kept = ()
    if kind == "float16" and calibration is not None:
        kept = half.sensitive(graph.parse(converted), calibration, HALF_LIMIT)
    shapes = ((1, *model.input_shape[1:]), (1, *model.output_shape[1:]))
    return finish(converted, *shapes, kind, model.name, kept)


def run_converter(
    model: keras.Model,
    kind: str,
    calibration: np.ndarray | None = None,
    quantisation_aware: bool = False,
) -> bytes:
    """The file as TensorFlow's converter gives it, in float32 where `kind` is "float16".

    Takes and raises the same as `convert`.
    """
    if keras.backend.backend() != "tensorflow":
        raise UserError("TFLite needs Keras on TensorFlow: set KERAS_BACKEND=tensorflow")
    # The converter wants an owner of variables even where there are none left.
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
    """The inference of `model` at batch 1, with constants for weights."""
    specification = tf.TensorSpec((1, *model.input_shape[1:]), tf.float32, name=INPUT)

    @tf.function(input_signature=[specification])
    def infer(image):
        return model(image, training=False)

    return convert_variables_to_constants_v2(infer.get_concrete_function())


def _refuse_floats(converted: bytes) -> None:
    """Nothing but the two ends of a fully quantised file may be in float."""
    for op in graph.read(converted).ops:
        floats = [each for each in (*op.inputs, *op.outputs) if each.type == "FLOAT32"]
        if floats and op.name not in ("QUANTIZE", "DEQUANTIZE"):
            raise ExportError(f"{op.name} stays in float ({floats[-1].name})")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps back the converter's news of its temporary files and settings."""
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
    """Batches of one float picture, which span 0..255.

    The bytes of a picture are the input of a uint8 model as they are only if a step is exactly 1.
    The first one gets a black and a white pixel in its corners, in case that none has them.
    """
    for index, picture in enumerate(pictures):
        batch = as_input(picture, channels)
        if index == 0:
            batch[0, 0, 0], batch[0, -1, -1] = 0, 255
        yield [batch]


def runtimes(path: Path) -> Mapping[str, Runtime]:
    """The file with the XNNPACK kernels that phones' CPUs use, and with LiteRT's own."""
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
    """Median seconds of a run with XNNPACK on this machine's CPU."""
    return TfliteModel(path, "the file", threads).latency()


def inspect(path: Path, source: Source) -> Inspection:
    """The file's ops, and those that a phone's GPU would not take."""
    model = path.read_bytes()
    parameters = source.model.count_params()
    violations = gpu_ops.check(model, parameters, _layer_names(source.model))
    return Inspection(graph.read(model).counts(), violations)


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
    )
    for kind, tolerance in TOLERANCES.items()
}
