"""Effects on videos, numbered pictures and webcams."""

import contextlib
import logging
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
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
from portrait.effects.video_matting import VideoMatter
from portrait.errors import UserError, warn_skipped
from portrait.inference.network import Network
from portrait.io.animations import AnimationReader
from portrait.io.photos import UnusableError, result_paths, why_left_out
from portrait.io.sequences import SequenceReader, is_read_as_sequence, refuse_overlap
from portrait.io.video_frames import Frame
from portrait.io.video_outputs import Target, check_target, close_whole, open_output, write_video
from portrait.io.video_reader import VideoReader, open_video
from portrait.io.virtual_camera import Device
from portrait.matting.plate import Plate

log = logging.getLogger(__name__)

_WEBCAM_BASE = Fraction(1, 1000)


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
    target: Target,
    effects: Effects,
    network: Network,
    smooth: bool = True,
    *,
    refine: str = "auto",
    plate: Plate | None = None,
    alpha_target: Target | None = None,
    rate: float = 25.0,
    quiet: bool = False,
) -> Outcome:
    """Applies effects to a video file or to numbered pictures.

    Timestamps (also of variable rates), duration and audio are preserved; rotated videos are turned
    upright. Damaged frames are skipped and counted. Ctrl-C leaves a playable file.

    Args:
        source: the video file, or the pattern of a sequence of pictures, see `sequences`.
        target: where to write; the suffix of a file determines the format, see `VideoWriter`.
        effects: the effects.
        network: the network for the alpha.
        smooth: whether to smooth the alphas.
        refine: see `matting.matte`.
        plate: the scene without people, for a camera that does not move.
        alpha_target: where to write the alphas, too.
        rate: the frames per second of a sequence.
        quiet: whether to show no progress bar.

    Raises:
        UserError: the video cannot be read, the target cannot be written, or all frames are
            damaged.
    """
    _check_targets(target, alpha_target, effects, source)
    pictures = is_read_as_sequence(source)
    reader = SequenceReader(source, rate) if pictures else open_video(source)
    name = Path(source).name
    bar = tqdm(total=reader.frames, desc=name, unit=" frames", disable=quiet or None)
    try:
        with bar:
            matter = VideoMatter(network, smooth, plate, refine)
            outcome = _convert(reader, (target, alpha_target), effects, matter, bar.update)
    finally:
        reader.close()
    if outcome.broken:
        log.warning("%s: %d damaged frames left out", source, outcome.broken)
    if outcome.empty:
        log.warning(
            "%s: nobody was found in %d of %d frames", source, outcome.empty, outcome.frames
        )
    return outcome


def apply_to_videos(
    sources: Sequence[Path],
    output: str | os.PathLike,
    effects: Effects,
    network: Network,
    smooth: bool = True,
    *,
    refine: str = "auto",
    plate: Plate | None = None,
    alpha_output: str | os.PathLike | None = None,
    taken: Sequence[str | os.PathLike] = (),
) -> Iterator[Path]:
    """Applies effects to video files one by one, lazily; see `apply_to_video`.

    Unusable videos are skipped, and one warning at the end names and counts them.

    Args:
        sources: the video files.
        output: the folder for `NAME_EFFECT.mp4`, or `.webm` if the effects end with a cut-out.
        effects: as for `apply_to_video`, like the other arguments.
        network: the network for the alpha.
        smooth: whether to smooth the alphas.
        refine: see `matting.matte`.
        plate: the scene without people.
        alpha_output: the folder for `NAME_alpha.mp4`, or None.
        taken: other files that may not be overwritten.

    Yields:
        The files written.

    Raises:
        KeyboardInterrupt: Ctrl-C; an incomplete file has been yielded, if it has a frame.
        UnusableError: no video can be used.
        UserError: a file cannot be written.
    """
    suffix, label = video_suffix(effects.names), "-".join(effects.names)
    targets = result_paths(sources, output, [label], lambda source: suffix, taken)
    alphas = [(None,)] * len(sources)
    if alpha_output is not None:
        alphas = result_paths(sources, alpha_output, ["alpha"], lambda source: ".mp4", taken)
    left_out: list[str] = []
    for source, (target,), (alpha,) in zip(sources, targets, alphas, strict=True):
        try:
            options = {"refine": refine, "plate": plate, "alpha_target": alpha}
            outcome = apply_to_video(source, target, effects, network, smooth, **options)
        except Exception as error:
            if not (reason := why_left_out(error, source)):
                raise
            left_out.append(reason)
            continue
        yield from filter(None, (target, alpha))
        if not outcome.complete:
            raise KeyboardInterrupt
    if len(left_out) == len(sources):
        raise UnusableError("no video could be used: " + "; ".join(left_out[:5]))
    warn_skipped(left_out, "videos left out ({count}): {names}")


