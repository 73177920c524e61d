"""Common parts of the benchmarks of videos: clips of a size, and the time of each stage."""

import re
import time
from collections.abc import Callable, Iterable
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
    frames = [frame for frame in reader if isinstance(frame, Frame)]
    decode = Stage(iter(open_video(clip)).__next__)
    alpha = Stage(matter.alphas(frame.image for frame in frames).__next__)
    render = Stage(render)
    writer = VideoWriter(target, frames[0].image.shape, reader.time_base, reader.rate)
    write = Stage(writer.write)
    for frame in frames:
        decode()
        frame.image = render(frame.image, alpha())
        write(frame)
    writer.close()
    return len(frames), {"decode": decode, "alpha": alpha, "render": render, "encode": write}


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
