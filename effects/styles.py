"""Style networks as plain functions from a picture to the painted picture."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from effects.networks import SHIPPED, open_tflite
from files import UserError
from preprocess import resize
from quiet import start_keras

PaintFunction = Callable[[np.ndarray], np.ndarray]
"""From uint8 RGB (H, W, 3) to the painted picture, of the same shape and type."""

_SIDE = 720  # pixels that a network paints at most: its strokes do not grow with the picture


def load(style: str, threads: int = 1) -> PaintFunction:
    """Loads a style.

    Args:
        style: a `.tflite` file of one style, which needs no Keras; weights that `stylize.py` has
            trained, or the folder of its run, whose first style is taken; or a style of the shipped
            network, or a mix such as "udnie:2,great_wave:1".
        threads: of a `.tflite` file.

    Raises:
        UserError: no such style.
    """
    path = Path(style)
    if path.suffix == ".tflite":
        return _load_tflite(path, threads)
    start_keras()
    from style_transfer import apply

    there = path.exists()
    network, names = apply.load_network(path if there else SHIPPED / "style" / "paintings")
    painter = apply.Painter(network, apply.parse_mix("" if there else style, names))

    def paint(picture: np.ndarray) -> np.ndarray:
        return resize(painter(apply.fit(picture, _SIDE)), picture.shape[:2])

    return paint


def _load_tflite(path: Path, threads: int) -> PaintFunction:
    interpreter = open_tflite(path, threads)
    taken, given = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    shape = tuple(taken["shape"].tolist())
    fits = len(shape) == 4 and shape[3] in (3, 4) and taken["dtype"] == np.float32
    if not fits or tuple(given["shape"].tolist()) != (*shape[:3], 3):
        raise UserError(f"{path} is not a network from a picture (1, H, W, 3) to a picture")
    batch = np.full(shape, 255, np.float32)

    def paint(picture: np.ndarray) -> np.ndarray:
        batch[0, :, :, :3] = resize(picture, shape[1:3])
        interpreter.set_tensor(taken["index"], batch)
        interpreter.invoke()
        painted = np.rint(interpreter.get_tensor(given["index"])[0]).clip(0, 255)
        return resize(painted.astype(np.uint8), picture.shape[:2])

    return paint
