"""Measures painted videos: how much they flicker, and the speed of stylize_person by stage.

python benchmarks/style_video.py --clips=A.mp4,B.mp4 --style=NAME
python benchmarks/style_video.py --clips=A.mp4 --flicker=False --sizes=640x360,1280x720

Flicker is the flow-warped change: the mean of |x_t - warp(x_(t-1))| in levels of 255, with the
optical flow of the clip. It is measured of the clip itself, of its frames painted one by one, and
painted steadily, as apply.py and stylize.py do. --paint_size is the longer side at which they are
painted.

The stages run one after the other, and then overlap as in apply.py. CPU time does not depend on
other load, frames a second do. Goals on two cores: 10 frames/s at 640x360, 3 at 1280x720.
"""

import itertools
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import cv2
import numpy as np
from absl import flags

from portrait import cli
from portrait.backend import start_keras
from portrait.effects import styles, video
from portrait.effects.catalogue import Effects, Settings
from portrait.effects.video_matting import VideoMatter
from portrait.inference import network as networks
from portrait.io.images import resize, write_png
from portrait.io.video_frames import Frame
from portrait.io.video_reader import open_video
from portrait.io.video_writer import VideoWriter
from portrait.matting.foreground import blur_fusion
from portrait.style_transfer.full_size import FullSize, longer_side
from portrait.style_transfer.steady import Steady

FLAGS = flags.FLAGS
flags.DEFINE_list("clips", None, "Video files.", required=True)
flags.DEFINE_string("style", "", "The style of the network.")
flags.DEFINE_string("weight_dir", "", "The weights of the network. Default: the shipped ones.")
flags.DEFINE_string("model", networks.DEFAULT, "The network of the alpha, as for apply.py.")
flags.DEFINE_integer("paint_size", 0, "As for apply.py.", 0)
flags.DEFINE_list("sizes", ["640x360", "1280x720"], "WIDTHxHEIGHT in which speed is measured.")
flags.register_validator(
    "sizes",
    lambda sizes: all(re.fullmatch(r"[1-9]\d*x[1-9]\d*", each) for each in sizes),
    "write WIDTHxHEIGHT, such as 640x360",
)
flags.DEFINE_integer("frames", 60, "Frames of each clip.", 2)
flags.DEFINE_integer("start", 0, "The first frame.", 0)
flags.DEFINE_boolean("flicker", True, "Measure flicker.")
flags.DEFINE_boolean("speed", True, "Measure speed.")
flags.DEFINE_string("sheet", "", "Write the last frame of each clip, and as painted, to this PNG.")


class Stage:
    """A function that adds up its CPU seconds, of all threads."""

    def __init__(self, function: Callable):
        self._function = function
        self.cpu = 0.0

    def __call__(self, *arguments):
        start = time.process_time()
        result = self._function(*arguments)
        self.cpu += time.process_time() - start
        return result


def read(clip: str) -> list[np.ndarray]:
    reader = open_video(clip)
    frames = (item.image for item in reader if isinstance(item, Frame))
    chosen = list(itertools.islice(frames, FLAGS.start, FLAGS.start + FLAGS.frames))
    reader.close()
    return chosen


def write_clip(path: Path, frames: list[np.ndarray], size: tuple[int, int]) -> Path:
    writer = VideoWriter(path, (*size, 3), Fraction(1, 30), Fraction(30))
    for index, frame in enumerate(frames):
        writer.write(Frame(resize(frame, size), index))
    writer.close()
    return path


