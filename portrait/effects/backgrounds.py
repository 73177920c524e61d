"""The backgrounds of `replace`: a colour, a picture, or a video that plays along."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import ImageColor

from portrait.errors import UserError
from portrait.io.images import read_image
from portrait.io.photos import is_video
from portrait.io.video_frames import Frame
from portrait.io.video_reader import open_video

BackgroundFunction = Callable[[float], np.ndarray]
"""From a time in seconds to uint8 RGB (h, w, 3), or a colour (3,)."""


def load(text: str) -> BackgroundFunction:
    """Reads `--background`.

    Args:
        text: a colour ("white", "#3060a0", "rgb(10, 20, 30)"), a picture file or a video file.

    Raises:
        UserError: `text` is none of these.
    """
    path = Path(text)
    if is_video(path):
        return _Clip(path)
    if not path.is_file():
        try:
            return plain(text)
        except UserError as error:
            if not path.suffix or "(" in text:
                raise UserError(
                    f"--background={text}: write a colour (white, #3060a0), a picture or a video"
                ) from error
    picture = read_image(path)
    return lambda time: picture


def plain(colour: str) -> BackgroundFunction:
    """One colour ("white", "#3060a0", "rgb(10, 20, 30)") as a background.

    Raises:
        UserError: it is not a colour.
    """
    try:
        rgb = np.array(ImageColor.getrgb(colour)[:3]).clip(0, 255).astype(np.uint8)
    except ValueError as error:
        raise UserError(f"{colour!r} is not a colour such as white or #3060a0") from error
    return lambda time: rgb


class _Clip:
    """The frames of a repeating video by time. An earlier time starts it again."""

    def __init__(self, path: Path):
        self._path = path
        self._start()

    def _start(self) -> None:
        self._frames = _over_and_over(self._path)
        self._now, self._next = next(self._frames), next(self._frames)

    def __call__(self, time: float) -> np.ndarray:
        if time < self._now[0]:
            self._start()
        while self._next[0] <= time:
            self._now, self._next = self._next, next(self._frames)
        return self._now[1]


def _over_and_over(path: Path) -> Iterator[tuple[float, np.ndarray]]:
    """Yields (time in seconds, picture) of a video's frames, repeated endlessly."""
    begin = 0.0
    while True:
        with contextlib.closing(open_video(path)) as reader:
            base, step = float(reader.time_base), float(1 / reader.rate)
            first = last = None
            for item in reader:
                if isinstance(item, Frame):
                    first = item.pts if first is None else first
                    last = begin + (item.pts - first) * base
                    step = item.duration * base or step
                    yield last, item.image
        if last is None:
            raise UserError(f"{path}: none of its frames can be decoded")
        begin = last + step
