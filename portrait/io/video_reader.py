"""Reads videos as streams of frames with times, and packets of audio."""

import os
from collections.abc import Iterator
from fractions import Fraction

import av

from portrait.io.animations import AnimationReader, is_animation
from portrait.io.hdr import HLG, PQ, ToSdr
from portrait.io.images import resize
from portrait.io.video_clocks import Clocks, is_joinable
from portrait.io.video_frames import (
    Deinterlacer,
    Frame,
    display_matrix,
    rgb,
    square_pixels,
    upright,
)
from portrait.io.video_streams import (
    VideoError,
    find_audio,
    find_decoder,
    find_video,
    open_container,
)

_RATES = Fraction(1, 100), Fraction(1000)  # plausible numbers of frames per second
_LEAST_LEFT = Fraction(1, 1000)  # seconds


def open_video(path: str | os.PathLike) -> "VideoReader | AnimationReader":
    """Opens a video file or an animated picture (GIF, PNG, WebP, AVIF) to iterate over.

    Raises:
        VideoError: the file does not exist or is not a video.
    """
    return AnimationReader(path) if is_animation(path) else VideoReader(path)


class VideoReader:
    """A video file that is decoded while it is iterated over.

    Iterating yields a `Frame` for each picture, and the packets of audio unchanged. Damaged frames
    are skipped. Times are relative to the start of the file, and jumps of its clocks are repaired,
    see `video_clocks`. All frames have the size of the first frame and square pixels. Interlaced
    frames are deinterlaced, transparent frames are composited on white, and HDR (HLG, HDR10) is
    converted to BT.709, see `hdr`.

    Attributes:
        path: the path of the file, for messages.
        time_base: the unit of `Frame.pts` in seconds.
        rate: the mean number of frames per second.
        frames: the number of frames, possibly an estimate, or None.
        audio: the audio, or None.
        broken: the number of frames so far that could not be decoded.

    Raises:
        VideoError: the file does not exist or is not a video.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = path
        self._container = open_container(path)
        try:
            self._video = find_video(self._container, path)
            self.audio = find_audio(self._container, path)
        except VideoError:
            self._container.close()
            raise
        self._decoder = find_decoder(self._video)
        transfer = self._video.codec_context.color_trc
        self._rgb = ToSdr(transfer) if transfer in (HLG, PQ) else rgb
        self._matrix = None
        self.time_base: Fraction = self._video.time_base
        self.rate = self._rate()
        self.broken = 0
        self._clocks = Clocks(self._container)
        seconds = max(self._container.duration or 0, 0) / av.time_base
        self.frames = self._video.frames or round(seconds * self.rate) or None

    def __iter__(self) -> Iterator[Frame | av.Packet]:
        waiting, count = None, 0
        for item in self._items():
            if not isinstance(item, Frame):
                yield item
                continue
            count += 1
            if waiting is not None:
                # In files, durations refer to the next frame in the order of decoding.
                waiting.duration = item.pts - waiting.pts
                yield waiting
            waiting = item
        if waiting is not None:
            waiting.duration = self._left_after(waiting.pts) or waiting.duration
            yield waiting
        if self.broken:  # if a file ends early, all remaining frames are missing
            self.broken = max(self.broken, self._video.frames - count)

    def close(self) -> None:
        self._container.close()

    def _items(self) -> Iterator[Frame | av.Packet]:
        """Frames with unfinished durations, and packets of audio."""
        whole, last_heard, shape = Deinterlacer(), None, None
        for decoded in self._decoded():
            if isinstance(decoded, av.Packet):
                # In joined recordings, the audio of the second may start too early. Packets of less
                # than a millisecond have equal times in Matroska.
                if decoded.dts is not None and (last_heard is None or decoded.dts >= last_heard):
                    last_heard = decoded.dts
                    yield decoded
                continue
            for frame in self._guarded(whole, decoded):
                for image in self._guarded(self._seen, frame):
                    shape = shape or image.shape[:2]
                    yield Frame(resize(image, shape), frame.pts, frame.duration or 0)

    def _decoded(self) -> Iterator[av.VideoFrame | av.Packet | None]:
        """Frames with increasing times, packets of audio in between, and None at the end."""
        streams = [self._video] + ([self.audio.stream] if self.audio else [])
        growing = _Growing(max(round(1 / self.rate / self.time_base), 1))
        # In joinable formats, FFmpeg marks packets before a gap as corrupt although they may be
        # complete.
        joined = is_joinable(self._container)
        for packet in self._guarded(self._packets, streams):
            self._clocks.repair(packet)
            if packet.stream is not self._video:
                yield packet
                continue
            if packet.is_corrupt and not joined:  # the packet is truncated
                self.broken += 1
                continue
            for frame in self._guarded(self._decoder.decode, packet):
                if frame.is_corrupt:
                    self.broken += 1
                    continue
                frame.pts = growing(frame.pts)
                frame.time_base = self.time_base
                self._matrix = display_matrix(frame) or self._matrix
                yield frame
        yield None

    def _packets(self, streams: list) -> Iterator[av.Packet]:
        while True:
            try:
                yield from self._container.demux(streams)
                return
            except IndexError:  # a stream that starts later, which FLV files may have
                continue

    def _seen(self, frame: av.VideoFrame) -> list:
        """A list with the frame as uint8 RGB (H, W, 3)."""
        image = square_pixels(self._rgb(frame), self._video.sample_aspect_ratio)
        return [upright(image, self._matrix)]

    def _guarded(self, function, *arguments) -> Iterator:
        """Yields the results of `function` until the file is damaged."""
        try:
            yield from function(*arguments)
        except (av.error.FFmpegError, ValueError):
            self.broken += 1

    def _rate(self) -> Fraction:
        rates = self._video.average_rate, self._video.guessed_rate
        believed = (rate for rate in rates if rate and _RATES[0] <= rate <= _RATES[1])
        return next(believed, Fraction(30))

    def _left_after(self, pts: int) -> int:
        """The time from `pts` to the end of the file; 0 if the duration is not plausible.

        The duration of MPEG-TS may end with the start of the last frame. Players would not show a
        frame of less than a millisecond, because MP4 rounds the end of a track to milliseconds.
        """
        if self._clocks.jumped or not self._video.duration:
            return 0
        start = round(self._clocks.start / self.time_base)
        left = (self._video.start_time or 0) + self._video.duration - start - pts
        return left if left * self.time_base >= _LEAST_LEFT else 0


class _Growing:
    """Makes the times of frames strictly increasing, in units of the video's time base.

    Args:
        step: the mean time between two frames.
    """

    def __init__(self, step: int):
        self._step = step
        self._last: int | None = None
        self._given: int | None = None

    def __call__(self, given: int | None) -> int:
        """The time of the next frame, from the time in the file."""
        before, self._given = self._given, given
        if self._last is None:
            self._last = given or 0
        elif given is None or given == before:
            self._last += self._step  # the time is missing or does not increase
        else:
            self._last = max(given, self._last + 1)
        return self._last
