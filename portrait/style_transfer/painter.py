"""Paints photographs with a trained transform network."""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import keras
import numpy as np

from portrait.errors import UserError
from portrait.io.images import TooSmallError, read_image, shrink, write_png
from portrait.io.photos import work_through
from portrait.models.weights import load_weights, weights_file
from portrait.style_transfer import transform_net
from portrait.style_transfer.colour import match_colours, with_colours_of

COLOURS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "painting": lambda painted, photo: painted,
    "luminance": with_colours_of,
    "histogram": match_colours,
}
"""Whose colours a painted photograph has: the painting's, or in two ways the photograph's."""


def load_network(path: str | Path) -> tuple[keras.Model, list[str]]:
    """The network of all styles that a training made, and the names of these.

    Args:
        path: as `runs.weights_file` takes it; the run's `run.json` lies beside the weights.

    Raises:
        UserError: one of the files is missing or is something else.
    """
    weights = weights_file(path)
    about = weights.parent / "run.json"
    try:
        settings = json.loads(about.read_text())
        names, size = settings["styles"], settings["flags"]["model_size"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{about}, which names the styles of {weights.name}, cannot be read: "
            f"{getattr(error, 'strerror', None) or error}"
        ) from error
    network = transform_net.build(size=size, styles=len(names))
    load_weights(network, weights)
    return network, names


def parse_mix(text: str, names: Sequence[str]) -> np.ndarray:
    """The share of each style that a text such as "udnie" or "udnie:2,great_wave:1" asks for.

    Args:
        text: names with weights (1 if left out); the empty text is the first style.
        names: of the network's styles.

    Returns:
        float32 (styles,), with a sum of 1.

    Raises:
        UserError: an unknown name or a weight that is not a positive number.
    """
    mix = np.zeros(len(names), np.float32)
    for part in (text or names[0]).split(","):
        name, _, weight = part.strip().partition(":")
        if name not in names:
            raise UserError(f"there is no style {name!r}; the styles are {', '.join(names)}")
        try:
            share = float(weight or 1)
        except ValueError:
            share = -1.0
        if not 0 < share < float("inf"):
            raise UserError(f"--style={text}: write NAME:WEIGHT with a weight above 0")
        mix[names.index(name)] += share
    return mix / mix.sum()


class Painter:
    """Paints pictures in one style or mix of styles.

    Args:
        network: of all styles, as `load_network` gives it.
        mix: the share of each.
        strength: of the painted picture over the photograph, 0 to 1.
        colours: a key of `COLOURS`.
    """

    def __init__(
        self,
        network: keras.Model,
        mix: np.ndarray,
        strength: float = 1.0,
        colours: str = "painting",
    ):
        self._network = transform_net.fix_style(network, mix)
        self._strength = np.float32(strength)
        self._colours = COLOURS[colours]

    def __call__(self, photo: np.ndarray) -> np.ndarray:
        """A painted picture.

        Args:
            photo: uint8 RGB (H, W, 3), of any size from 16 x 16.

        Returns:
            uint8 RGB (H, W, 3).

        Raises:
            TooSmallError: it is smaller.
        """
        height, width = photo.shape[:2]
        if min(height, width) < transform_net.LEAST_SIZE:
            raise TooSmallError(photo, transform_net.LEAST_SIZE)
        stride = transform_net.STRIDE
        more = ((0, -height % stride), (0, -width % stride), (0, 0))
        padded = np.pad(photo, more, mode="reflect").astype(np.float32)
        # Not `predict`: it compiles for each size, and then for sizes that are not known before,
        # which Keras's bilinear enlargement does not take.
        painted = keras.ops.convert_to_numpy(self._network(padded[None], training=False))
        painted = painted[0, :height, :width]
        return blend(photo, self._colours(painted, photo), self._strength)


def blend(photo: np.ndarray, painted: np.ndarray, strength: float) -> np.ndarray:
    """A painted picture over its photograph, both (H, W, 3) in 0..255: uint8 (H, W, 3)."""
    photo = photo.astype(np.float32)
    return np.rint(photo + np.float32(strength) * (painted - photo)).astype(np.uint8)


def paint_photos(
    paint: Painter,
    inputs: Iterable[str | Path],
    output: str | Path,
    label: str,
    size: int,
) -> list[Path]:
    """Writes `NAME_LABEL.png` for photographs.

    For NAME, for mattes and earlier results in a folder, and for photographs that cannot be used,
    see `photographs`.

    Args:
        paint: as which style.
        inputs: picture files and folders.
        output: the folder to write into; made if missing.
        label: of the style, see `style_label`.
        size: of the longer side, see `preprocess.shrink`.

    Returns:
        The files written.

    Raises:
        UserError: no picture could be found or used, nothing can be written.
    """

    def work(photo: Path, target: Path) -> None:
        write_png(target, paint(shrink(read_image(photo), size)))

    return work_through(work, inputs, output, [label], "paint")


def style_label(style: str) -> str:
    """What a style or mix is called in the names of files: "udnie:2,great_wave" gives
    "udnie-2-great_wave"."""
    return re.sub(r"[^\w.]+", "-", style)
