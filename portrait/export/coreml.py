"""Converts a Keras model to Core ML: `.mlpackage` for iOS 15 and later, `.mlmodel` for older iOS.

The input is an RGB image `image`, H x W, a CVPixelBuffer of raw bytes. Normalisation is inside the
model; Vision scales photographs to H x W. Each alpha that a network takes beside the picture
is a further input, a grayscale image: `previous`, for which the `matte` of the frame before can be
used, or `guided` and `coarse` (see `registry.BESIDE`). The outputs of a segmenter are
    `alpha`: a multi-array (1, 1, H, W) of float32, 0..1, and
    `matte`: the same as a grayscale image, 0..255, which Vision returns as a CVPixelBuffer.
The output of a style network is
    `painted`: an RGB image, H x W.

Apple's runtime exists on Apple's systems only. Here the files are run by `coreml_interpreter` and
`mlmodel_interpreter`, which compute what the file defines, not what a particular phone computes.
"""

import contextlib
import functools
import io
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import coremltools as ct
import keras
import numpy as np
import tensorflow as tf
from coremltools.optimize import coreml as compression

from portrait.errors import UserError, first_line
from portrait.export import coreml_interpreter, coreml_prelu, mlmodel_interpreter
from portrait.export.coreml_finish import finish
from portrait.export.formats import (
    ALPHA,
    EIGHT_BIT,
    HALF,
    INPUT,
    PICTURE,
    ExportError,
    Format,
    Inspection,
    Runtime,
    Source,
    Tolerance,
)
from portrait.io.files import replacing
from portrait.models.registry import BESIDE, takes_alpha

# In the 8-bit and palettised files, weights with fewer elements stay in float16. The default of
# coremltools, 2048, would exclude most layers of these small networks.
_SMALLEST_COMPRESSED = 512
_PALETTE_BITS = 6
_COMPRESSED = ("mlpackage_int8", "mlpackage_palettized")

TOLERANCES = {
    "mlpackage_float32": Tolerance(largest=1e-5, iou=None, exact=True),
    "mlpackage_float16": HALF,
    "mlpackage_int8": EIGHT_BIT,
    "mlpackage_palettized": EIGHT_BIT,
    "mlmodel": Tolerance(largest=1e-5, iou=None, exact=True),
}


def convert(model: keras.Model, kind: str) -> ct.models.MLModel:
    """Converts a network.

    Args:
        model: a model with 3 input channels, or with more if they are alphas beside the
            picture, see `formats.Source`.
        kind: "mlpackage_float32" or "mlpackage_float16", a program for iOS 15 that computes in that
            type; "mlpackage_int8", the float16 program with linear 8-bit weights and a scale for
            each channel (iOS 16); "mlpackage_palettized", the float16 program with 6-bit weights,
            64 values per layer by k-means (iOS 16); or "mlmodel", a float32 neural network for
            iOS 13, or for iOS 14 if it has bilinear enlargement.

    Raises:
        UserError: Keras does not run on TensorFlow.
        ExportError: the result of the converter differs from the description above.
        ValueError: there is no such kind, or the model takes RGBA.
    """
    if kind not in TOLERANCES:
        raise ValueError(f"there is no kind {kind!r}; the kinds are {', '.join(TOLERANCES)}")
    if keras.backend.backend() != "tensorflow":
        raise UserError("Core ML needs Keras on TensorFlow: set KERAS_BACKEND=tensorflow")
    if model.input_shape[3] != 3 and not takes_alpha(model.name):
        raise ValueError("Core ML converts pictures to RGB: the model must not take RGBA")
    with _progress_bars_off():
        try:
            converted = _compressed(_converted(model, kind), kind)
        except (NotImplementedError, RuntimeError, TypeError, ValueError) as error:
            raise ExportError(f"coremltools: {first_line(error)}") from error
        return finish(converted, model)


def _converted(model: keras.Model, kind: str) -> ct.models.MLModel:
    height, width = model.input_shape[1:3]
    layouts = {INPUT: (3, ct.colorlayout.RGB)}
    for alpha in BESIDE[takes_alpha(model.name)]:
        layouts[alpha] = 1, ct.colorlayout.GRAYSCALE
    specifications = [
        tf.TensorSpec((1, height, width, channels), tf.float32, name=name)
        for name, (channels, _) in layouts.items()
    ]

    @tf.function(input_signature=specifications)
    def infer(*images):
        pixels = tf.concat(images, axis=3) if len(images) > 1 else images[0]
        output = tf.transpose(model(pixels, training=False), (0, 3, 1, 2))
        return output if output.shape[1] == 3 else (output, output * 255.0)

    # coremltools cannot convert a Keras 3 model if the process has imported tf_keras.
    infer = infer.get_concrete_function()
    names = [output.name.split(":")[0] for output in infer.outputs]
    outputs = [
        # For iOS 16, the type would depend on the precision if it were not set.
        ct.TensorType(names[0], dtype=np.float32),
        ct.ImageType(names[-1], color_layout=ct.colorlayout.GRAYSCALE),
    ]
    if len(names) == 1:
        outputs = [ct.ImageType(names[0], color_layout=ct.colorlayout.RGB)]
    settings = {"convert_to": "neuralnetwork"}
    if kind != "mlmodel":
        single = kind == "mlpackage_float32"
        settings = {
            "convert_to": "mlprogram",
            "compute_precision": ct.precision.FLOAT32 if single else ct.precision.FLOAT16,
            "minimum_deployment_target": (
                ct.target.iOS16 if kind in _COMPRESSED else ct.target.iOS15
            ),
        }
    passes = ct.PassPipeline()
    passes.insert_pass(passes.passes.index("common::fuse_prelu") + 1, coreml_prelu.NAME)
    return ct.convert(
        [infer],
        source="tensorflow",
        inputs=[
            ct.ImageType(name, (1, height, width, channels), color_layout=layout)
            for name, (channels, layout) in layouts.items()
        ],
        outputs=outputs,
        pass_pipeline=passes,
        skip_model_load=True,
        **settings,
    )


