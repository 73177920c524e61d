"""Scores and times segmentation models alike."""

import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import trange

from benchmarks.examined import examined_pairs
from benchmarks.robust_video_matting import SIDE, RobustVideoMatting
from portrait.data.pairs import Pair
from portrait.errors import UserError
from portrait.evaluation.evaluate import score
from portrait.export.report import machine
from portrait.inference.network import MatteFunction, Network, from_tflite, load, shipped_file
from portrait.models.weights import read_settings
from portrait.tflite import graph


@dataclass(frozen=True)
class Model:
    """A model in a comparison.

    Attributes:
        name: the name for tables and messages.
        input_shape: (height, width) of the input.
        matte: from a photograph to its alpha.
        invoke: runs the bare model once, for timing.
        bytes: the size of the file.
        parameters: the number of weights; None: unknown.
        macs: multiply-accumulates of one run; None: unknown.
    """

    name: str
    input_shape: tuple[int, int]
    matte: MatteFunction
    invoke: Callable[[], object]
    bytes: int
    parameters: int | None = None
    macs: int | None = None


def open_model(
    text: str, input_range: str = "", input_shape: tuple[int, int] | None = None
) -> Model:
    """Opens a model for a comparison: as a `.tflite` file, or RobustVideoMatting's `.onnx` file.

    Args:
        text: an `.onnx` file or the source for `inference.network.load`, or NAME=SOURCE with a name
            for the table.
        input_range: as in `load`.
        input_shape: as in `load`.

    Raises:
        UserError: as in `load` and `RobustVideoMatting`.
    """
    # A path may hold "=", too, such as runs/lr=0.001/model.tflite; a name does not.
    label, equals, path = text.partition("=")
    if Path(text).exists() or not equals or "/" in label:
        label, path = "", text
    if Path(path).suffix == ".onnx":
        return _robust_video_matting(Path(path), label)
    network = load(path, input_range=input_range, input_shape=input_shape)
    if network.keras is None:
        return from_network(network, label or network.name.removesuffix(".tflite"))
    from portrait.export import tflite
    from portrait.models.build import for_inference

    file = tflite.convert(for_inference(network.keras), "float32")
    return from_network(from_tflite(file, label or network.name))


def from_network(network: Network, name: str = "") -> Model:
    """A network that runs as a `.tflite` file, under its own or another name."""
    interpreter, file = network.tflite.interpreter, network.tflite.file
    taken = interpreter.get_input_details()[0]
    picture = np.random.default_rng(0).uniform(0, 1, taken["shape"])
    interpreter.set_tensor(taken["index"], picture.astype(taken["dtype"]))
    return Model(
        name or network.name,
        network.input_shape,
        network.matte,
        interpreter.invoke,
        len(file),
        count_parameters(file),
        count_macs(file),
    )


def _robust_video_matting(file: Path, name: str) -> Model:
    model = RobustVideoMatting(file)
    shape = SIDE, SIDE * 3 // 4  # an upright photograph
    inputs = model.inputs(np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8))
    size = file.stat().st_size
    return Model(name or file.stem, shape, model.matte, lambda: model.run(inputs), size)


def trained_sets(source: str) -> list[str]:
    """The names of the data sets that a model was trained on, from its `run.json`.

    Args:
        source: as `open_model` takes it.

    Returns:
        Empty without this entry in a run.json, as for models of others.
    """
    path = Path(source if Path(source).exists() else source.partition("=")[2] or source)
    path = shipped_file(str(path)) or path
    folder = path if path.is_dir() else path.parent
    if not (folder / "run.json").is_file():
        return []
    return [Path(each).name for each in read_settings(folder).get("flags", {}).get("data", ())]


