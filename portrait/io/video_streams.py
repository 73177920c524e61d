"""Opens video files, and finds the streams that players show."""

import errno
import io
import logging
import os
from dataclasses import dataclass
from pathlib import Path

import av

from portrait.errors import UserError

log = logging.getLogger(__name__)

MOST_PIXELS = 70_000_000  # per frame, twice 8K; decoders keep several frames in memory
_BUFFER = 1 << 17  # bytes per read
_WITH_ALPHA = {"vp8": "libvpx", "vp9": "libvpx-vp9"}  # FFmpeg's own decoders drop alpha


class VideoError(UserError):
    """A video file that cannot be used; the message names the file and the reason."""


@dataclass(frozen=True)
class Audio:
    """The audio of a video.

    Attributes:
        stream: the stream of the packets that a reader yields.
        sample: the first packet of the stream, or None. It is read in advance to find out whether a
            container accepts such packets.
    """

    stream: av.AudioStream
    sample: av.Packet | None


def open_container(path: str | os.PathLike) -> av.container.InputContainer:
    """Opens a video file with FFmpeg.

    FFmpeg gets the bytes instead of the name, because it would interpret a name with a colon as an
    address. Protocols are disabled, so that a playlist cannot open other files or connections.

    Raises:
        VideoError: the file does not exist or is not a video.
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
    """Finds the video stream that players show, which is never a cover picture.

    Raises:
        VideoError: there is no video, or FFmpeg does not support its codec.
    """
    streams = [
        stream
        for stream in _best_first(container, "video")
        if not stream.disposition & av.stream.Disposition.attached_pic
    ]
    if not streams:
        raise VideoError(f"{path}: the file contains no video")
    known = [stream for stream in streams if stream.codec_context is not None]
    if not known:
        raise VideoError(f"{path}: the video's codec is not supported")
    return known[0]


def find_audio(container: av.container.InputContainer, path: str | os.PathLike) -> Audio | None:
    """Finds the first audio stream, in the order of players, with a supported codec, or None."""
    streams = _best_first(container, "audio")
    known = [stream for stream in streams if stream.codec_context is not None]
    if streams and not known:
        log.warning("%s: the audio's codec is not supported, the result has no audio", path)
    return Audio(known[0], _first_packet(path, known[0].index)) if known else None


def find_decoder(video: av.VideoStream) -> av.CodecContext:
    """Finds the decoder of a stream, one that supports alpha if the stream has alpha."""
    context = video.codec_context
    name = _WITH_ALPHA.get(context.name)
    if name and video.metadata.get("alpha_mode", video.metadata.get("ALPHA_MODE")) == "1":
        context = av.CodecContext.create(name, "r")
        context.extradata = video.codec_context.extradata
        context.width, context.height = video.codec_context.width, video.codec_context.height
    context.thread_type = "AUTO"
    context.options = {"max_pixels": str(MOST_PIXELS)}  # the container's are not the decoder's
    return context


def _best_first(container: av.container.InputContainer, kind: str) -> list[av.stream.Stream]:
    """The streams of one kind, with the stream that FFmpeg considers best first."""
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
    """A file for FFmpeg; its name is only the suffix, which is a hint at the format."""

    def __init__(self, path: str | os.PathLike):
        super().__init__(path)
        self.name = f"video{Path(path).suffix}"

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        try:
            return super().seek(offset, whence)
        except (OSError, OverflowError):
            return -errno.EINVAL  # an invalid offset in a damaged file
