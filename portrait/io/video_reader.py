"""Reads videos as streams of frames with PyAV (FFmpeg): times, rotation, colours, audio."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
from av.video.reformatter import Colorspace

from portrait.errors import UserError
from portrait.io.hdr import HLG, PQ, ToSdr
from portrait.io.images import resize

HD_ROWS = 720  # rows from which untagged videos are in the colours of BT.709, as players assume
_MOST_ASPECT = 4  # of a pixel; what says more is damaged
_SMPTE_170M = 6  # the matrix of BT.601 by another number, which PyAV has no name for


class VideoError(UserError):
    """A video file that cannot be used; the message names the file and the reason."""


@dataclass
class Frame:
    """A picture of a video.

    Attributes:
        image: uint8 RGB (H, W, 3), upright.
        pts: time in units of the video's time base.
        duration: in the same units; 0 where it is not known.
    """

    image: np.ndarray
    pts: int
    duration: int = 0


def rgb(frame: av.VideoFrame) -> np.ndarray:
    """A decoded frame as uint8 RGB (H, W, 3), by the matrix of its colour space."""
    space = Colorspace.ITU601 if frame.colorspace == _SMPTE_170M else frame.colorspace
    if space not in list(Colorspace):
        space = Colorspace.ITU709 if frame.height >= HD_ROWS else Colorspace.ITU601
    return frame.to_ndarray(format="rgb24", src_colorspace=space)


def upright(image: np.ndarray, rotation: float, aspect: Fraction | None = None) -> np.ndarray:
    """A frame as it is to be seen.

    Args:
        image: (H, W, 3).
        rotation: by how many degrees it is to be turned, anticlockwise.
        aspect: width by height of its pixels, which become square: none are given up for it.
    """
    height, width = image.shape[:2]
    if aspect and aspect != 1 and 1 / _MOST_ASPECT <= aspect <= _MOST_ASPECT:
        wider, higher = max(aspect, Fraction(1)), max(1 / aspect, Fraction(1))
        image = resize(image, (round(height * higher), round(width * wider)))
    turns = round(rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(image, turns)) if turns else image


class VideoReader:
    """A video file, decoded as it is iterated over.

    Iterating gives a `Frame` for each picture, and each packet of audio as it lies in the file.
    Damaged frames are passed over. Times count from the start of the file: recordings of television
    begin hours after 0. All frames get the size of the first; pixels are square. HDR (HLG, HDR10)
    becomes BT.709, see `effects.hdr`.

    Attributes:
        time_base: seconds of a unit of `Frame.pts`.
        rate: frames per second on average.
        frames: how many there are, or an estimate, or None.
        audio: the audio stream, or None.
        broken: how many frames could not be decoded so far.

    Raises:
        VideoError: no such file, or not a video.
    """

    def __init__(self, path: str | os.PathLike):
        try:
            self._container = av.open(str(path))
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise VideoError(f"{path}: not a video that can be read ({reason})") from error
        if not self._container.streams.video:
            self._container.close()
            raise VideoError(f"{path}: there is no video in it")
        self._path = path
        self._video = self._container.streams.video[0]
        self._video.thread_type = "AUTO"
        transfer = self._video.codec_context.color_trc
        self._rgb = ToSdr(transfer) if transfer in (HLG, PQ) else rgb
        self.time_base: Fraction = self._video.time_base
        self.rate = self._video.average_rate or self._video.guessed_rate or Fraction(30)
        self.audio = next(iter(self._container.streams.audio), None)
        self.broken = 0
        self._start = Fraction(max(self._container.start_time or 0, 0), av.time_base)
        seconds = (self._container.duration or 0) / av.time_base
        self.frames = self._video.frames or round(seconds * self.rate) or None

    def __iter__(self) -> Iterator[Frame | av.Packet]:
        waiting, count = None, 0
        for item in self._items():
            if not isinstance(item, Frame):
                yield item
                continue
            count += 1
            if waiting is not None:
                # Files say how long a frame takes to the next in the order of decoding.
                waiting.duration = item.pts - waiting.pts
                yield waiting
            waiting = item
        if waiting is not None:
            end = (self._video.start_time or 0) + (self._video.duration or 0)
            end -= self._ticks(self.time_base)
            waiting.duration = max(end - waiting.pts, 0) or waiting.duration
            yield waiting
        if self.broken:  # of a file that ends early, all the rest is missing
            self.broken = max(self.broken, self._video.frames - count)

    def _items(self) -> Iterator[Frame | av.Packet]:
        """The same, but for the durations."""
        streams = [self._video] + ([self.audio] if self.audio else [])
        last = shape = None
        for packet in self._packets(streams):
            if packet.stream is self.audio:
                if packet.dts is not None:
                    packet.dts -= self._ticks(packet.time_base)
                    if packet.pts is not None:
                        packet.pts -= self._ticks(packet.time_base)
                    yield packet
                continue
            if packet.is_corrupt:  # only part of it is in the file
                self.broken += 1
                continue
            for frame in self._decoded(packet):
                if frame.is_corrupt:
                    self.broken += 1
                    continue
                # A frame without a time, or one before the last, comes right after that.
                pts = None if frame.pts is None else frame.pts - self._ticks(self.time_base)
                if last is not None and (pts is None or pts <= last):
                    pts = last + 1
                last = pts or 0
                image = upright(self._rgb(frame), frame.rotation, self._video.sample_aspect_ratio)
                shape = shape or image.shape[:2]
                yield Frame(resize(image, shape), last, frame.duration or 0)

    def _ticks(self, time_base: Fraction) -> int:
        """The start of the file in units of `time_base`."""
        return round(self._start / time_base)

    def _packets(self, streams: list) -> Iterator[av.Packet]:
        try:
            yield from self._container.demux(streams)
        except av.error.FFmpegError:
            self.broken += 1  # the rest of the file is missing

    def _decoded(self, packet: av.Packet) -> list[av.VideoFrame]:
        try:
            return packet.decode()
        except av.error.FFmpegError:
            self.broken += 1
            return []

    def close(self) -> None:
        self._container.close()
