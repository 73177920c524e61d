"""Common parts of the benchmarks of videos: clips of a size, and the time of each stage."""

import functools
import re
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
from absl import flags

from portrait.effects import video
from portrait.effects.catalogue import Effects
from portrait.effects.video_matting import VideoMatter
from portrait.inference.network import Network
from portrait.io.video_frames import Frame
from portrait.io.video_reader import open_video
from portrait.io.video_writer import VideoWriter


def define_sizes(text: str) -> None:
    """Defines the flag --sizes of a benchmark."""
    flags.DEFINE_list("sizes", ["640x360", "1280x720"], text)
    flags.register_validator(
        "sizes",
        lambda sizes: all(re.fullmatch(r"[1-9]\d*x[1-9]\d*", each) for each in sizes),
        "write WIDTHxHEIGHT, such as 640x360",
    )


class Stage:
    """A function that adds up its own wall and CPU seconds, the latter of all threads."""

    def __init__(self, function: Callable):
        self._function = function
        self.wall = self.cpu = 0.0

    def __call__(self, *arguments):
        wall, cpu = time.perf_counter(), time.process_time()
        result = self._function(*arguments)
        self.wall += time.perf_counter() - wall
        self.cpu += time.process_time() - cpu
        return result


def write_clip(path: Path, shape: tuple[int, ...], images: Iterable[np.ndarray]) -> Path:
    """Writes images, uint8 RGB of `shape` (H, W, 3), as a video of 30 frames a second."""
    writer = VideoWriter(path, shape, Fraction(1, 30), Fraction(30))
    for index, image in enumerate(images):
        writer.write(Frame(image, index))
    writer.close()
    return path


def run_alone(
    clip: Path, matter: VideoMatter, render: Callable, target: Path
) -> tuple[int, dict[str, Stage]]:
    """Decodes a clip, computes its alphas, renders and encodes in one thread, without overlap.

    Returns:
        The number of frames, and the stages decode, alpha, render and encode.
    """
    reader = open_video(clip)
    decode = Stage(functools.partial(next, iter(reader), None))
    waiting: deque[Frame] = deque()  # those whose alphas are not ready yet

    def images() -> Iterator[np.ndarray]:
        for item in iter(decode, None):
            if isinstance(item, Frame):
                waiting.append(item)
                yield item.image

    alpha = Stage(functools.partial(next, matter.alphas(images()), None))
    render = Stage(render)
    writer, write, count = None, None, 0
    while (found := alpha()) is not None:
        frame = waiting.popleft()
        frame.image = render(frame.image, found)
        if writer is None:
            writer = VideoWriter(target, frame.image.shape, reader.time_base, reader.rate)
            write = Stage(writer.write)
        write(frame)
        count += 1
    writer.close()
    alpha.wall, alpha.cpu = alpha.wall - decode.wall, alpha.cpu - decode.cpu
    return count, {"decode": decode, "alpha": alpha, "render": render, "encode": write}


def time_overlapping(
    clip: Path, effects: Effects, network: Network, target: Path, **options
) -> None:
    """Prints the frames per second of `video.apply_to_video`, which takes `options`."""
    wall, cpu = time.perf_counter(), time.process_time()
    outcome = video.apply_to_video(clip, target, effects, network, **options)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(
        f"  overlapping: {outcome.frames / wall:.1f} frames/s, "
        f"{1000 * cpu / outcome.frames:.1f} ms of CPU per frame",
        flush=True,
    )
