"""Opens video files, and finds the streams that players choose."""

import errno
import io
import logging
import os
from dataclasses import dataclass
from pathlib import Path

import av

from portrait.errors import UserError

log = logging.getLogger(__name__)

MOST_PIXELS = 70_000_000  # of a frame: twice 8K; decoders keep several frames in memory
_BUFFER = 1 << 17  # bytes that are read at once
_WITH_ALPHA = {"vp8": "libvpx", "vp9": "libvpx-vp9"}  # FFmpeg's own decoders drop alpha


class VideoError(UserError):
    """A video file that cannot be used; the message names the file and the reason."""


@dataclass(frozen=True)
class Audio:
    """The sound of a video.

    Attributes:
        stream: whose packets a reader gives.
        sample: the first of them, read by itself, or None: containers are asked whether they take
            such packets before there are any.
    """

    stream: av.AudioStream
    sample: av.Packet | None


def open_container(path: str | os.PathLike) -> av.container.InputContainer:
    """Opens a video file with FFmpeg.

    FFmpeg gets the bytes, not the name, which it would take for the address of a server where a
    colon is in it. No protocol is allowed: a playlist opens no other file and no connection.

    Raises:
        VideoError: no such file, or not a video.
    """
    try:
        file = _Bytes(path)
    except OSError as error:
        raise VideoError(f"{path}: {error.strerror or error}") from error
    try:
        return av.open(
            file,
            container_options={"protocol_whitelist": "none"},
            options={"max_pixels": str(MOST_PIXELS)},
            metadata_errors="replace",
            buffer_size=_BUFFER,
        )
    except (av.error.FFmpegError, OSError, ValueError) as error:
        file.close()
        reason = getattr(error, "strerror", None) or str(error)
        raise VideoError(f"{path}: not a video that can be read ({reason})") from error


def find_video(container: av.container.InputContainer, path: str | os.PathLike) -> av.VideoStream:
    """The stream that players show: never the cover of a recording.

    Raises:
        VideoError: there is no video, or only of codecs that FFmpeg does not know.
    """
    streams = [
        stream
        for stream in _best_first(container, "video")
        if not stream.disposition & av.stream.Disposition.attached_pic
    ]
    if not streams:
        raise VideoError(f"{path}: there is no video in it")
    known = [stream for stream in streams if stream.codec_context is not None]
    if not known:
        raise VideoError(f"{path}: the codec of its video is not known")
    return known[0]


def find_audio(container: av.container.InputContainer, path: str | os.PathLike) -> Audio | None:
    """The first stream, in the order of players, whose codec is known; None without sound."""
    streams = _best_first(container, "audio")
    known = [stream for stream in streams if stream.codec_context is not None]
    if streams and not known:
        log.warning("%s: the codec of its sound is not known, the result is silent", path)
    return Audio(known[0], _first_packet(path, known[0].index)) if known else None


def find_decoder(video: av.VideoStream) -> av.CodecContext:
    """What decodes the packets of a stream, with its alpha where it has one."""
    context = video.codec_context
    name = _WITH_ALPHA.get(context.name)
    if name and video.metadata.get("alpha_mode", video.metadata.get("ALPHA_MODE")) == "1":
        context = av.CodecContext.create(name, "r")
        context.extradata = video.codec_context.extradata
        context.width, context.height = video.codec_context.width, video.codec_context.height
    context.thread_type = "AUTO"
    return context


def _best_first(container: av.container.InputContainer, kind: str) -> list[av.stream.Stream]:
    """The streams of one kind; the one that FFmpeg's players take comes first."""
    streams = list(getattr(container.streams, kind))
    best = container.streams.best(kind)
    return sorted(streams, key=lambda stream: stream is not best)


def _first_packet(path: str | os.PathLike, index: int) -> av.Packet | None:
    try:
        with open_container(path) as container:
            return next(each for each in container.demux(container.streams[index]) if each.size)
    except (VideoError, av.error.FFmpegError, ValueError, LookupError, StopIteration):
        return None


class _Bytes(io.FileIO):
    """A file as FFmpeg reads it; of its name, which is a hint at the format, only the suffix."""

    def __init__(self, path: str | os.PathLike):
        super().__init__(path)
        self.name = f"video{Path(path).suffix}"

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        try:
            return super().seek(offset, whence)
        except (OSError, OverflowError):
            return -errno.EINVAL  # a place that is not, in a damaged file
