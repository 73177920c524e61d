"""Videos as numbered pictures, such as `frames/%05d.png`."""

import logging
import os
import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av

from portrait.errors import UserError
from portrait.io.files import is_same_file, refuse_overwriting
from portrait.io.images import SUFFIXES, PictureError, read_image, resize, write_picture
from portrait.io.video_frames import Frame
from portrait.io.video_streams import VideoError

log = logging.getLogger(__name__)

_NUMBER = re.compile(r"%(?:0?\d)?d")


def is_sequence(path: str | os.PathLike) -> bool:
    """Whether a path names pictures and has one place for a number, as in `frames/%05d.png`."""
    path = Path(path)
    return path.suffix.lower() in SUFFIXES and len(_NUMBER.findall(path.name)) == 1


def is_read_as_sequence(path: str | os.PathLike) -> bool:
    """Whether an input is a sequence and not a file that has such a name."""
    return is_sequence(path) and not Path(path).exists()


def refuse_overlap(
    target: str | os.PathLike,
    *sources: str | os.PathLike,
    beside: str | os.PathLike | None = None,
) -> None:
    """Raises UserError if writing a target may overwrite what it is made from.

    Args:
        target: the file or the sequence that will be written.
        sources: the files and sequences that are read.
        beside: another target of the same run, which `target` must not overwrite, either.
    """
    target = Path(target)
    refuse_overwriting(target, *sources, *([beside] if beside else []))
    if not is_sequence(target):
        return
    for source in map(Path, sources):
        files = [source]
        if is_read_as_sequence(source):
            files = [numbered(source, number) for number in _numbers(source)]
        for file in files:
            if _may_write(target, file):
                raise UserError(f"{target} could overwrite {file}: choose another folder or name")
    if beside and _may_meet(target, Path(beside)):
        raise UserError(f"{target} could overwrite {beside}: choose another folder or name")


class SequenceReader:
    """Numbered pictures with the interface of `VideoReader`.

    A missing or unreadable picture leaves a gap in the times of the frames. All frames have the
    size of the first frame.

    Args:
        pattern: the path of the pictures, with `%d` or, for numbers with leading zeros, `%05d` in
            the name.
        rate: frames per second.

    Attributes:
        path: the pattern, for messages.
        time_base: the unit of `Frame.pts` in seconds, the duration of a frame.
        rate: frames per second.
        frames: the number of pictures.
        first: the number of the frame with `pts` 0.
        audio: None.
        broken: the number of pictures so far that could not be read.

    Raises:
        VideoError: there are no such pictures.
    """

    audio = None

    def __init__(self, pattern: str | os.PathLike, rate: float):
        self.path, self.broken = Path(pattern), 0
        self.rate = Fraction(rate).limit_denominator(1001)
        self.time_base = 1 / self.rate
        self._numbers = _numbers(self.path)
        self.frames, self.first = len(self._numbers), self._numbers[0]
        gaps = self._numbers[-1] - self.first + 1 - self.frames
        if gaps:
            log.warning("%s: %d pictures of the sequence are missing", pattern, gaps)

    def __iter__(self) -> Iterator[Frame]:
        shape = None
        for number in self._numbers:
            try:
                image = read_image(numbered(self.path, number))
            except PictureError:
                self.broken += 1
                continue
            shape = shape or image.shape[:2]
            yield Frame(resize(image, shape), number - self.first, 1)

    def close(self) -> None:
        """Does nothing: the pictures are opened one by one."""


class SequenceWriter:
    """Writes frames as numbered pictures. Each picture appears complete or not at all.

    Args:
        pattern: as for `SequenceReader`. The suffix determines the format, see
            `images.write_picture`.
        first: the number of the frame with `pts` 0; None: frames are counted from 1, whatever their
            times are.
    """

    def __init__(self, pattern: str | os.PathLike, first: int | None = None):
        self._pattern, self._first, self._count = Path(pattern), first, 0

    def write(self, frame: Frame) -> None:
        """Writes a frame: uint8 (H, W), (H, W, 3) or (H, W, 4)."""
        self._count += 1
        number = self._count if self._first is None else self._first + frame.pts
        write_picture(numbered(self._pattern, number), frame.image)

    def write_audio(self, packet: av.Packet) -> None:
        """Does nothing: pictures have no sound."""

    def close(self) -> None:
        """Does nothing: every picture is complete."""


def numbered(pattern: Path, number: int) -> Path:
    """The path of one picture of a sequence."""
    return pattern.with_name(_NUMBER.sub(lambda place: place[0] % number, pattern.name))


def _may_write(pattern: Path, path: Path) -> bool:
    """Whether a picture of a sequence that will be written may replace the file `path`."""
    start, end = (re.escape(part) for part in _NUMBER.split(pattern.name))
    for place in {path, path.resolve()}:
        found = re.fullmatch(f"{start} *(\\d+){end}", place.name, re.IGNORECASE)
        if found and is_same_file(numbered(pattern, int(found[1])), place):
            return True
    return False


def _may_meet(one: Path, other: Path) -> bool:
    """Whether two sequences that will be written may have a picture of the same name."""
    if not is_sequence(other) or not is_same_file(one.parent, other.parent):
        return False
    starts, ends = zip(*(_NUMBER.split(each.name.casefold()) for each in (one, other)), strict=True)
    return _goes_on(*starts) and _goes_on(*(end[::-1] for end in ends))


def _goes_on(one: str, other: str) -> bool:
    """Whether the longer of two texts is the other, followed by nothing but digits and spaces."""
    short, long = sorted((one, other), key=len)
    return long.startswith(short) and not long[len(short) :].strip("0123456789 ")


def _numbers(pattern: Path) -> list[int]:
    """The numbers of the existing pictures in increasing order."""
    start, end = (re.escape(part) for part in _NUMBER.split(pattern.name))
    name = re.compile(f"{start} *(\\d+){end}")  # "%5d" fills up with spaces
    try:
        found = [name.fullmatch(entry.name) for entry in os.scandir(pattern.parent)]
    except OSError as error:
        raise VideoError(f"cannot list {pattern.parent}: {error.strerror or error}") from error
    numbers = {int(each[1]) for each in found if each}
    # "7.png" does not belong to "%05d.png".
    fitting = sorted(each for each in numbers if numbered(pattern, each).is_file())
    if not fitting:
        raise VideoError(f"there are no pictures {pattern}")
    return fitting
