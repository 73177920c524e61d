"""A trained network as a function from a picture to its alpha: `load`.

`.tflite` files run on LiteRT, without TensorFlow; `.weights.h5` files run on Keras.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from portrait.backend import start_keras
from portrait.errors import UserError
from portrait.io.images import resize
from portrait.models.registry import DEFAULT, parse_input_shape, takes_alpha
from portrait.models.weights import SHIPPED, load_weights, network_of, weights_file
from portrait.tflite.metadata import stated_name, stated_normalization
from portrait.tflite.runtime import TfliteModel

INPUT_RANGES = {"0..1": (0.0, 255.0), "-1..1": (127.5, 127.5), "0..255": (0.0, 1.0)}
"""(mean, std) of the normalisation (pixel - mean) / std of pixels in 0..255."""

MatteFunction = Callable[[np.ndarray], np.ndarray]
"""From a photograph, uint8 RGB (H, W, 3), to its alpha, float32 (H, W), 0..1."""


@dataclass(frozen=True)
class Network:
    """A trained network with a fixed input size.

    Attributes:
        name: the name for tables and messages.
        input_shape: (height, width) of the input.
        run: from RGB 0..255 (height, width, 3), uint8 or float32, to float32 (height, width), 0..1.
            If `takes_previous`, a fourth channel may be given: the alpha of the frame before,
            0..255. Without it, there is none, as for a photograph and the first frame of a video.
        channels: the number of input channels: 3, or 4 for RGBA, which `run` makes opaque, or for
            the alpha of the frame before.
        takes_previous: whether the fourth input channel is the alpha of the frame before.
        input_range: (mean, std) of the normalisation (pixel - mean) / std that `run` applies.
        tflite: the model of a `.tflite` file; None for Keras.
        keras: the Keras model of weights; None for a `.tflite` file.
    """

    name: str
    input_shape: tuple[int, int]
    run: Callable[[np.ndarray], np.ndarray]
    channels: int = 3
    takes_previous: bool = False
    input_range: tuple[float, float] = INPUT_RANGES["0..255"]
    tflite: TfliteModel | None = None
    keras: Any = None

    def matte(self, image: np.ndarray) -> np.ndarray:
        """Estimates the alpha of a photograph, which is resized to the input as in training.

        Args:
            image: uint8 RGB (H, W, 3), of any size.

        Returns:
            float32 (H, W), 0..1, enlarged bilinearly.
        """
        alpha = self.run(resize(image, self.input_shape).astype(np.float32))
        return resize(alpha, image.shape[:2]).clip(0, 1)


def shipped_files() -> dict[str, Path]:
    """The float16 `.tflite` files for RGB in `trained_models/`, by the name of the network.

    The refiner is none of them, because it needs a coarse alpha. A name ends in _HEIGHTxWIDTH if
    the input size is not the default of the network.
    """
    files = sorted(SHIPPED.glob("*/*_float16.tflite"))
    files = [file for file in files if takes_alpha(file.parent.name) != "coarse"]
    names = {file.name.removesuffix("_float16.tflite"): file for file in files}
    return {name: file for name, file in names.items() if not name.endswith("_rgba")}


def shipped_file(name: str) -> Path | None:
    """The file of a name in `shipped_files` or of a folder in `trained_models/`; None: neither."""
    files = shipped_files()
    return files.get(name) or {file.parent.name: file for file in files.values()}.get(name)


def load(
    source: str | os.PathLike = DEFAULT,
    *,
    input_range: str = "",
    input_shape: tuple[int, int] | None = None,
    threads: int = 1,
) -> Network:
    """Loads a trained network.

    Args:
        source: a name of `shipped_file`; a `.tflite` file, ours or another's; a `.weights.h5` file
            with a `run.json` beside it; or the folder of a run.
        input_range: a key of `INPUT_RANGES`, for a `.tflite` file without this metadata.
        input_shape: (height, width) for weights; None: the input size of their training.
        threads: the number of threads for a `.tflite` file.

    Raises:
        UserError: there is no such network or input range, or it does not segment people.
    """
    if input_range and input_range not in INPUT_RANGES:
        raise UserError(f"--input_range={input_range}: give {' or '.join(INPUT_RANGES)}")
    path = Path(source)
    if path.suffix == ".tflite":
        return from_tflite(path, path.name, input_range, threads)
    if path.suffix == ".h5" or path.is_dir():
        return _from_weights(weights_file(path), input_shape)
    file = shipped_file(str(source))
    if file is None:
        raise UserError(
            f"there is no network {str(source)!r}: give {' or '.join(shipped_files())}, a .tflite "
            "or a .weights.h5 file, or the folder of a run"
        )
    return from_tflite(file, str(source), threads=threads)


def check_input_range(network: Network, input_range: str) -> None:
    """Raises UserError if `input_range` was given to `load` and has no effect on the network."""
    model = network.tflite
    takes = model and model.takes_floats and not network.takes_previous
    if input_range and (not takes or stated_normalization(model.file, network.name)):
        raise UserError(
            f"--input_range has no effect on {network.name}, whose range is known: leave it out"
        )


def from_tflite(
    file: str | os.PathLike | bytes, name: str, input_range: str = "", threads: int = 1
) -> Network:
    """Loads a `.tflite` file with one picture as its input and an alpha as its last output.

    The input is RGB; RGBA, which is made opaque; or RGB and the alpha of the frame before, if the
    metadata name such a network. It is quantised, or float with the range of NormalizationOptions
    in the metadata or of `input_range`; with an alpha of the frame before, always 0..255.

    Args:
        file: a path, or the bytes of a file.
        name: the name for tables and messages.
        input_range: see `load`.
        threads: the number of threads.

    Raises:
        UserError: the file does not exist or is not such a model, or its input range is unknown.
    """
    model = TfliteModel(file, name, threads)
    if model.output_shape != (*model.input_shape, 1):
        raise UserError(f"{name}: the output is not an alpha of the input's size")
    if model.channels > 4:
        raise UserError(
            f"{name} refines the alphas of other networks; the shipped one works with "
            "--refine=learned"
        )
    input_numbers = INPUT_RANGES["0..255"]
    takes = model.channels == 4 and takes_alpha(stated_name(model.file, name)) == "previous"
    if model.takes_floats and not takes:
        stated = stated_normalization(model.file, name)
        if not stated and input_range not in INPUT_RANGES:
            raise UserError(
                f"{name} has no metadata with the range of its input: give --input_range="
                f"{' or '.join(INPUT_RANGES)} (MediaPipe's models take 0..1)"
            )
        input_numbers = stated or INPUT_RANGES[input_range]
        model.normalise(*input_numbers)

    def run(image: np.ndarray) -> np.ndarray:
        return model(image)[..., 0]

    return Network(
        name,
        model.input_shape,
        _with_previous(run) if takes else run,
        model.channels,
        takes,
        input_numbers,
        tflite=model,
    )


def from_keras(model, name: str = "") -> Network:
    """Wraps a Keras model of this process.

    Args:
        model: a network from `models.build.build` or `models.build.for_inference`.
        name: the name for tables and messages; empty: the model's name.
    """
    takes = takes_alpha(model.name) == "previous"
    return Network(
        name or model.name,
        model.input_shape[1:3],
        _with_previous(_runner(model)) if takes else _runner(model),
        model.input_shape[3],
        takes,
        keras=model,
    )


def _runner(model) -> Callable[[np.ndarray], np.ndarray]:
    def run(image: np.ndarray) -> np.ndarray:
        result = model.predict_on_batch(image[np.newaxis].astype(np.float32))
        alpha = result["output"] if isinstance(result, dict) else result
        return np.asarray(alpha, np.float32)[0, :, :, 0]

    return run


def _with_previous(run: Callable[[np.ndarray], np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
    """Lets `run` also take pictures without a previous alpha, which is then empty."""

    def completed(image: np.ndarray) -> np.ndarray:
        if image.shape[2] == 3:
            image = np.dstack([image, np.zeros(image.shape[:2], image.dtype)])
        return run(image)

    return completed


def _from_weights(weights: Path, input_shape: tuple[int, int] | None) -> Network:
    if not weights.is_file():
        raise UserError(f"there is no {weights}")
    found = network_of(weights)
    if not found:
        raise UserError(
            f"{weights}: the network is unknown, because there is no run.json in its folder"
        )
    start_keras()
    from portrait.models.build import build

    shape = input_shape or parse_input_shape(found["input_shape"])
    model = build(found["model"], shape, found["model_size"])
    load_weights(model, weights)
    return from_keras(model, weights.name)
