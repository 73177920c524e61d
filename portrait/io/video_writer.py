"""Writes video files with PyAV (FFmpeg)."""

import os
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from av.video.reformatter import ColorRange, Colorspace

from portrait.errors import UserError
from portrait.io.audio_writer import audio_track
from portrait.io.images import TooSmallError
from portrait.io.video_frames import Frame
from portrait.io.video_streams import Audio

WRITABLE = (".mp4", ".m4v", ".mov", ".mkv", ".webm")
TRANSPARENT = (".mov", ".webm")


class VideoWriter:
    """A video file that is written frame by frame.

    The suffix determines the codec: H.264 (`.mp4 .m4v .mov .mkv`) or VP9 (`.webm`), and with
    transparency ProRes 4444 (`.mov`) or VP9 (`.webm`). For the audio, see `audio_writer`.

    Args:
        path: the path of the file.
        shape: the shape of the frames: (H, W), (H, W, 3), or (H, W, 4) with transparency. If a side
            is odd, the last row or column is dropped, because chroma is subsampled by 2.
        time_base: the unit of `Frame.pts` in seconds.
        rate: the mean number of frames per second.
        audio: the audio whose packets will be written, or None.

    Raises:
        TooSmallError: a side has less than 2 pixels.
        UserError: the container does not support such a video.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        shape: tuple[int, ...],
        time_base: Fraction,
        rate: Fraction,
        audio: Audio | None = None,
    ):
        suffix = Path(path).suffix.lower()
        check_target(path, transparent=len(shape) == 3 and shape[2] == 4)
        codec, pixels, options = _encoding(suffix, len(shape) == 3 and shape[2] == 4)
        self._size = (shape[0], shape[1]) if codec == "prores_ks" else _even(shape)
        if min(self._size) < 2:
            raise TooSmallError(shape, 2)
        flags = {"movflags": "+faststart"} if suffix in (".mp4", ".m4v", ".mov") else {}
        # With an explicit protocol, because a name may contain a colon.
        self._container = av.open(f"file:{path}", "w", container_options=flags)
        self._video = self._container.add_stream(codec, rate=rate, options=options)
        self._video.height, self._video.width = self._size
        self._video.pix_fmt = pixels
        self._video.codec_context.time_base = time_base
        self._video.codec_context.thread_type = "AUTO"
        self._video.codec_context.colorspace = Colorspace.ITU709
        self._video.codec_context.color_primaries = self._video.codec_context.color_trc = 1
        self._video.codec_context.color_range = ColorRange.MPEG
        self._durations: dict[int, int] = {}
        self._audio = None if audio is None else audio_track(self._container, audio)

    def write(self, frame: Frame) -> None:
        """Encodes a frame, a uint8 array of the writer's `shape`."""
        image = np.ascontiguousarray(frame.image[: self._size[0], : self._size[1]])
        if image.ndim == 2:  # of grey, FFmpeg's YUV is a level too dark, and not neutral
            image = cv2.merge([image] * 3)
        layout = "rgb24" if image.shape[2] == 3 else "rgba"
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
        self._audio.write(packet)

    def close(self) -> None:
        """Flushes the encoders and finishes the file."""
        self._mux(self._video.encode())
        if self._audio is not None:
            self._audio.close()
        self._container.close()

    def _mux(self, packets: list[av.Packet]) -> None:
        for packet in packets:
            # Encoders give every frame the mean duration, which is wrong for the last frame.
            if duration := self._durations.pop(packet.pts, 0):
                packet.duration = duration
            self._container.mux(packet)


def check_target(path: str | os.PathLike, transparent: bool) -> None:
    """Checks that the suffix is a supported video format.

    Raises:
        UserError: the format is unknown, or `transparent` and the format has no transparency.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in WRITABLE:
        raise UserError(f"{path}: videos can be written as {', '.join(WRITABLE)}")
    if transparent and suffix not in TRANSPARENT:
        raise UserError(f"{path}: transparent video needs {' or '.join(TRANSPARENT)}")


def _encoding(suffix: str, transparent: bool) -> tuple[str, str, dict[str, str]]:
    """The codec, the pixel format, and the codec's options."""
    if suffix == ".webm":
        options = {"deadline": "realtime", "cpu-used": "6", "row-mt": "1", "crf": "24", "b": "0"}
        if transparent:
            options["auto-alt-ref"] = "0"  # not supported by VP9 with alpha
        return "libvpx-vp9", "yuva420p" if transparent else "yuv420p", options
    if transparent:
        return "prores_ks", "yuva444p10le", {"profile": "4444", "vendor": "apl0"}
    return "libx264", "yuv420p", {"preset": "veryfast", "crf": "18"}


def _even(shape: tuple[int, ...]) -> tuple[int, int]:
    return shape[0] // 2 * 2, shape[1] // 2 * 2