def video_suffix(names: Sequence[str]) -> str:
    """The usual format for the result of effects, by their names."""
    return ".webm" if "cutout" in names else ".mp4"


def record_webcam(
    number: int,
    target: Target,
    effects: Effects,
    network: Network,
    smooth: bool = True,
    *,
    refine: str = "auto",
    plate: Plate | None = None,
    alpha_target: Target | None = None,
) -> Outcome:
    """Applies effects to a webcam's frames until Ctrl-C, and writes them.

    Raises:
        UserError: there is no such camera; see also `apply_to_video`.
    """
    _check_targets(target, alpha_target, effects)
    with stderr_kept_back():  # OpenCV prints its attempts
        camera = cv2.VideoCapture(number)
    if not camera.isOpened():
        raise UserError(f"there is no webcam {number}")
    camera.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # old frames would be shown late
    print("recording, Ctrl-C stops")
    stream = _Camera(camera)
    try:
        with tqdm(desc=f"webcam {number}", unit=" frames", disable=None) as bar:
            matter = VideoMatter(network, smooth, plate, refine)
            return _convert(stream, (target, alpha_target), effects, matter, bar.update)
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


def _check_targets(
    target: Target, alpha_target: Target | None, effects: Effects, source: str | os.PathLike = ""
) -> None:
    check_target(target, "cutout" in effects.names)
    sources = [source] if source else []
    written = None if isinstance(target, Device) else target
    if written is not None:
        refuse_overlap(written, *sources)
    if alpha_target is not None:
        check_target(alpha_target, False)
        refuse_overlap(alpha_target, *sources, beside=written)


def _convert(
    stream: VideoReader | AnimationReader | SequenceReader | _Camera,
    targets: tuple[Target, Target | None],
    effects: Effects,
    matter: VideoMatter,
    progress: Callable[[], object],
) -> Outcome:
    """Decodes, mattes, renders and encodes in parallel; the encoder runs in this thread."""
    find, paint = _make_stages(matter, effects.for_video(), stream.time_base)
    target, alpha_target = targets
    empty = 0
    latest: tuple[Frame, np.ndarray]

    def rendered() -> Iterator[Frame | av.Packet]:
        nonlocal latest
        for item, alpha in results:
            if isinstance(item, Frame):
                latest = item, alpha
            yield item

    def after_each() -> None:
        nonlocal empty
        frame, alpha = latest
        empty += not alpha.any()
        if alpha_target:
            levels = np.rint(effects.settings.outlined(alpha) * 255).astype(np.uint8)
            write_alpha(Frame(levels, frame.pts, frame.duration))
        progress()

    # Someone waits for the picture of a virtual camera.
    between = 1 if isinstance(target, Device) else 4
    with contextlib.ExitStack() as stack:
        results = stack.enter_context(Pipeline(stream, find, paint, between=between))
        alphas = stack.enter_context(contextlib.ExitStack())
        if alpha_target:
            write_alpha = alphas.enter_context(open_output(alpha_target, stream, silent=True))
        frames, complete = write_video(target, stream, rendered(), after_each)
        complete &= close_whole(alphas)
    return Outcome(frames, stream.broken, empty, complete)


def _make_stages(
    matter: VideoMatter, effects: Effects, time_base: Fraction
) -> tuple[Callable, Callable]:
    """Makes the two stages between decoder and encoder, which pass audio packets on unchanged.

    Returns:
        `find`, from `Frame`s to the frames and their alphas, and `paint`, which applies the
        effects.
    """

    def find(
        items: Iterator[Frame | av.Packet],
    ) -> Iterator[tuple[Frame | av.Packet, np.ndarray | None]]:
        waiting: deque[Frame | av.Packet] = deque()

        def images() -> Iterator[np.ndarray]:
            for item in items:
                waiting.append(item)
                if isinstance(item, Frame):
                    yield item.image

        for alpha in matter.alphas(images()):
            while not isinstance(waiting[0], Frame):
                yield waiting.popleft(), None
            yield waiting.popleft(), alpha
        yield from ((packet, None) for packet in waiting)

    def paint(
        found: Iterator[tuple[Frame | av.Packet, np.ndarray | None]],
    ) -> Iterator[tuple[Frame | av.Packet, np.ndarray | None]]:
        for item, alpha in found:
            if isinstance(item, Frame):
                seconds = float(item.pts * time_base)
                item.image = effects(item.image, alpha, seconds)
            yield item, alpha

    return find, paint
