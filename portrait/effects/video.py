"""Effects on videos and webcams."""

import logging
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from tqdm import tqdm

from portrait.backend import stderr_kept_back
from portrait.effects.catalogue import Effects
from portrait.effects.pipeline import Pipeline
from portrait.effects.smoothing import Smoother
from portrait.effects.windows import coarse_alpha, look, only_people, still_hold, windows_around
from portrait.errors import UserError
from portrait.inference.network import Network
from portrait.io.animations import AnimationReader
from portrait.io.files import refuse_overwriting
from portrait.io.images import Window, resize
from portrait.io.video_frames import Frame
from portrait.io.video_reader import VideoReader, open_video
from portrait.io.video_writer import check_target, write_video
from portrait.matting.refine import refine_guided

log = logging.getLogger(__name__)

_LOOK_AGAIN = 15  # frames between two searches for people in the whole picture
_WEBCAM_BASE = Fraction(1, 1000)


class VideoMatter:
    """Computes the alphas of a video's frames in order; one object for each video.

    The network sees windows around the people of the previous frame, and the whole picture every 15
    frames.

    Args:
        network: the network for the alpha.
        smooth: whether to smooth the alphas, see `smoothing`.
    """

    def __init__(self, network: Network, smooth: bool = True):
        self._network = network
        self._smoother = Smoother() if smooth else None
        self._windows: list[Window] = []
        self._before: np.ndarray | None = None
        self._frames = 0

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Computes the alpha, float32 (H, W), of the next frame, uint8 RGB (H, W, 3)."""
        return refine_guided(image, self.coarse(image))

    def coarse(self, image: np.ndarray) -> np.ndarray:
        """Computes the alpha of the next frame on the grid, float32 (h, w)."""
        alpha = self._look(image)
        if self._smoother:
            alpha = self._smoother(resize(image, alpha.shape), alpha)
        self._before = only_people(alpha, self._before)
        self._place(self._before, image)
        self._frames += 1
        return self._before

    def _look(self, image: np.ndarray) -> np.ndarray:
        if self._frames % _LOOK_AGAIN == 0 or not self._windows:
            seen = coarse_alpha(self._network, image)
            known = seen if self._before is None else np.maximum(seen, self._before)
            self._place(known, image)
            if not self._windows:
                return seen
        return look(self._network, image, self._windows)

    def _place(self, alpha: np.ndarray, image: np.ndarray) -> None:
        """Moves the windows, but only if people come close to their edges: moves may be visible."""
        found = windows_around(alpha, image.shape, self._network.input_shape)
        if not still_hold(self._windows, found, alpha, image.shape):
            self._windows = found


@dataclass(frozen=True)
class Outcome:
    """Counts of a video's frames: written, damaged and without people.

    `complete` is False after Ctrl-C.
    """

    frames: int
    broken: int
    empty: int
    complete: bool


def apply_to_video(
    source: str | os.PathLike,
    target: str | os.PathLike,
    effects: Effects,
    network: Network,
    smooth: bool = True,
) -> Outcome:
    """Applies effects to a video file.

    Timestamps (also of variable rates), duration and audio are preserved; rotated videos are turned
    upright. Damaged frames are skipped and counted. Ctrl-C leaves a playable file.

    Args:
        source: the video file.
        target: the file to write; its suffix determines the format, see `VideoWriter`.
        effects: the effects.
        network: the network for the alpha.
        smooth: whether to smooth the alphas.

    Raises:
        UserError: the video cannot be read, the target cannot be written, or all frames are
            damaged.
    """
    refuse_overwriting(target, source)
    check_target(target, "cutout" in effects.names)
    reader = open_video(source)
    bar = tqdm(total=reader.frames, desc=Path(source).name, unit=" frames", disable=None)
    try:
        with bar:
            matter = VideoMatter(network, smooth)
            outcome = _convert(reader, target, effects, matter, bar.update)
    finally:
        reader.close()
    if outcome.broken:
        log.warning("%s: %d damaged frames left out", source, outcome.broken)
    if outcome.empty:
        log.warning(
            "%s: nobody was found in %d of %d frames", source, outcome.empty, outcome.frames
        )
    return outcome


def record_webcam(
    number: int,
    target: str | os.PathLike,
    effects: Effects,
    network: Network,
    smooth: bool = True,
) -> Outcome:
    """Applies effects to a webcam's frames until Ctrl-C, and writes a video file.

    Raises:
        UserError: there is no such camera; see also `apply_to_video`.
    """
    check_target(target, "cutout" in effects.names)
    with stderr_kept_back():  # OpenCV prints its attempts
        camera = cv2.VideoCapture(number)
    if not camera.isOpened():
        raise UserError(f"there is no webcam {number}")
    print("recording, Ctrl-C stops")
    stream = _Camera(camera)
    try:
        with tqdm(desc=f"webcam {number}", unit=" frames", disable=None) as bar:
            matter = VideoMatter(network, smooth)
            return _convert(stream, target, effects, matter, bar.update)
    finally:
        camera.release()


class _Camera:
    """A webcam with the interface of `VideoReader`: frames with their times of arrival."""

    path = "the webcam"
    time_base, rate, audio, broken = _WEBCAM_BASE, Fraction(30), None, 0

    def __init__(self, camera: cv2.VideoCapture):
        self._camera = camera

    def __iter__(self) -> Iterator[Frame]:
        start, last = time.monotonic(), -1
        while (taken := self._camera.read())[0]:
            last = max(last + 1, round((time.monotonic() - start) / _WEBCAM_BASE))
            yield Frame(cv2.cvtColor(taken[1], cv2.COLOR_BGR2RGB), last)


def _convert(
    stream: VideoReader | AnimationReader | _Camera,
    target: str | os.PathLike,
    effects: Effects,
    matter: VideoMatter,
    progress: Callable[[], object],
) -> Outcome:
    """Decodes, mattes, renders and encodes in parallel; the encoder runs in this thread."""
    find, paint = _make_stages(matter, effects, stream.time_base)
    empty = 0

    def rendered(results: Pipeline) -> Iterator[Frame | av.Packet]:
        nonlocal empty
        for item, alpha in results:
            yield item
            empty += isinstance(item, Frame) and not alpha.any()

    with Pipeline(stream, find, paint) as results:
        frames, complete = write_video(target, stream, rendered(results), progress)
    return Outcome(frames, stream.broken, empty, complete)


def _make_stages(
    matter: VideoMatter, effects: Effects, time_base: Fraction
) -> tuple[Callable, Callable]:
    """Makes the two stages between decoder and encoder, which pass audio packets on unchanged.

    Returns:
        `find`, from a `Frame` to the frame and its alpha, and `paint`, which applies the effects.
    """

    def find(item: Frame | av.Packet) -> tuple[Frame | av.Packet, np.ndarray | None]:
        return item, matter(item.image) if isinstance(item, Frame) else None

    def paint(found: tuple) -> tuple[Frame | av.Packet, np.ndarray | None]:
        item, alpha = found
        if isinstance(item, Frame):
            seconds = float(item.pts * time_base)
            item.image = effects(item.image, alpha, seconds)
        return item, alpha

    return find, paint
