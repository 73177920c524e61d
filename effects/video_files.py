"""Reads and writes videos as streams of frames with PyAV (FFmpeg): times, rotation, audio."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace

from effects.hdr import HLG, PQ, ToSdr
from files import UserError
from preprocess import resize

WRITABLE = (".mp4", ".m4v", ".mov", ".mkv", ".webm")
TRANSPARENT = (".mov", ".webm")

_AUDIO_RATE = 48_000
_NOT_IN_MOV = ("opus", "flac")  # FFmpeg counts them in, and refuses them when it begins the file
_SMPTE_170M = 6  # the matrix of BT.601 by another number, which PyAV has no name for
_MOST_ASPECT = 4  # of a pixel; what says more is damaged
_HD = 720  # rows from which untagged videos are in the colours of BT.709, as players assume


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
        space = Colorspace.ITU709 if frame.height >= _HD else Colorspace.ITU601
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


class VideoWriter:
    """A video file that is written frame by frame.

    The codec follows from the name: H.264 (`.mp4 .m4v .mov .mkv`) or VP9 (`.webm`); with
    transparency ProRes 4444 (`.mov`) or VP9 (`.webm`). Audio is copied as it is where the container
    takes it, and else encoded anew.

    Args:
        path: of the file.
        shape: of the frames: (H, W), (H, W, 3) or (H, W, 4), the last with transparency. Odd sizes
            lose a row or column, for H.264 and VP9 halve the colours.
        time_base: seconds of a unit of `Frame.pts`.
        rate: frames per second on average.
        audio: the stream whose packets will be written, or None.

    Raises:
        UserError: the container cannot hold it.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        shape: tuple[int, ...],
        time_base: Fraction,
        rate: Fraction,
        audio: av.AudioStream | None = None,
    ):
        suffix = Path(path).suffix.lower()
        check_target(path, transparent=len(shape) == 3 and shape[2] == 4)
        codec, pixels, options = _encoding(suffix, len(shape) == 3 and shape[2] == 4)
        self._size = (shape[0], shape[1]) if codec == "prores_ks" else _even(shape)
        if min(self._size) < 2:
            raise UserError(f"{path}: a video needs at least 2 x 2 pixels")
        flags = {"movflags": "+faststart"} if suffix in (".mp4", ".m4v", ".mov") else {}
        self._container = av.open(str(path), "w", container_options=flags)
        self._video = self._container.add_stream(codec, rate=rate, options=options)
        self._video.height, self._video.width = self._size
        self._video.pix_fmt = pixels
        self._video.codec_context.time_base = time_base
        self._video.codec_context.thread_type = "AUTO"
        self._video.codec_context.colorspace = Colorspace.ITU709
        self._video.codec_context.color_primaries = self._video.codec_context.color_trc = 1
        self._video.codec_context.color_range = ColorRange.MPEG
        self._durations: dict[int, int] = {}
        self._audio = self._resampler = None
        if audio is not None:
            self._add_audio(audio)

    def write(self, frame: Frame) -> None:
        """Encodes a frame: uint8 of the shape that was promised."""
        image = np.ascontiguousarray(frame.image[: self._size[0], : self._size[1]])
        layout = "gray" if image.ndim == 2 else "rgb24" if image.shape[2] == 3 else "rgba"
        picture = av.VideoFrame.from_ndarray(image, format=layout).reformat(
            format=self._video.pix_fmt,
            dst_colorspace=Colorspace.ITU709,
            dst_color_range=ColorRange.MPEG,
        )
        picture.pts, picture.duration = frame.pts, frame.duration
        picture.time_base = self._video.codec_context.time_base
        self._durations[frame.pts] = frame.duration
        self._mux(self._video.encode(picture))

    def write_audio(self, packet: av.Packet) -> None:
        """Adds a packet of the audio stream."""
        if self._resampler is None:
            packet.stream = self._audio
            self._container.mux(packet)
            return
        try:
            sounds = packet.decode()
        except av.error.FFmpegError:
            return  # a gap of some milliseconds
        for sound in sounds:
            for part in self._resampler.resample(sound):
                self._container.mux(self._audio.encode(part))

    def close(self) -> None:
        """Writes what the encoders still hold, and finishes the file."""
        self._mux(self._video.encode())
        if self._resampler is not None:
            for part in self._resampler.resample(None):
                self._container.mux(self._audio.encode(part))
            self._container.mux(self._audio.encode())
        self._container.close()

    def _mux(self, packets: list[av.Packet]) -> None:
        for packet in packets:
            # Encoders take all frames to be of average length, which shows in the last one's.
            if duration := self._durations.pop(packet.pts, 0):
                packet.duration = duration
            self._container.mux(packet)

    def _add_audio(self, audio: av.AudioStream) -> None:
        name = audio.codec_context.codec.canonical_name
        refused = self._container.format.name == "mov" and name in _NOT_IN_MOV
        if audio.codec_context.name in self._container.supported_codecs and not refused:
            self._audio = self._container.add_stream_from_template(audio)
            return
        codec = "libopus" if self._container.format.name == "webm" else "aac"
        self._audio = self._container.add_stream(codec, rate=_AUDIO_RATE)
        self._audio.layout = "stereo" if audio.codec_context.channels > 1 else "mono"
        self._resampler = av.AudioResampler(
            self._audio.format,
            self._audio.layout,
            _AUDIO_RATE,
            frame_size=960 if codec == "libopus" else 1024,
        )


def check_target(path: str | os.PathLike, transparent: bool) -> None:
    """Looks whether a video can be written under this name.

    Raises:
        UserError: an unknown container, or one without transparency where that is wanted.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in WRITABLE:
        raise UserError(f"{path}: a video is written as one of {', '.join(WRITABLE)}")
    if transparent and suffix not in TRANSPARENT:
        raise UserError(f"{path}: transparent video needs {' or '.join(TRANSPARENT)}")


def _encoding(suffix: str, transparent: bool) -> tuple[str, str, dict[str, str]]:
    """Codec, pixel format and the codec's options."""
    if suffix == ".webm":
        options = {"deadline": "realtime", "cpu-used": "6", "row-mt": "1", "crf": "24", "b": "0"}
        if transparent:
            options["auto-alt-ref"] = "0"  # VP9 with alpha cannot have such frames
        return "libvpx-vp9", "yuva420p" if transparent else "yuv420p", options
    if transparent:
        return "prores_ks", "yuva444p10le", {"profile": "4444", "vendor": "apl0"}
    return "libx264", "yuv420p", {"preset": "veryfast", "crf": "18"}


def _even(shape: tuple[int, ...]) -> tuple[int, int]:
    return shape[0] // 2 * 2, shape[1] // 2 * 2