def flows(frames: list[np.ndarray]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Where each pixel of a frame is in the frame before: x and y."""
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    greys = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames]
    height, width = greys[0].shape
    for before, grey in itertools.pairwise(greys):
        moved = flow.calc(grey, before, None)
        x = moved[..., 0] + np.arange(width, dtype=np.float32)
        yield x, moved[..., 1] + np.arange(height, dtype=np.float32)[:, None]


def warped_change(frames: list[np.ndarray], places: list) -> float:
    changes = []
    for (before, frame), where in zip(itertools.pairwise(frames), places, strict=True):
        moved = cv2.remap(before, *where, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        changes.append(np.abs(moved.astype(np.float32) - frame).mean())
    return float(np.mean(changes))


def measure_flicker(paint: Callable, fit: Callable) -> None:
    print(f"{'levels of 255':28}{'clip':>7}{'plain':>7}{'steady':>8}{'steady / clip':>15}")
    rows = []
    for clip in FLAGS.clips:
        frames = read(clip)
        places = list(flows(frames))
        painters = FullSize(paint, fit), FullSize(paint, fit, steady=Steady())
        kinds = [frames, *([painter(frame) for frame in frames] for painter in painters)]
        source, plain, steady = (warped_change(kind, places) for kind in kinds)
        ratio = steady / source
        name = Path(clip).name
        print(f"{name:28}{source:7.2f}{plain:7.2f}{steady:8.2f}{ratio:15.2f}", flush=True)
        rows.append(np.hstack([resize(kind[-1], (360, 640)) for kind in kinds]))
    if FLAGS.sheet:
        write_png(FLAGS.sheet, np.vstack(rows))


def time_stages(clip: Path, paint: Callable, fit: Callable, network, target: Path) -> None:
    """Prints the milliseconds of CPU time of each stage."""
    matte = Stage(VideoMatter(network))
    net, steady = Stage(paint), Stage(Steady())
    style = Stage(FullSize(net, fit, steady=steady))
    render = Stage(Effects(["stylize_person"], Settings(style=style, estimate=blur_fusion)))
    reader = open_video(clip)
    decode = Stage(iter(reader).__next__)
    writer, write, count = None, None, 0
    while True:
        try:
            frame = decode()
        except StopIteration:
            break
        frame.image = render(frame.image, matte(frame.image))
        if writer is None:
            writer = VideoWriter(target, frame.image.shape, reader.time_base, reader.rate)
            write = Stage(writer.write)
        write(frame)
        count += 1
    writer.close()
    stages = {
        "decode": decode.cpu,
        "alpha": matte.cpu,
        "network": net.cpu,
        "steady": steady.cpu,
        "enlarge": style.cpu - net.cpu - steady.cpu,
        "composite": render.cpu - style.cpu,
        "encode": write.cpu,
    }
    for name, seconds in stages.items():
        print(f"  {name:10}{1000 * seconds / count:8.1f} ms CPU")
    total = sum(stages.values()) / count
    cores = os.cpu_count() or 1
    print(f"  {'all':10}{1000 * total:8.1f} ms CPU: {cores / total:.1f} frames/s on {cores} cores")


def time_overlapping(clip: Path, paint: Callable, fit: Callable, network, target: Path) -> None:
    """Prints the frames per second of `apply_to_video`."""
    style = styles.Style(paint, lambda: FullSize(paint, fit, steady=Steady()))
    effects = Effects(["stylize_person"], Settings(style=style, estimate=blur_fusion))
    wall, cpu = time.perf_counter(), time.process_time()
    outcome = video.apply_to_video(clip, target, effects, network, quiet=True)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(
        f"  overlapping: {outcome.frames / wall:.1f} frames/s, "
        f"{1000 * cpu / outcome.frames:.1f} ms of CPU per frame",
        flush=True,
    )


def main() -> None:
    for clip in FLAGS.clips:
        open_video(clip).close()  # a wrong name ends it now, not after the first table
    start_keras()
    from portrait.style_transfer.painter import Painter, load_style

    network, mix, name = load_style(FLAGS.weight_dir, FLAGS.style)
    paint = Painter(network, mix, threads=os.cpu_count() or 1).paint
    fit = longer_side(FLAGS.paint_size) if FLAGS.paint_size else styles.video_size
    print(f"style {name}, {os.cpu_count()} cores, {FLAGS.frames} frames of each clip")
    if FLAGS.flicker:
        measure_flicker(paint, fit)
    matting = networks.load(FLAGS.model)
    with tempfile.TemporaryDirectory() as folder:
        for size in FLAGS.sizes if FLAGS.speed else []:
            width, height = map(int, size.split("x"))
            frames = read(FLAGS.clips[0])
            clip = write_clip(Path(folder, f"{size}.mp4"), frames, (height, width))
            small = fit((height, width))
            paint(resize(frames[0], small))  # converts the network
            print(f"{size}, painted at {small[1]}x{small[0]}")
            work = clip, paint, fit, matting, Path(folder, "out.mp4")
            time_stages(*work)
            time_overlapping(*work)


if __name__ == "__main__":
    cli.run(main, ["clips"])
