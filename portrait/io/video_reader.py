"""Reads videos as streams of frames: times, whole pictures, colours, audio."""

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

_RATES = Fraction(1, 100), Fraction(1000)  # frames per second that are believed


def open_video(path: str | os.PathLike) -> "VideoReader | AnimationReader":
    """Opens a video file, or an animated picture (GIF, PNG, WebP, AVIF), to iterate over.

    Raises:
        VideoError: no such file, or not a video.
    """
    return AnimationReader(path) if is_animation(path) else VideoReader(path)


class VideoReader:
    """A video file, decoded as it is iterated over.

    Iterating gives a `Frame` for each picture, and each packet of audio as it lies in the file.
    Damaged frames are passed over. Times count from the start of the file and go on where its
    clocks jump, see `video_clocks`. All frames get the size of the first; pixels are square.
    Interlaced frames become whole, transparent ones lie on white, HDR (HLG, HDR10) becomes BT.709,
    see `hdr`.

    Attributes:
        path: of the file, for messages.
        time_base: seconds of a unit of `Frame.pts`.
        rate: frames per second on average.
        frames: how many there are, or an estimate, or None.
        audio: the sound, or None.
        broken: how many frames could not be decoded so far.

    Raises:
        VideoError: no such file, or not a video.
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
                # Files say how long a frame takes to the next in the order of decoding.
                waiting.duration = item.pts - waiting.pts
                yield waiting
            waiting = item
        if waiting is not None:
            waiting.duration = self._left_after(waiting.pts) or waiting.duration
            yield waiting
        if self.broken:  # of a file that ends early, all the rest is missing
            self.broken = max(self.broken, self._video.frames - count)

    def close(self) -> None:
        self._container.close()

    def _items(self) -> Iterator[Frame | av.Packet]:
        """The same, but for the durations."""
        whole, last_heard, shape = Deinterlacer(), None, None
        for decoded in self._decoded():
            if isinstance(decoded, av.Packet):
                # Where two recordings are joined, the sound of the second may begin too early.
                if decoded.dts is not None and (last_heard is None or decoded.dts > last_heard):
                    last_heard = decoded.dts
                    yield decoded
                continue
            for frame in self._guarded(whole, decoded):
                for image in self._guarded(self._seen, frame):
                    shape = shape or image.shape[:2]
                    yield Frame(resize(image, shape), frame.pts, frame.duration or 0)

    def _decoded(self) -> Iterator[av.VideoFrame | av.Packet | None]:
        """Frames whose times grow, None at their end, and packets of audio between them."""
        streams = [self._video] + ([self.audio.stream] if self.audio else [])
        growing = _Growing(max(round(1 / self.rate / self.time_base), 1))
        # There, what lies before a gap is called corrupt, although it may be whole.
        joined = is_joinable(self._container)
        for packet in self._guarded(self._packets, streams):
            self._clocks.repair(packet)
            if packet.stream is not self._video:
                yield packet
                continue
            if packet.is_corrupt and not joined:  # only part of it is in the file
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
            except IndexError:  # a packet of a stream that begins later, as those of FLV may
                continue

    def _seen(self, frame: av.VideoFrame) -> list:
        """The frame as uint8 RGB (H, W, 3), alone in a list."""
        image = square_pixels(self._rgb(frame), self._video.sample_aspect_ratio)
        return [upright(image, self._matrix)]

    def _guarded(self, function, *arguments) -> Iterator:
        """What `function` gives one by one, up to where the file is damaged."""
        try:
            yield from function(*arguments)
        except (av.error.FFmpegError, ValueError):
            self.broken += 1

    def _rate(self) -> Fraction:
        rates = self._video.average_rate, self._video.guessed_rate
        believed = (rate for rate in rates if rate and _RATES[0] <= rate <= _RATES[1])
        return next(believed, Fraction(30))

    def _left_after(self, pts: int) -> int:
        """The time from `pts` to the end that the file states; 0 if it says nothing of use."""
        if self._clocks.jumped or not self._video.duration:
            return 0
        start = round(self._clocks.start / self.time_base)
        return max((self._video.start_time or 0) + self._video.duration - start - pts, 0)


class _Growing:
    """Times of frames, each after the last, in units of the video's time base.

    Args:
        step: from frame to frame, on average.
    """

    def __init__(self, step: int):
        self._step = step
        self._last: int | None = None
        self._given: int | None = None

    def __call__(self, given: int | None) -> int:
        """The time of the next frame, from what its file gives."""
        before, self._given = self._given, given
        if self._last is None:
            self._last = given or 0
        elif given is None or given == before:
            self._last += self._step  # there is no clock, or it stands still
        else:
            self._last = max(given, self._last + 1)
        return self._last
