"""Any trained segmentation model as a function from a photograph to its alpha.

Ours and other people's `.tflite` files, and weights of our networks, which are converted to a
float32 `.tflite` first: whatever a model was made with, it is run and timed in one way. Only for
weights is TensorFlow imported.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from flatbuffers import encode, number_types
from flatbuffers.table import Table

from export import tflite_graph
from export.metadata import BUFFER_NAME
from files import UserError
from prediction import MatteFunction, model_matte_fn
from preprocess import default_input_shape, parse_input_shape
from quiet import start_keras
from tflite_model import TfliteModel

INPUT_RANGES = {"0..1": (0.0, 255.0), "-1..1": (127.5, 127.5), "0..255": (0.0, 1.0)}
"""What models take for pixels 0..255: (mean, std) of (pixel - mean) / std."""

_NORMALIZATION_OPTIONS = 1  # in the metadata schema's union of process units
_WEIGHTS = ("FLOAT32", "FLOAT16", "INT8", "UINT8")


@dataclass(frozen=True)
class Segmenter:
    """A model, ready to run on one thread.

    Attributes:
        name: for tables.
        file: the bytes of its `.tflite` file.
        input_shape: (height, width).
        interpreter: holds the model; `interpreter.invoke()` is what a latency is of.
        matte_fn: from a photograph, uint8 RGB (H, W, 3), to its alpha, float32 (H, W), 0..1.
    """

    name: str
    file: bytes
    input_shape: tuple[int, int]
    interpreter: Interpreter
    matte_fn: MatteFunction


def open_model(
    text: str, input_range: str = "", input_shape: tuple[int, int] | None = None
) -> Segmenter:
    """Opens what a command line names.

    Args:
        text: `FILE.tflite`, `NAME=FILE.tflite`, or `NETWORK=WEIGHTS` with one of our networks
            (`fast_scnn`, `mattingnet_small`, ...) and a `.weights.h5` file or a run's folder.
        input_range: for `.tflite` files that do not say what they take, a key of `INPUT_RANGES`.
        input_shape: (height, width) of networks that are given as weights; None: that of the
            weights' run, or else the network's default.

    Raises:
        UserError: no such file, not a model, not a segmentation of one class.
    """
    # A path may hold "=", too, such as runs/lr=0.001/model.tflite; a name does not.
    name, path = ("", text) if Path(text).is_file() else _named(text)
    if path.endswith(".tflite"):
        return from_tflite(_read(Path(path)), name or Path(path).stem, input_range)
    if not name:
        raise UserError(f"{text}: write FILE.tflite, or NETWORK=WEIGHTS such as fast_scnn=RUN")
    return from_tflite(_convert(name, Path(path), input_shape), name)


def _named(text: str) -> tuple[str, str]:
    """Of `NAME=PATH` the name and the path; of `PATH` no name."""
    name, equals, path = text.partition("=")
    return (name, path) if equals and "/" not in name else ("", text)


def from_tflite(file: bytes, name: str, input_range: str = "") -> Segmenter:
    """Opens a `.tflite` file with a picture as its input and an alpha as its last output.

    The input has 3 channels, RGB, or 4, whose last is given as opaque; float, or quantised. Pixels
    0..255 are given as (pixel - mean) / std: by NormalizationOptions in the file's metadata (which
    is what MediaPipe asks for), or else as `input_range` says. 8-bit inputs take bytes.

    Args:
        file: its bytes.
        name: for tables and messages.
        input_range: a key of `INPUT_RANGES`; "": the metadata must say it.

    Raises:
        UserError: not a model that can be run, not of this form, or its input range is not known.
    """
    model = TfliteModel(file, name)
    if model.output_shape[2] != 1:
        gives = "x".join(map(str, (1, *model.output_shape)))
        raise UserError(f"{name} gives {gives}, not one alpha (1xHxWx1)")
    normalise(model, file, name, input_range)
    matte_fn = model_matte_fn(lambda batch: model(batch[0])[np.newaxis], model.input_shape)
    return Segmenter(name, file, model.input_shape, model.interpreter, matte_fn)


def count_parameters(file: bytes) -> int:
    """The number of weights that a `.tflite` file's ops use, shapes and other integers aside."""
    # Half-precision weights stand twice: as they are stored, before a DEQUANTIZE, and behind it.
    ops = [op for op in tflite_graph.read(file).ops if op.name != "DEQUANTIZE"]
    constants = {t for op in ops for t in op.inputs if t.constant and t.type in _WEIGHTS}
    return sum(int(np.prod(tensor.shape)) for tensor in constants)


