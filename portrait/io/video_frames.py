"""Converts decoded frames for display: deinterlacing, colours, transparency, rotation."""

import itertools
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
from av.sidedata.sidedata import Type
from av.video.reformatter import Colorspace

from portrait.io.images import on_white, resize

HD_ROWS = 720  # rows from which players assume BT.709 in videos without colour tags
_MOST_ASPECT = 4  # of a pixel; larger values are damaged
_SMPTE_170M = 6  # another number of the BT.601 matrix, for which PyAV has no name


@dataclass
class Frame:
    """A frame of a video.

    Attributes:
        image: uint8 RGB (H, W, 3), upright.
        pts: the time in units of the video's time base.
        duration: the duration in the same units; 0 if unknown.
    """

    image: np.ndarray
    pts: int
    duration: int = 0


def rgb(frame: av.VideoFrame) -> np.ndarray:
    """Converts a decoded frame to uint8 RGB (H, W, 3) with the matrix of its colour space.

    A transparent frame is composited on white, like the pictures of `images.read_image`.
    """
    space = Colorspace.ITU601 if frame.colorspace == _SMPTE_170M else frame.colorspace
    if space not in list(Colorspace):
        space = Colorspace.ITU709 if frame.height >= HD_ROWS else Colorspace.ITU601
    if has_alpha(frame):
        return on_white(frame.to_ndarray(format="rgba", src_colorspace=space))
    return frame.to_ndarray(format="rgb24", src_colorspace=space)


def has_alpha(frame: av.VideoFrame) -> bool:
    """Whether the pixel format has transparency; palettes count, because they may have it."""
    form = frame.format
    return form.has_palette or any(component.is_alpha for component in form.components)


def square_pixels(image: np.ndarray, aspect: Fraction | None) -> np.ndarray:
    """Enlarges (H, W, 3) along one side, if its pixels are `aspect` times as wide as high."""
    if not aspect or aspect == 1 or not 1 / _MOST_ASPECT <= aspect <= _MOST_ASPECT:
        return image
    height, width = image.shape[:2]
    wider, higher = max(aspect, Fraction(1)), max(1 / aspect, Fraction(1))
    return resize(image, (round(height * higher), round(width * wider)))


def display_matrix(frame: av.VideoFrame) -> tuple[int, int, int, int] | None:
    """The elements a, b, c, d of the frame's display matrix, or None without one.

    A pixel at (x, y) is displayed at (a x + c y, b x + d y), up to a shift.
    """
    for data in frame.side_data:
        if data.type == Type.DISPLAYMATRIX and data.buffer_size >= 36:
            a, b, _, c, d, *_ = struct.unpack("=9i", bytes(data)[:36])
            return a, b, c, d
    return None


def upright(image: np.ndarray, matrix: tuple[int, int, int, int] | None) -> np.ndarray:
    """Applies a display matrix to (H, W, 3), rounded to multiples of 90 degrees."""
    if matrix is None:
        return image
    a, b, c, d = matrix
    if abs(b) + abs(c) > abs(a) + abs(d):
        image = image.swapaxes(0, 1)
        a, d = c, b
    image = image[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]
    return np.ascontiguousarray(image)


class Deinterlacer:
    """Deinterlaces frames with FFmpeg's bwdif; progressive frames pass through unchanged.

    The number of frames stays the same. bwdif needs the next frame, so from the first interlaced
    frame on, the output is one frame late.
    """

    def __init__(self):
        self._graph: av.filter.Graph | None = None
        self._layout: tuple | None = None

    def __call__(self, frame: av.VideoFrame | None) -> Iterator[av.VideoFrame]:
        """Takes the next frame, or None at the end, and returns the frames that are ready."""
        layout = frame and (frame.width, frame.height, frame.format.name)
        if self._graph is not None and layout != self._layout:
            self._graph.push(None)
            yield from self._pull()
            self._graph = None
        if frame is None:
            return
        if self._graph is None:
            if not frame.interlaced_frame:
                yield frame
                return
            self._graph, self._layout = _deinterlacing(frame), layout
        self._base = frame.time_base
        self._graph.push(frame)
        yield from self._pull()

    def _pull(self) -> Iterator[av.VideoFrame]:
        while True:
            try:
                frame = self._graph.pull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return
            scale = frame.time_base / self._base  # the filter halves the time base
            frame.pts, frame.duration = round(frame.pts * scale), round(frame.duration * scale)
            frame.time_base = self._base
            yield frame


def _deinterlacing(frame: av.VideoFrame) -> av.filter.Graph:
    graph = av.filter.Graph()
    nodes = [
        graph.add_buffer(
            width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base
        ),
        graph.add("bwdif", "mode=send_frame:parity=auto:deint=interlaced"),
        graph.add("buffersink"),
    ]
    for node, following in itertools.pairwise(nodes):
        node.link_to(following)
    graph.configure()
    return graph
