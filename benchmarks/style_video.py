"""Measures painted videos: how much they flicker, and the speed of stylize_person by stage.

python benchmarks/style_video.py --clips=A.mp4,B.mp4 --style=NAME
python benchmarks/style_video.py --clips=A.mp4 --flicker=False --sizes=640x360,1280x720

Flicker is the flow-warped change: the mean of |x_t - warp(x_(t-1))| in levels of 255, with the
optical flow of the clip. It is measured of the clip itself, of its frames painted one by one, and
painted steadily, as apply.py and stylize.py do. --paint_size is the longer side at which they are
painted. On plain walls, flow follows the noise, so that strokes that stand still count as flicker.
The second row of a clip therefore has no movement where the clip itself stands still.

The stages run one after the other, and then overlap as in apply.py. CPU time does not depend on
other load, frames a second do. Goals on two cores: 10 frames/s at 640x360, 3 at 1280x720.
"""

import itertools
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import cv2
import numpy as np
from absl import flags

from benchmarks.stages import Stage, define_sizes, run_alone, time_overlapping, write_clip
from metrics import flow_sources
from portrait import cli
from portrait.backend import start_keras
from portrait.effects import styles
from portrait.effects.catalogue import Effects, Settings
from portrait.effects.video_matting import VideoMatter
from portrait.inference import network as networks
from portrait.io.images import resize, write_png
from portrait.io.video_frames import Frame
from portrait.io.video_reader import open_video
from portrait.matting.foreground import blur_fusion
from portrait.style_transfer.full_size import FullSize, longer_side
from portrait.style_transfer.steady import Steady

_NOISE = 1.0  # levels by which movement has to explain a frame better than standing still
_AROUND = 15  # pixels, side of the squares in which that is decided
FLAGS = flags.FLAGS
flags.DEFINE_list("clips", None, "Video files.", required=True)
flags.DEFINE_string("style", "", "The style of the network.")
flags.DEFINE_string("weight_dir", "", "The weights of the network. Default: the shipped ones.")
flags.DEFINE_string("model", networks.DEFAULT, "The network of the alpha, as for apply.py.")
flags.DEFINE_integer("paint_size", 0, "As for apply.py.", 0)
define_sizes("WIDTHxHEIGHT in which speed is measured.")
flags.DEFINE_integer("frames", 60, "Frames of each clip.", 2)
flags.DEFINE_integer("start", 0, "The first frame.", 0)
flags.DEFINE_boolean("flicker", True, "Measure flicker.")
flags.DEFINE_boolean("speed", True, "Measure speed.")
flags.DEFINE_string("sheet", "", "Write the last frame of each clip, and as painted, to this PNG.")


def read(clip: str) -> list[np.ndarray]:
    reader = open_video(clip)
    frames = (item.image for item in reader if isinstance(item, Frame))
    chosen = list(itertools.islice(frames, FLAGS.start, FLAGS.start + FLAGS.frames))
    reader.close()
    return chosen


def flows(frames: list[np.ndarray]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Where each pixel of a frame is in the frame before: x and y."""
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    greys = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames]
    return (flow_sources(flow, grey, before, 1) for before, grey in itertools.pairwise(greys))


def still_or(frames: list[np.ndarray], places: list) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The same places, and no movement where it explains the clip as well as the flow does."""
    height, width = frames[0].shape[:2]
    here = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    for (before, frame), where in zip(itertools.pairwise(frames), places, strict=True):
        moved = cv2.remap(before, *where, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        stands = missed(before, frame) <= missed(moved, frame) + _NOISE
        yield tuple(np.where(stands, *axis) for axis in zip(here, where, strict=True))


def missed(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The mean difference around each pixel in levels, float32 (H, W)."""
    return cv2.blur(cv2.absdiff(one, other).mean(axis=2).astype(np.float32), (_AROUND, _AROUND))


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
        painters = FullSize(paint, fit), FullSize(paint, fit, steady=Steady())
        kinds = [frames, *([painter(frame) for frame in frames] for painter in painters)]
        flow = list(flows(frames))
        for name, places in ((Path(clip).name, flow), ("  or still", list(still_or(frames, flow)))):
            source, plain, steady = (warped_change(kind, places) for kind in kinds)
            ratio = steady / source
            print(f"{name:28}{source:7.2f}{plain:7.2f}{steady:8.2f}{ratio:15.2f}", flush=True)
        rows.append(np.hstack([resize(kind[-1], (360, 640)) for kind in kinds]))
    if FLAGS.sheet:
        write_png(FLAGS.sheet, np.vstack(rows))


def stylizing(style: Callable) -> Effects:
    return Effects(["stylize_person"], Settings(style=style, estimate=blur_fusion))


def time_stages(clip: Path, paint: Callable, fit: Callable, network, target: Path) -> None:
    """Prints the milliseconds of CPU time of each stage."""
    net, steady = Stage(paint), Stage(Steady())
    style = Stage(FullSize(net, fit, steady=steady))
    count, around = run_alone(clip, VideoMatter(network), stylizing(style), target)
    stages = {
        "decode": around["decode"].cpu,
        "alpha": around["alpha"].cpu,
        "network": net.cpu,
        "steady": steady.cpu,
        "enlarge": style.cpu - net.cpu - steady.cpu,
        "composite": around["render"].cpu - style.cpu,
        "encode": around["encode"].cpu,
    }
    for name, seconds in stages.items():
        print(f"  {name:10}{1000 * seconds / count:8.1f} ms CPU")
    total = sum(stages.values()) / count
    cores = os.cpu_count() or 1
    print(f"  {'all':10}{1000 * total:8.1f} ms CPU: {cores / total:.1f} frames/s on {cores} cores")


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
            clip = Path(folder, f"{size}.mp4")
            write_clip(clip, (height, width, 3), (resize(each, (height, width)) for each in frames))
            small = fit((height, width))
            paint(resize(frames[0], small))  # converts the network
            print(f"{size}, painted at {small[1]}x{small[0]}")
            target = Path(folder, "out.mp4")
            time_stages(clip, paint, fit, matting, target)
            style = styles.Style(paint, lambda: FullSize(paint, fit, steady=Steady()))
            time_overlapping(clip, stylizing(style), matting, target, quiet=True)


if __name__ == "__main__":
    cli.run(main, ["clips"])