def count_macs(file: bytes) -> int:
    """Multiply-accumulates of a run: those of convolutions and dense layers, as papers count."""
    return sum(_macs(op) for op in tflite_graph.read(file).ops)


def _macs(op: tflite_graph.Op) -> int:
    kernel = [t.shape for t in op.inputs if t.constant and len(t.shape) in (2, 4)]
    if not kernel:
        return 0
    data = next((t.shape for t in op.inputs if not t.constant), ())
    made = op.outputs[0].shape
    weights = int(np.prod(kernel[0]))
    match op.name:
        case "CONV_2D" | "DEPTHWISE_CONV_2D":  # a kernel's weights are used at each place made
            return made[1] * made[2] * weights
        case "TRANSPOSE_CONV" | "CUSTOM Convolution2DTransposeBias":  # at each place given
            return data[1] * data[2] * weights
        case "FULLY_CONNECTED":
            return weights * int(np.prod(made)) // made[-1]
    return 0


def _convert(name: str, weights: Path, input_shape: tuple[int, int] | None) -> bytes:
    """A float32 `.tflite` file of one of our networks."""
    start_keras()
    import models
    from export import tflite
    from runs import network_of, weights_file

    family, size = models.split_name(name)
    weights = weights_file(weights)
    shape = network_of(weights).get("input_shape") or default_input_shape(family)
    model = models.build(family, input_shape or parse_input_shape(shape), size)
    models.load_weights(model, weights)
    return tflite.convert(models.for_inference(model), "float32")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error


def normalise(model: TfliteModel, file: bytes, name: str, input_range: str = "") -> None:
    """Has `model`, of these bytes, take pixels 0..255; the arguments are `from_tflite`'s.

    Raises:
        UserError: its input range is not known.
    """
    if not model.takes_floats:
        return
    stated = stated_normalization(file)
    if not stated and input_range not in INPUT_RANGES:
        raise UserError(
            f"{name} does not say what pixels it takes: give --input_range="
            f"{' or '.join(INPUT_RANGES)} (see its documentation; MediaPipe's take 0..1)"
        )
    model.normalise(*(stated or INPUT_RANGES[input_range]))


def stated_normalization(file: bytes) -> tuple[float, float] | None:
    """The (mean, std) of NormalizationOptions in a `.tflite` file's metadata; None without.

    Field numbers are those of MediaPipe's metadata_schema.fbs.
    """
    model = tflite_graph.parse(file)
    places = [e.buffer for e in model.metadata or () if e.name == BUFFER_NAME.encode()]
    if not places:
        return None
    data = bytes(model.buffers[places[0]].data)
    root = Table(data, encode.Get(number_types.UOffsetTFlags.packer_type, data, 0))
    for graph in _tables(root, 3):
        for image in _tables(graph, 2)[:1]:
            for unit in _tables(image, 4):
                if unit.Get(number_types.Uint8Flags, _place(unit, 0)) == _NORMALIZATION_OPTIONS:
                    options = Table(data, unit.Indirect(_place(unit, 1)))
                    return _float(options, 0), _float(options, 1)
    return None


def _place(table: Table, field: int) -> int:
    return table.Pos + table.Offset(4 + 2 * field)


def _tables(table: Table, field: int) -> list[Table]:
    """The tables of a field that is a vector of tables; none where it is absent."""
    offset = table.Offset(4 + 2 * field)
    if not offset:
        return []
    start, count = table.Vector(offset), table.VectorLen(offset)
    return [Table(table.Bytes, table.Indirect(start + 4 * i)) for i in range(count)]


def _float(table: Table, field: int) -> float:
    """The first of a vector of floats."""
    return float(table.Get(number_types.Float32Flags, table.Vector(table.Offset(4 + 2 * field))))
