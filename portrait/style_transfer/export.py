"""Exports a network of one style for phones, and checks every file against its Keras model.

TFLite files have one input `image` and one output `painted`, (1, H, W, 3) float32 of raw 0..255,
with every op on the list of those that phones' GPUs take. The Core ML package takes the image
`image` and gives the image `painted`, both H x W RGB. The size is fixed: a phone's GPU wants it so.
"""

import contextlib
import functools
import io
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from tqdm import tqdm

from portrait.backend import stderr_kept_back
from portrait.errors import UserError
from portrait.export import coreml, coreml_interpreter, gpu_ops, tflite
from portrait.export.formats import ExportError
from portrait.export.report import machine
from portrait.export.tflite_finish import INPUT, PICTURE, SIGNATURE
from portrait.io.files import replacing
from portrait.tflite import graph

Runtime = Callable[[np.ndarray], np.ndarray]
"""Runs a written file: float32 (1, H, W, 3) in 0..255 to the painted one."""

_THREADS = (1, 2)


@dataclass(frozen=True)
class _Format:
    """One file format.

    Attributes:
        suffix: of the file's name.
        write: writes the Keras model to a path.
        open: makes a `Runtime` of a written file.
        ops: what is in it.
        limits: the largest and the largest mean difference from Keras, in levels of 0..255.
    """

    suffix: str
    write: Callable[[keras.Model, Path], None]
    open: Callable[[Path], Runtime]
    ops: Callable[[Path], Counter]
    limits: tuple[float, float]


def export_style(
    model: keras.Model, output: str | Path, name: str, pictures: Sequence[np.ndarray]
) -> dict:
    """Writes `NAME_float32.tflite`, `NAME_float16.tflite`, `NAME.mlpackage` and a JSON report.

    A file that a phone's GPU would not take, or that paints otherwise than the Keras model, is not
    kept; an earlier one of that name stays.

    Args:
        model: of one style and a fixed size, from `transform_net.fix_style`.
        output: the folder to write into.
        name: what the names of the files begin with.
        pictures: uint8 RGB (H, W, 3) of the model's size, to compare with Keras on.

    Returns:
        The report: `input` (1, H, W, 3), `parameters`, `machine`, and for each of `files`: `file`,
        `bytes`, `ops`, `max_error` and `mean_error` in levels of 0..255, `latency_ms` by threads.

    Raises:
        UserError: a file was refused, or cannot be written.
    """
    output = Path(output)
    batches = [np.float32(picture)[None] for picture in pictures]
    expected = [np.asarray(model(batch)) for batch in batches]
    files, refused = [], []
    for format_ in tqdm(FORMATS.values(), "export", unit=" files", disable=None):
        path = output / f"{name}{format_.suffix}"
        try:
            with replacing(path) as temporary:
                format_.write(model, temporary)
                files.append({"file": path.name, **_check(format_, temporary, batches, expected)})
        except ExportError as error:
            refused.append(f"{path.name}: {error}")
    report = {
        "input": [1, *model.input_shape[1:]],
        "parameters": model.count_params(),
        "checked_pictures": len(pictures),
        "machine": machine(),
        "files": files,
    }
    with replacing(output / f"{name}_export.json") as path:
        path.write_text(json.dumps(report, indent=1), encoding="ascii")
    if refused:
        raise UserError(f"{len(refused)} files were not kept: {'; '.join(refused)}")
    return report


def _check(
    format_: _Format, path: Path, batches: list[np.ndarray], expected: list[np.ndarray]
) -> dict:
    """The figures of a file.

    Raises:
        ExportError: it is further from Keras than its format may be.
    """
    run = format_.open(path)
    errors = [np.abs(run(x) - y) for x, y in zip(batches, expected, strict=True)]
    largest, mean = float(np.max(errors)), float(np.mean(errors))
    # So that NaN is refused, too.
    if not (largest <= format_.limits[0] and mean <= format_.limits[1]):
        raise ExportError(
            f"it differs from Keras by up to {largest:.2f} levels, {mean:.3f} on average"
        )
    parts = [part for part in path.rglob("*") if part.is_file()] if path.is_dir() else [path]
    return {
        "bytes": sum(part.stat().st_size for part in parts),
        "ops": dict(sorted(format_.ops(path).items())),
        "max_error": largest,
        "mean_error": mean,
        "latency_ms": {
            str(threads): tflite.latency(path, threads) * 1e3
            for threads in _THREADS
            if path.suffix == ".tflite"
        },
    }


def _write_tflite(model: keras.Model, path: Path, kind: str) -> None:
    """As `export.tflite.convert`, refused where a phone's GPU would not take it."""
    written = tflite.convert(model, kind)
    layers = {layer.name for layer in model.layers}
    if violations := gpu_ops.check(written, model.count_params(), layers):
        first = violations[0]
        raise ExportError(f"phone GPUs do not take {first.op} of {first.layer}: {first.reason}")
    path.write_bytes(written)


def _open_tflite(path: Path) -> Runtime:
    with stderr_kept_back():  # it says that it makes a delegate
        runner = Interpreter(str(path)).get_signature_runner(SIGNATURE)
    return lambda batch: runner(**{INPUT: batch})[PICTURE]


def _write_mlpackage(model: keras.Model, path: Path) -> None:
    """A program for iOS 15 that computes in float16."""
    import coremltools as ct  # after `export`, which keeps its warnings back

    specification = tf.TensorSpec((1, *model.input_shape[1:]), tf.float32, name=INPUT)

    @tf.function(input_signature=[specification])
    def infer(image):
        return tf.transpose(model(image, training=False), (0, 3, 1, 2))

    infer = infer.get_concrete_function()
    rgb = ct.colorlayout.RGB
    with contextlib.redirect_stderr(io.StringIO()):  # its progress bars, which have no switch
        converted = ct.convert(
            [infer],
            source="tensorflow",
            inputs=[ct.ImageType(INPUT, specification.shape.as_list(), color_layout=rgb)],
            outputs=[ct.ImageType(infer.outputs[0].name.split(":")[0], color_layout=rgb)],
            convert_to="mlprogram",
            compute_precision=ct.precision.FLOAT16,
            minimum_deployment_target=ct.target.iOS15,
            skip_model_load=True,
        )
    described = converted.get_spec()
    ct.utils.rename_feature(described, described.description.output[0].name, PICTURE)
    finished = ct.models.MLModel(described, weights_dir=converted.weights_dir, skip_model_load=True)
    coreml.save(finished, path)


def _open_mlpackage(path: Path) -> Runtime:
    """The MIL interpreter: a stand-in for Apple's runtime, which is on Apple's systems only."""
    program = coreml_interpreter.load(path)

    def run(batch: np.ndarray) -> np.ndarray:
        painted = coreml_interpreter.run(program, {INPUT: batch.transpose(0, 3, 1, 2)})[PICTURE]
        return painted.transpose(0, 2, 3, 1)

    return run


def _tflite(kind: str, limits: tuple[float, float]) -> _Format:
    return _Format(
        f"_{kind}.tflite",
        functools.partial(_write_tflite, kind=kind),
        _open_tflite,
        lambda path: graph.read(path.read_bytes()).counts(),
        limits,
    )


FORMATS = {
    "float32": _tflite("float32", (0.1, 0.01)),
    "float16": _tflite("float16", (8.0, 0.5)),
    "mlpackage": _Format(
        ".mlpackage",
        _write_mlpackage,
        _open_mlpackage,
        lambda path: coreml_interpreter.count_ops(coreml_interpreter.load(path)),
        (8.0, 0.5),
    ),
}
