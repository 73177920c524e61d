"""Paints photographs and videos with a trained transform network: `paint`."""

import functools
import json
import logging
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import keras
import numpy as np

from portrait.errors import UserError, printable
from portrait.io.images import TooSmallError, read_image, shrink, write_png
from portrait.io.photos import is_video, tell_unusable, without_unusable, work_through
from portrait.models.weights import load_weights, weights_file
from portrait.style_transfer import PAINTINGS, strips, transform_net
from portrait.style_transfer.colour import match_colours, with_colours_of
from portrait.style_transfer.full_size import FullSize, blend, longer_side, paint_shrunk
from portrait.style_transfer.mixes import parse_mix, style_label
from portrait.style_transfer.steady import Steady
from portrait.style_transfer.video import paint_videos
from portrait.tflite.runtime import TfliteModel

log = logging.getLogger(__name__)

_WHOLE = 1_000_000  # pixels, 2.3 GB; larger pictures take 1.4 times as long a pixel, in strips

COLOURS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "painting": lambda painted, photo: painted,
    "luminance": with_colours_of,
    "histogram": match_colours,
}
"""The values of --colours: the painting's colours, or two ways to keep the photograph's."""


def paint(
    content: Sequence[str | Path],
    style: str = "",
    weight_dir: str | Path = "",
    output: str | Path = "output",
    *,
    size: int = 512,
    strength: float = 1.0,
    colours: str = "painting",
) -> list[Path]:
    """Paints photographs and videos in one style, and prints the name of every file it writes.

    Args:
        content: files, and folders of photographs.
        style: a style or a mix, see `mixes.parse_mix`; empty: the network's first style.
        weight_dir: weights of a trained network or the folder of a run; empty: the shipped network.
        output: the folder to write into.
        size: longer side at which pictures are painted, in pixels, unless they are smaller; 0:
            their own. A smaller picture has larger strokes. Painted photographs have this size,
            videos keep their own.
        strength: the opacity of the painted picture over the photograph, 0 to 1.
        colours: a key of `COLOURS`.

    Returns:
        The files written.

    Raises:
        UserError: there is no such network or style; no picture or video can be used; nothing can
            be written.
        KeyboardInterrupt: Ctrl-C; an unfinished video is a playable file.
    """
    network, mix, style = load_style(weight_dir, style)
    label = style_label(style)
    written, unusable = [], []
    if photos := [path for path in content if not is_video(path)]:
        painter = Painter(network, mix, strength, colours)
        with without_unusable(unusable):
            written = paint_photos(painter, photos, output, label, size, content)
            print("\n".join(map(printable, written)))
    if videos := [path for path in content if is_video(path)]:
        painter = Painter(network, mix, strength, colours, os.cpu_count() or 1)
        fit = longer_side(size)

        def start() -> FullSize:
            return FullSize(painter.paint, fit, painter.finish, steady=Steady())

        with without_unusable(unusable):
            for target, frames in paint_videos(start, videos, output, label, content):
                print(f"{printable(target)}: {frames} frames")
                written.append(target)
    tell_unusable(unusable, written)
    return written


def load_style(weight_dir: str | Path, style: str) -> tuple[keras.Model, np.ndarray, str]:
    """A trained network, the share of each of its styles, and the style's name.

    Args:
        weight_dir: as for `load_network`; empty: the shipped network.
        style: see `mixes.parse_mix`.

    Raises:
        UserError: there is no such network or style.
    """
    network, names = load_network(weight_dir or PAINTINGS)
    return network, parse_mix(style, names), style or names[0]


