"""Style networks as plain functions from a picture to the painted picture."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from portrait.backend import start_keras
from portrait.errors import UserError
from portrait.io.images import resize, shrink
from portrait.style_transfer import PAINTINGS
from portrait.tflite.runtime import TfliteModel

PaintFunction = Callable[[np.ndarray], np.ndarray]
"""From uint8 RGB (H, W, 3) to the painted picture, of the same shape and type."""

_SIDE = 720  # longer side in pixels, at most: strokes do not grow with the picture


def shipped_names() -> list[str]:
    """The styles of the shipped network."""
    return json.loads((PAINTINGS / "run.json").read_text())["styles"]


def load(style: str, threads: int = 1) -> PaintFunction:
    """Loads a style.

    Args:
        style: a style of the shipped network; a `.tflite` file of one style, which does not need
            Keras; or weights trained by `stylize.py`, or the run's folder. Weights can be followed
            by `:STYLE`, otherwise their first style is used. A style can also be a mix, such as
            "udnie:2,great_wave:1".
        threads: the number of threads for a `.tflite` file.

    Raises:
        UserError: there is no such style.
    """
    path = Path(style)
    if path.suffix == ".tflite":
        return _load_tflite(path, threads)
    trained, _, mix = (style, "", "") if path.exists() else style.partition(":")
    own = Path(trained).exists()
    return _painter(Path(trained) if own else PAINTINGS, mix if own else style)


def _painter(weights: Path, style: str) -> PaintFunction:
    """The network of `weights` in a style or mix; empty: its first style."""
    start_keras()
    from portrait.style_transfer.painter import Painter, load_style

    network, mix, _ = load_style(weights, style)
    painter = Painter(network, mix)

    def paint(picture: np.ndarray) -> np.ndarray:
        return resize(painter(shrink(picture, _SIDE)), picture.shape[:2])

    return paint


def load_shipped(style: str) -> PaintFunction:
    """Loads a style or a mix of styles of the shipped network; never opens another file.

    Raises:
        UserError: there is no such style.
    """
    shipped = shipped_names()
    if unknown := {part.partition(":")[0].strip() for part in style.split(",")} - set(shipped):
        raise UserError(f"there is no style {min(unknown)!r}: the styles are {', '.join(shipped)}")
    return _painter(PAINTINGS, style)


def _load_tflite(path: Path, threads: int) -> PaintFunction:
    model = TfliteModel(path, path.name, threads)
    if model.output_shape != (*model.input_shape, 3):
        raise UserError(f"{path} is not a network from a picture to a picture of its size")

    def paint(picture: np.ndarray) -> np.ndarray:
        painted = np.rint(model(resize(picture, model.input_shape))).clip(0, 255)
        return resize(painted.astype(np.uint8), picture.shape[:2])

    return paint
