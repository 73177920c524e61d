"""Reads animated pictures (GIF, PNG, WebP, AVIF) as videos without sound."""

import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

from PIL import Image

from portrait.errors import first_line
from portrait.io.decode import PictureError, open_picture, orientation, oriented, read_bytes
from portrait.io.images import resize, to_rgb
from portrait.io.video_frames import Frame
from portrait.io.video_streams import MOST_PIXELS, VideoError

_FORMATS = ("GIF", "PNG", "WEBP", "AVIF")
_STARTS = (b"GIF8", b"\x89PNG", b"RIFF")
_TOO_SHORT = 10  # milliseconds; browsers show such frames, and shorter ones, for `_INSTEAD`
_INSTEAD = 100


def is_animation(path: str | os.PathLike) -> bool:
    """Whether a file contains an animated picture, whatever its name; False if it is missing."""
    try:
        with Path(path).open("rb") as file:
            start = file.read(12)
            if not start.startswith(_STARTS) and start[4:] != b"ftypavis":
                return False
            file.seek(0)
            with Image.open(file, formats=_FORMATS) as picture:
                return picture.is_animated
    except Exception:  # Pillow raises many types; reading the file later reports the error
        return False


class AnimationReader:
    """The frames of an animated picture, once, with the interface of `VideoReader`.

    Attributes:
        path: the path of the file, for messages.
        time_base: the unit of `Frame.pts` in seconds, a millisecond.
        rate: frames per second, from the duration of the first frame.
        frames: the number of frames.
        audio: None.
        broken: the number of frames so far that could not be decoded.

    Raises:
        VideoError: the file does not exist or is not an animated picture.
    """

    time_base, audio = Fraction(1, 1000), None

    def __init__(self, path: str | os.PathLike):
        self.path, self.broken = path, 0
        try:
            self._picture = open_picture(read_bytes(path), path)
            width, height = self._picture.size
            if width * height > MOST_PIXELS:
                raise PictureError(f"{path}: frames of {width} x {height} pixels are too large")
            # A PNG may begin with a picture for programs that show no animations.
            self._first = int(getattr(self._picture, "default_image", False))
            self.frames = self._picture.n_frames - self._first
            self._picture.seek(self._first)
            self._picture.load()
            self.rate = 1000 / Fraction(self._duration()).limit_denominator(1001)
        except PictureError as error:
            raise VideoError(str(error)) from error
        except Exception as error:
            raise VideoError(f"{path}: damaged or truncated ({first_line(error)})") from error

    def __iter__(self) -> Iterator[Frame]:
        time, shape = 0.0, None
        for number in range(self.frames):
            try:
                self._picture.seek(self._first + number)
                image = oriented(to_rgb(self._picture, self.path), orientation(self._picture))
                duration = self._duration()
            except Exception:  # Pillow's decoders raise many types of exceptions
                self.broken += self.frames - number
                return
            shape = shape or image.shape[:2]
            # Rounded durations would add up to another length at 30 or 60 frames per second.
            start, time = time, time + duration
            yield Frame(resize(image, shape), round(start), round(time) - round(start))

    def close(self) -> None:
        self._picture.close()

    def _duration(self) -> float:
        """The duration of the current frame in milliseconds."""
        duration = self._picture.info.get("duration", 0)
        return duration if duration > _TOO_SHORT else _INSTEAD
