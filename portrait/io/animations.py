"""Animated pictures (GIF, PNG, WebP, AVIF) as videos without sound, which browsers show them as."""

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
_SHORTEST = 20  # milliseconds; browsers show a frame of less for `_INSTEAD`
_INSTEAD = 100


def is_animation(path: str | os.PathLike) -> bool:
    """Whether a file is a picture of several frames, whatever its name; False if it is missing."""
    try:
        with Path(path).open("rb") as file:
            start = file.read(12)
            if not start.startswith(_STARTS) and start[4:] != b"ftypavis":
                return False
            file.seek(0)
            with Image.open(file, formats=_FORMATS) as picture:
                return picture.is_animated
    except Exception:  # Pillow raises whatever it stumbles over; whoever reads the file will say so
        return False


class AnimationReader:
    """What `VideoReader` is of a video: the frames of an animated picture, shown once.

    Attributes:
        path: of the file, for messages.
        time_base: seconds of a unit of `Frame.pts`: a millisecond.
        rate: frames per second, by the first frame.
        frames: how many there are.
        audio: None.
        broken: how many frames could not be decoded so far.

    Raises:
        VideoError: no such file, or not an animated picture.
    """

    time_base, audio = Fraction(1, 1000), None

    def __init__(self, path: str | os.PathLike):
        self.path, self.broken = path, 0
        try:
            self._picture = open_picture(read_bytes(path), path)
            width, height = self._picture.size
            if width * height > MOST_PIXELS:
                raise PictureError(f"{path}: frames of {width} x {height} pixels are too large")
            self.frames = self._picture.n_frames
            self._picture.load()
            self.rate = Fraction(1000, self._duration())
        except PictureError as error:
            raise VideoError(str(error)) from error
        except Exception as error:
            raise VideoError(f"{path}: damaged or truncated ({first_line(error)})") from error

    def __iter__(self) -> Iterator[Frame]:
        time, shape = 0, None
        for number in range(self.frames):
            try:
                self._picture.seek(number)
                image = oriented(to_rgb(self._picture, self.path), orientation(self._picture))
                duration = self._duration()
            except Exception:  # Pillow's decoders raise whatever they stumble over
                self.broken += self.frames - number
                return
            shape = shape or image.shape[:2]
            yield Frame(resize(image, shape), time, duration)
            time += duration

    def close(self) -> None:
        self._picture.close()

    def _duration(self) -> int:
        """Milliseconds for which the present frame is shown."""
        duration = round(self._picture.info.get("duration", 0))
        return duration if duration >= _SHORTEST else _INSTEAD