def latencies(models: Sequence[Model], rounds: int) -> list[dict[str, float]]:
    """Times the models in turn, once per round, each after an untimed run to warm its caches.

    Returns:
        For each model, in milliseconds, `median`, and the quartiles `low` and `high`; and
        `relative`, the median over rounds of its time divided by the first model's of that round.
    """
    times = np.empty((rounds, len(models)))
    for number in trange(rounds, desc="latency", unit=" rounds", disable=None):
        for place, model in enumerate(models):
            model.invoke()
            start = time.perf_counter()
            model.invoke()
            times[number, place] = (time.perf_counter() - start) * 1e3
    ratios = np.median(times / times[:, :1], axis=0)
    quartiles = np.percentile(times, (50, 25, 75), axis=0)
    return [
        {"median": float(median), "low": float(low), "high": float(high), "relative": float(ratio)}
        for (median, low, high), ratio in zip(quartiles.T, ratios, strict=True)
    ]


def compare(
    models: Sequence[Model],
    datasets: dict[str, list[Pair]],
    rounds: int,
    trained: Sequence[Sequence[str]] = (),
) -> dict:
    """Scores and times models.

    Args:
        models: with different names.
        datasets: the testing pairs, by the name of the set.
        rounds: timed runs of each model.
        trained: `trained_sets` of each model; empty: of none.

    Returns:
        `machine`, `rounds` and `models`: for each `name`, `bytes`, `parameters`, `macs`,
        `input_shape`, `latency_ms`, `trained_on`, and `sets` and `pictures` as `evaluate.score`
        reports them.

    Raises:
        UserError: two models have the same name, nothing could be read, or a model yields NaN.
    """
    names = Counter(model.name for model in models)
    if doubled := [name for name, count in names.items() if count > 1]:
        raise UserError(f"two models are called {doubled[0]}: write NAME=FILE.tflite")
    entries = []
    sets = trained or [()] * len(models)
    for model, latency, known in zip(models, latencies(models, rounds), sets, strict=True):
        print(f"{model.name}:", file=sys.stderr)
        scores, _ = score(model.matte, datasets)
        entries.append(
            {
                "name": model.name,
                "bytes": model.bytes,
                "parameters": model.parameters,
                "macs": model.macs,
                "input_shape": model.input_shape,
                "latency_ms": latency,
                "trained_on": list(known),
                "sets": scores["sets"],
                "pictures": scores["pictures"],
            }
        )
    return {"machine": machine(), "rounds": rounds, "models": entries}


def find_datasets(
    folders: Sequence[str], person_label: Sequence[str] = ()
) -> dict[str, list[Pair]]:
    """The testing pairs of each folder, by its name, or by its path if names are the same.

    `person_label` is as in `labels.examine`.
    """
    names = [Path(folder).resolve().name for folder in folders]
    return {
        name if names.count(name) == 1 else folder: examined_pairs(
            [folder], "testing", person_label
        )
        for name, folder in zip(names, folders, strict=True)
    }


_WEIGHTS = ("FLOAT32", "FLOAT16", "INT8", "UINT8")


def count_parameters(file: bytes) -> int:
    """The number of weights in a `.tflite` file, without shapes and other integers."""
    # float16 weights occur twice: as stored values, and as the output of a DEQUANTIZE.
    ops = [op for op in graph.read(file).ops if op.name != "DEQUANTIZE"]
    constants = {t for op in ops for t in op.inputs if t.constant and t.type in _WEIGHTS}
    return sum(int(np.prod(tensor.shape)) for tensor in constants)


def count_macs(file: bytes) -> int:
    """Multiply-accumulates of the convolutions and dense layers, as papers count them."""
    return sum(_macs(op) for op in graph.read(file).ops)


def _macs(op: graph.Op) -> int:
    kernel = [t.shape for t in op.inputs if t.constant and len(t.shape) in (2, 4)]
    if not kernel:
        return 0
    data = next((t.shape for t in op.inputs if not t.constant), ())
    made = op.outputs[0].shape
    weights = int(np.prod(kernel[0]))
    match op.name:
        case "CONV_2D" | "DEPTHWISE_CONV_2D":  # weights are used per output pixel
            return made[1] * made[2] * weights
        case "TRANSPOSE_CONV" | "CUSTOM Convolution2DTransposeBias":  # per input pixel
            return data[1] * data[2] * weights
        case "FULLY_CONNECTED":
            return weights * int(np.prod(made)) // made[-1]
    return 0
