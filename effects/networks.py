"""Trained networks as plain functions from a small picture to a small alpha.

Two engines run them: TFLite, the default, which starts in a tenth of a second, and Keras, which
only `load_keras` imports.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from files import UserError
from quiet import start_keras
from tflite_model import TfliteModel

SHIPPED = Path(__file__).resolve().parent.parent / "trained_models"
DEFAULT = "lite_unet_big_288x224"


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


def shipped_files() -> dict[str, Path]:
    """The float16 `.tflite` files of RGB in `trained_models/`, by the name of the network.

    NAME takes 256 x 192 pixels, NAME_HEIGHTxWIDTH as many as it says.
    """
    files = sorted(SHIPPED.glob("*/*_float16.tflite"))
    names = {file.name.removesuffix("_float16.tflite"): file for file in files}
    return {name: file for name, file in names.items() if not name.endswith("_rgba")}


def load(
    model: str = DEFAULT, engine: str = "tflite", threads: int = 1, input_range: str = ""
) -> Network:
    """Loads a network.

    Args:
        model: a name in `shipped_files`; a `.tflite` file, of `main.py --convert=True` or of
            others; a `.weights.h5` file of a run or of `trained_models/`; or the folder of a run.
            A file decides on the engine by itself.
        engine: "tflite" or "keras".
        threads: of the TFLite engine.
        input_range: of a `.tflite` file that does not say what it takes, see
            `segmenters.INPUT_RANGES`.

    Raises:
        UserError: no such network, or not a network for people.
    """
    path = Path(model)
    if path.suffix == ".tflite":
        return load_tflite(path, threads, input_range)
    if path.suffix == ".h5":
        return load_keras(path)
    if path.is_dir():
        from runs import weights_file

        return load_keras(weights_file(path))
    files = shipped_files()
    if model not in files:
        raise UserError(
            f"there is no network {model!r}: give {' or '.join(files)}, a .tflite or a "
            ".weights.h5 file, or the folder of a run"
        )
    file = files[model]
    if engine == "tflite":
        return load_tflite(file, threads)
    size = model.removeprefix(file.parent.name).removeprefix("_")
    return load_keras(file.parent / f"{file.parent.name}.weights.h5", size)


def load_tflite(path: str | os.PathLike, threads: int = 1, input_range: str = "") -> Network:
    """Loads a file with one input, RGB or RGBA, and one output, the alpha.

    Float files and fully quantised ones (`int8`, `uint8`) are taken alike.

    Raises:
        UserError: no such file, not such a network, or it is not known what pixels it takes.
    """
    from segmenters import normalise

    name = Path(path).name
    model = TfliteModel(path, name, threads)
    if model.output_shape != (*model.input_shape, 1):
        raise UserError(f"{name} makes no alpha of its input's size: it is no network for people")
    normalise(model, Path(path).read_bytes(), name, input_range)
    return Network(name, model.input_shape, lambda image: model(image)[..., 0])


def load_keras(weights: str | os.PathLike, input_shape: str = "") -> Network:
    """Loads weights into the network that they are of, as `runs.network_of` says.

    Args:
        weights: a `.weights.h5` file.
        input_shape: HEIGHTxWIDTH of the pictures that it is to take; empty: as it was trained.

    Raises:
        UserError: no such file, or no known network.
    """
    weights = Path(weights)
    if not weights.is_file():
        raise UserError(f"there is no {weights}")
    start_keras()
    import keras

    import models
    from preprocess import parse_input_shape
    from runs import network_of

    found = network_of(weights)
    if not found:
        raise UserError(
            f"{weights}: of which network is it? There is no run.json beside it, and its folder is "
            f"not called after one ({', '.join(shipped_files())}, ...)"
        )
    name, size, shape = found["model"], found["model_size"], input_shape or found["input_shape"]
    model = models.build(name, parse_input_shape(shape), size)
    models.load_weights(model, weights)
    network = models.for_inference(model)

    def run(image: np.ndarray) -> np.ndarray:
        batch = keras.ops.convert_to_tensor(image[np.newaxis].astype(np.float32))
        return keras.ops.convert_to_numpy(network(batch, training=False))[0, :, :, 0]

    return Network(weights.name, network.input_shape[1:3], run)