def load_network(path: str | Path) -> tuple[keras.Model, list[str]]:
    """The network of a training, and the names of its styles.

    Args:
        path: for `weights.weights_file`; the run's `run.json` is beside the weights.

    Raises:
        UserError: one of the files is missing or is another kind of file.
    """
    weights = weights_file(path)
    about = weights.parent / "run.json"
    try:
        settings = json.loads(about.read_text())
        names, size = settings["styles"], settings["flags"]["model_size"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(
            f"{about}, which names the styles of {weights.name}, cannot be read: "
            f"{getattr(error, 'strerror', None) or error}"
        ) from error
    known = isinstance(size, str) and size in transform_net.CHANNELS
    named = isinstance(names, list) and names and all(isinstance(each, str) for each in names)
    if not (known and named):
        raise UserError(f"{about} does not name the styles and the size of a network of styles")
    network = transform_net.build(size=size, styles=len(names))
    load_weights(network, weights)
    return network, names


class Painter:
    """Paints pictures in one style or mix of styles.

    Args:
        network: the network of all styles, from `load_network`.
        mix: the share of each.
        strength: the opacity of the painted picture over the photograph, 0 to 1.
        colours: a key of `COLOURS`.
        threads: of LiteRT, for many pictures of one size, such as a video's frames: converting the
            network to a new size takes about a second. 0: the network runs on Keras.
    """

    def __init__(
        self,
        network: keras.Model,
        mix: np.ndarray,
        strength: float = 1.0,
        colours: str = "painting",
        threads: int = 0,
    ):
        self._all, self._mix = network, mix
        self._strength = np.float32(strength)
        self._colours = COLOURS[colours]
        # LiteRT files are converted by TensorFlow.
        self._threads = threads if keras.backend.backend() == "tensorflow" else 0
        self._converted: TfliteModel | None = None

    def __call__(self, photo: np.ndarray) -> np.ndarray:
        """A painted picture.

        Args:
            photo: uint8 RGB (H, W, 3), of any size from 16 x 16.

        Returns:
            uint8 RGB (H, W, 3).

        Raises:
            TooSmallError: it is smaller.
        """
        return self.finish(self.paint(photo), photo)

    def paint(self, photo: np.ndarray) -> np.ndarray:
        """What the network paints, float32 (H, W, 3) in 0..255; otherwise as `__call__`."""
        height, width = photo.shape[:2]
        if min(height, width) < transform_net.LEAST_SIZE:
            raise TooSmallError(photo.shape, transform_net.LEAST_SIZE)
        stride = transform_net.STRIDE
        more = ((0, -height % stride), (0, -width % stride), (0, 0))
        padded = np.pad(photo, more, mode="reflect")
        return self._run(padded)[:height, :width]

    def finish(self, painted: np.ndarray, photo: np.ndarray) -> np.ndarray:
        """Strength and colours: from the painted picture and the photograph to the result."""
        return blend(photo, self._colours(painted, photo), self._strength)

    @functools.cached_property
    def _network(self) -> keras.Model:
        """The network of the mix, for any size; with LiteRT, only large pictures need it."""
        return transform_net.fix_style(self._all, self._mix)

    def _run(self, photo: np.ndarray) -> np.ndarray:
        if photo.size > 3 * _WHOLE:
            return strips.paint(self._network, photo)
        if self._threads:
            return self._for_size(photo.shape[:2])(photo)
        # Not `predict`: after several sizes it traces the network for unknown sizes, which Keras's
        # bilinear enlargement does not support.
        photo = photo[None].astype(np.float32)
        return keras.ops.convert_to_numpy(self._network(photo, training=False))[0]

    def _for_size(self, shape: tuple[int, int]) -> TfliteModel:
        if self._converted is None or self._converted.input_shape != shape:
            from portrait.export.tflite import convert

            log.info("converting the style to pictures of %d x %d", shape[1], shape[0])
            fixed = transform_net.fix_style(self._all, self._mix, shape)
            self._converted = TfliteModel(convert(fixed, "float32"), "the style", self._threads)
        return self._converted


def paint_photos(
    paint: Painter,
    inputs: Iterable[str | Path],
    output: str | Path,
    label: str,
    size: int,
    taken: Iterable[str | Path] = (),
) -> list[Path]:
    """Writes `NAME_LABEL.png` for photographs.

    For NAME, for mattes and earlier results in a folder, and for photographs that cannot be used,
    see `io.photos.work_through`.

    Args:
        paint: the painter of the style.
        inputs: picture files and folders.
        output: the folder to write into; made if missing.
        label: the name of the style, see `style_label`.
        size: the longer side in pixels, see `images.shrink`.
        taken: other files that may not be overwritten.

    Returns:
        The files written.

    Raises:
        UserError: no picture could be found or used, nothing can be written.
    """

    def work(photo: Path, target: Path) -> None:
        picture = read_image(photo)
        write_png(target, paint_shrunk(paint, shrink(picture, size), picture, "size"))

    return work_through(work, inputs, output, [label], "paint", taken)
