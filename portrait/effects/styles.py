"""Style networks as functions from a picture, or the frames of a video, to the painted picture."""

import functools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from portrait.backend import start_keras
from portrait.errors import UserError
from portrait.io.images import shrunk
from portrait.style_transfer import PAINTINGS
from portrait.style_transfer.full_size import FullSize, PaintFunction, blend, longer_side
from portrait.style_transfer.steady import Steady
from portrait.tflite.runtime import TfliteModel

_SIDE = 720  # longer side in pixels at which photos are painted, at most
_VIDEO_SIDES = 320, 480  # of frames, which are painted at half their size: at least, at most


@dataclass(frozen=True)
class Style:
    """A style: called with a picture, uint8 RGB (H, W, 3), it gives the painted picture.

    Attributes:
        photo: paints a picture; see `FullSize`.
        video: makes the function that paints the frames of one video, in order.
    """

    photo: PaintFunction
    video: Callable[[], PaintFunction]

    def __call__(self, picture: np.ndarray) -> np.ndarray:
        return self.photo(picture)


def shipped_names() -> list[str]:
    """The styles of the shipped network."""
    return json.loads((PAINTINGS / "run.json").read_text())["styles"]


def load(style: str, threads: int = 1, size: int = 0, strength: float = 1.0) -> Style:
    """Loads a style.

    Args:
        style: a style of the shipped network; a `.tflite` file of one style, which does not need
            Keras; or weights trained by `stylize.py`, or the run's folder. Weights can be followed
            by `:STYLE`, otherwise their first style is used. A style can also be a mix, such as
            "udnie:2,great_wave:1".
        threads: the number of threads for a `.tflite` file, and for videos.
        size: the longer side at which pictures are painted before they are enlarged to their own
            size; 0: at most 720 pixels, and frames of videos at half their size, which is taken
            for 320 to 480 pixels. A `.tflite` file has its own size.
        strength: the opacity of the painted picture over the picture, 0 to 1.

    Raises:
        UserError: there is no such style.
    """
    path = Path(style)
    if path.suffix == ".tflite":
        return _load_tflite(path, threads, strength)
    trained, _, mix = (style, "", "") if path.exists() else style.partition(":")
    own = Path(trained).exists()
    weights, mix = (Path(trained), mix) if own else (PAINTINGS, style)
    return _painter(weights, mix, threads, size, strength)


def _painter(
    weights: Path, style: str, threads: int = 1, size: int = 0, strength: float = 1.0
) -> Style:
    """The network of `weights` in a style or mix; empty: its first style."""
    start_keras()
    from portrait.style_transfer.painter import Painter, load_style

    network, mix, _ = load_style(weights, style)
    still = Painter(network, mix, strength)

    @functools.cache
    def moving() -> Painter:
        return Painter(network, mix, strength, threads=threads)

    def video() -> FullSize:
        fit = longer_side(size) if size else video_size
        return FullSize(moving().paint, fit, still.finish, steady=Steady(), flag="paint_size")

    fit = longer_side(size or _SIDE)
    return Style(FullSize(still.paint, fit, still.finish, flag="paint_size"), video)


def video_size(shape: Sequence[int]) -> tuple[int, int]:
    """The size at which frames of (H, W) are painted, unless another is asked for."""
    least, most = _VIDEO_SIDES
    return shrunk(shape, min(most, max(least, max(shape) // 2)))


def load_shipped(style: str) -> Style:
    """Loads a style or a mix of styles of the shipped network; never opens another file.

    Raises:
        UserError: there is no such style.
    """
    shipped = shipped_names()
    if unknown := {part.partition(":")[0].strip() for part in style.split(",")} - set(shipped):
        raise UserError(f"there is no style {min(unknown)!r}: the styles are {', '.join(shipped)}")
    return _painter(PAINTINGS, style)


def _load_tflite(path: Path, threads: int, strength: float) -> Style:
    model = TfliteModel(path, path.name, threads)
    if model.output_shape != (*model.input_shape, 3):
        raise UserError(f"{path} is not a network from a picture to a picture of its size")
    height, width = model.input_shape

    def fit(shape: Sequence[int]) -> tuple[int, int]:
        scale = min(height / shape[0], width / shape[1])
        return max(1, round(scale * shape[0])), max(1, round(scale * shape[1]))

    def paint(picture: np.ndarray) -> np.ndarray:
        rows, columns = picture.shape[:2]
        # Mirrored pixels fill the network's size, so that strokes keep their proportions.
        sides = 0, height - rows, 0, width - columns
        padded = cv2.copyMakeBorder(picture, *sides, cv2.BORDER_REFLECT)
        return model(padded)[:rows, :columns]

    def finish(painted: np.ndarray, picture: np.ndarray) -> np.ndarray:
        return blend(picture, painted, strength)

    work = paint, fit, finish
    return Style(FullSize(*work), lambda: FullSize(*work, steady=Steady()))
