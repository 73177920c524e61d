"""Trained networks as plain functions from a small picture to a small alpha.

Two engines run them: TFLite, the default, which starts in a tenth of a second, and Keras, which
only `load_keras` imports.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from files import UserError
from quiet import start_keras, stderr_kept_back

if TYPE_CHECKING:
    from ai_edge_litert.interpreter import Interpreter

SHIPPED = Path(__file__).resolve().parent.parent / "trained_models"
DEFAULT = "fast_scnn"


@dataclass(frozen=True)
class Network:
    """A network of fixed input size.

    Attributes:
        name: for messages.
        input_shape: (height, width) that it takes.
        run: RGB 0..255 (height, width, 3), uint8 or float32, to float32 (height, width), 0..1.
    """

    name: str
    input_shape: tuple[int, int]
    run: Callable[[np.ndarray], np.ndarray]


def shipped_names() -> list[str]:
    """The networks in `trained_models/` that have a `.tflite` file."""
    return sorted(path.parent.name for path in SHIPPED.glob("*/*_float16.tflite"))


def load(model: str = DEFAULT, engine: str = "tflite", threads: int = 1) -> Network:
    """Loads a network.

    Args:
        model: the name of a folder of `trained_models/`; a `.tflite` file that `main.py
            --convert=True` wrote; or a `.weights.h5` file of a run or of `trained_models/`. A file
            decides on the engine by itself.
        engine: "tflite" or "keras".
        threads: of the TFLite engine.

    Raises:
        UserError: no such network, or not a network of this project.
    """
    path = Path(model)
    if path.suffix == ".tflite":
        return load_tflite(path, threads)
    if path.suffix == ".h5":
        return load_keras(path)
    if model not in (names := shipped_names()):
        raise UserError(
            f"there is no network {model!r}: give {' or '.join(names)}, a .tflite or a .weights.h5"
        )
    if engine == "keras":
        return load_keras(SHIPPED / model / f"{model}.weights.h5")
    return load_tflite(SHIPPED / model / f"{model}_float16.tflite", threads)


def load_tflite(path: str | os.PathLike, threads: int = 1) -> Network:
    """Loads a file with one input, RGB or RGBA 0..255, and one output, the alpha.

    Float files and fully quantised ones (`int8`, `uint8`) are taken alike.

    Raises:
        UserError: no such file, or not such a network.
    """
    interpreter = open_tflite(path, threads)
    taken, given = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    shape, answer = tuple(taken["shape"].tolist()), tuple(given["shape"].tolist())
    if len(shape) != 4 or shape[3] not in (3, 4) or answer != (1, *shape[1:3], 1):
        raise UserError(
            f"{path} takes {shape} and gives {answer}, not a picture (1, H, W, 3 or 4) and its"
            " alpha (1, H, W, 1)"
        )
    batch = np.full(shape, 255, taken["dtype"])
    step, zero = given["quantization"]

    def run(image: np.ndarray) -> np.ndarray:
        batch[0, :, :, :3] = image
        interpreter.set_tensor(taken["index"], batch)
        interpreter.invoke()
        alpha = interpreter.get_tensor(given["index"])[0, :, :, 0]
        return alpha if not step else (alpha.astype(np.float32) - zero) * np.float32(step)

    return Network(Path(path).name, shape[1:3], run)


def open_tflite(path: str | os.PathLike, threads: int = 1) -> "Interpreter":
    """An interpreter with its tensors allocated.

    Raises:
        UserError: no such file, or not a TFLite file.
    """
    from ai_edge_litert.interpreter import Interpreter

    if not Path(path).is_file():
        raise UserError(f"there is no file {path}")
    try:
        with stderr_kept_back():  # LiteRT tells that it uses XNNPACK
            interpreter = Interpreter(str(path), num_threads=threads)
            interpreter.allocate_tensors()
    except (RuntimeError, ValueError) as error:
        reason = (str(error).splitlines() or ["unknown"])[0]
        raise UserError(f"{path} is not a TFLite file that can be run: {reason}") from error
    return interpreter


def load_keras(weights: str | os.PathLike) -> Network:
    """Loads weights into the network that they are of.

    Which one it is says `run.json` beside a checkpoint; else the folder's name is the network's, as
    in `trained_models/`, and the input is 256 x 192.

    Raises:
        UserError: no such file, or no known network.
    """
    start_keras()
    import keras

    import models
    from preprocess import parse_input_shape
    from runs import Run

    weights = Path(weights)
    if (weights.parent / "run.json").is_file():
        flags = Run(weights.parent).settings()["flags"]
        name, size, shape = flags["model"], flags["model_size"], flags["input_shape"]
    else:
        folder = weights.resolve().parent.name
        name = next((each for each in models.MODELS if folder.startswith(each)), folder)
        size, shape = folder.removeprefix(name).lstrip("_"), "256"
    model = models.build(name, parse_input_shape(shape), size or "big")
    models.load_weights(model, weights)
    network = models.for_inference(model)

    def run(image: np.ndarray) -> np.ndarray:
        batch = keras.ops.convert_to_tensor(image[np.newaxis].astype(np.float32))
        return keras.ops.convert_to_numpy(network(batch, training=False))[0, :, :, 0]

    return Network(weights.name, network.input_shape[1:3], run)