def _compressed(converted: ct.models.MLModel, kind: str) -> ct.models.MLModel:
    """Compresses the weights for `mlpackage_int8` and `mlpackage_palettized`."""
    limit = _SMALLEST_COMPRESSED
    if kind == "mlpackage_int8":
        settings = compression.OpLinearQuantizerConfig(weight_threshold=limit)
        compress = compression.linear_quantize_weights
    elif kind == "mlpackage_palettized":
        settings = compression.OpPalettizerConfig(nbits=_PALETTE_BITS, weight_threshold=limit)
        compress = compression.palettize_weights
    else:
        return converted
    return compress(converted, compression.OptimizationConfig(settings))


@contextlib.contextmanager
def _progress_bars_off() -> Iterator[None]:
    """Hides the progress bars that coremltools writes to stderr, for which it has no option."""
    with contextlib.redirect_stderr(io.StringIO()):
        yield


def save(converted: ct.models.MLModel, path: Path) -> None:
    """Writes an `.mlpackage` (a folder) or an `.mlmodel` (a file).

    Raises:
        ExportError: the path of a package is not UTF-8, so coremltools could not read it.
    """
    if path.suffix == ".mlpackage":
        try:
            str(path).encode()
        except UnicodeEncodeError:
            raise ExportError(
                "coremltools needs a path in UTF-8: choose another folder or name"
            ) from None
    converted.save(str(path))


def zip_package(package: Path, path: Path) -> None:
    """Packs an `.mlpackage` folder into a zip file; equal packages give equal bytes.

    Args:
        package: the folder, which macOS unpacks on a double click on the zip file.
        path: the `.mlpackage.zip` to write.
    """
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for file in sorted(each for each in package.rglob("*") if each.is_file()):
            # The default date of a ZipInfo is fixed, 1980.
            entry = zipfile.ZipInfo(str(Path(package.name) / file.relative_to(package)))
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, file.read_bytes(), zipfile.ZIP_DEFLATED)


def run(path: Path, picture: np.ndarray) -> np.ndarray:
    """Runs a Core ML file once; see `runtimes`.

    Args:
        path: an `.mlpackage` or `.mlmodel`.
        picture: uint8 RGB (H, W, 3), of the file's size, or more channels, with the alphas beside
            it.

    Returns:
        See `formats.Runtime`.
    """
    (runtime,) = runtimes(path).values()
    return runtime(picture)


def runtimes(path: Path) -> Mapping[str, Runtime]:
    """The interpreter for the file's format, which stands in for Apple's runtime."""
    if Path(path).suffix == ".mlmodel":
        name, execute = "layer interpreter, not Apple's runtime", mlmodel_interpreter.run
        loaded = mlmodel_interpreter.load(path)
    else:
        name = "MIL interpreter, not Apple's runtime"
        execute = functools.partial(coreml_interpreter.run, round_results=True)
        loaded = coreml_interpreter.load(path)

    names = [each.name for each in ct.utils.load_spec(str(path)).description.input]

    def run_once(picture: np.ndarray) -> np.ndarray:
        planes = picture.transpose(2, 0, 1)[None].astype(np.float32)
        images = [planes[:, :3], *(planes[:, i : i + 1] for i in range(3, planes.shape[1]))]
        outputs = execute(loaded, dict(zip(names, images, strict=False)))
        return (
            outputs[PICTURE][0].transpose(1, 2, 0) if PICTURE in outputs else outputs[ALPHA][0, 0]
        )

    return {name: run_once}


def inspect(path: Path, source: Source) -> Inspection:
    """Lists the file's ops. Only Apple's tools can tell which ops a phone's GPU supports."""
    del source
    if path.suffix == ".mlmodel":
        return Inspection(mlmodel_interpreter.count_layers(mlmodel_interpreter.load(path)), None)
    return Inspection(coreml_interpreter.count_ops(coreml_interpreter.load(path)), None)


def _write(source: Source, path: Path, kind: str) -> None:
    save(convert(source.model, kind), path)


FORMATS = {
    kind: Format(
        suffix=".mlmodel" if kind == "mlmodel" else f"_{kind.removeprefix('mlpackage_')}.mlpackage",
        write=functools.partial(_write, kind=kind),
        runtimes=runtimes,
        tolerance=tolerance,
        inspect=inspect,
    )
    for kind, tolerance in TOLERANCES.items()
}
