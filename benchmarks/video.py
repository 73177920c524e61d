"""Measures the speed of effects on videos, stage by stage, and the flicker of their alphas.

python benchmarks/video.py                        frames/s and milliseconds of each stage
python benchmarks/video.py --flicker=True         dtSSD and flicker with and without smoothing
python benchmarks/video.py --minutes=10           memory during a long video

The clip shows a person who moves in front of a picture, at 640x360 and 1280x720. The stages run one
after the other, and then overlap as in `apply.py`. CPU time does not depend on other load. Goal on
two cores: `replace` at 640x360 with 30 frames/s or more. --clip=FILE takes your own clip instead.
"""

import itertools
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import cv2
import matplotlib.pyplot as plt
import numpy as np
from absl import flags
from skimage import data

from benchmarks.stages import Stage, define_sizes, run_alone, time_overlapping, write_clip
from metrics import dt_ssd, flicker
from portrait import cli
from portrait.data.sample.astronaut import matted_portrait
from portrait.effects.catalogue import Effects, Settings
from portrait.effects.video_matting import VideoMatter
from portrait.inference import network as networks
from portrait.io.images import resize
from portrait.io.video_frames import Frame
from portrait.io.video_reader import open_video
from portrait.matting.foreground import blur_fusion
from portrait.matting.refine import refine_guided

FLAGS = flags.FLAGS
flags.DEFINE_string("model", networks.DEFAULT, "The network, as for apply.py.")
flags.DEFINE_integer("threads", 1, "Threads of LiteRT.", 1)
define_sizes("WIDTHxHEIGHT of the videos.")
flags.DEFINE_string("effect", "replace", "The effect.")
flags.DEFINE_integer("frames", 90, "Frames of each video.", 1)
flags.DEFINE_string("clip", "", "Your own video file.")
flags.DEFINE_boolean("flicker", False, "Measure flicker instead of speed.")
flags.DEFINE_float("minutes", 0, "Measure memory on a video of this length instead.")
flags.DEFINE_string("plot", "", "Draw the memory to this PNG.")

_PERIOD = 60  # frames after which the person is back


def moving_person(width: int, height: int, count: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """A cut-out that swings in front of a drifting picture, with film grain: images and mattes."""
    _, person, alpha = matted_portrait()
    random = np.random.default_rng(0)
    wall = resize(data.rocket(), (height * 5 // 4, width * 5 // 4))
    scale = 0.85 * height / alpha.shape[0]
    left = (width - scale * alpha.shape[1]) / 2
    grain = random.normal(0, 2, (_PERIOD, height // 4, width // 4, 3)).astype(np.float32)
    for index in range(count):
        turn = 2 * np.pi * (index % _PERIOD) / _PERIOD
        shift = left + 0.15 * width * np.sin(turn), 0.15 * height + 0.02 * height * np.cos(2 * turn)
        place = np.float32([[scale, 0, shift[0]], [0, scale, shift[1]]])
        matte = cv2.warpAffine(alpha, place, (width, height), flags=cv2.INTER_AREA)
        colours = cv2.warpAffine(person, place, (width, height), borderMode=cv2.BORDER_REPLICATE)
        down = round(0.1 * height * (1 + np.cos(turn)))
        right = round(0.1 * width * (1 + np.sin(turn)))
        behind = np.ascontiguousarray(wall[down : down + height, right : right + width])
        image = cv2.blendLinear(colours, behind, matte, 1 - matte)
        noise = cv2.resize(grain[index % _PERIOD], (width, height))
        yield cv2.add(image, noise, dtype=cv2.CV_8U), matte


def moving_clip(path: Path, width: int, height: int, count: int) -> Path:
    images = (image for image, _ in moving_person(width, height, count))
    return write_clip(path, (height, width, 3), images)


def effects() -> Effects:
    behind = data.astronaut()[:, ::-1]
    settings = Settings(
        background=lambda time: behind, style=lambda picture: picture, estimate=blur_fusion
    )
    return Effects([FLAGS.effect], settings)


def time_stages(clip: Path, network: networks.Network, target: Path) -> None:
    """Prints the milliseconds of each stage, in wall and CPU time, without overlap."""
    look, refine = Stage(network.run), Stage(refine_guided)
    matter = VideoMatter(networks.Network("", network.input_shape, look), refine=refine)
    count, around = run_alone(clip, matter, effects(), target)
    smooth = around["alpha"]
    smooth.wall, smooth.cpu = (
        smooth.wall - look.wall - refine.wall,
        smooth.cpu - look.cpu - refine.cpu,
    )
    stages = {
        "decode": around["decode"],
        "network": look,
        "smooth": smooth,
        "refine": refine,
        "effect": around["render"],
        "encode": around["encode"],
    }
    total = sum(stage.cpu for stage in stages.values())
    for name, stage in stages.items():
        print(
            f"  {name:10}{1000 * stage.wall / count:8.1f} ms"
            f"{1000 * stage.cpu / count:8.1f} ms CPU {100 * stage.cpu / total:5.0f} %"
        )
    print(f"  {'all':10}{'':11}{1000 * total / count:8.1f} ms CPU")


def measure_flicker(network: networks.Network) -> None:
    """Prints dtSSD and flicker on a clip with known alpha, and flicker on --clip."""
    images, mattes = map(np.stack, zip(*moving_person(640, 360, FLAGS.frames), strict=True))
    print(f"{'':24}{'dtSSD':>8}{'flicker':>9}{'MAD x1e3':>10}")
    for name, kind in ("each frame alone", False), ("mean of two frames", None), ("smooth", True):
        alphas = video_alphas(network, images, bool(kind))
        if kind is None:
            alphas[1:] = (alphas[1:] + alphas[:-1]) / 2
        error = 1000 * np.abs(alphas - mattes).mean()
        print(f"{name:24}{dt_ssd(alphas, mattes):8.2f}{flicker(alphas, images):9.2f}{error:10.2f}")
    if FLAGS.clip:
        frames = (each for each in open_video(FLAGS.clip) if isinstance(each, Frame))
        images = np.stack([each.image for each in itertools.islice(frames, FLAGS.frames)])
        for smooth in (False, True):
            value = flicker(video_alphas(network, images, smooth), images)
            print(f"{Path(FLAGS.clip).name:20} smooth={smooth}: flicker {value:.2f}")


def video_alphas(network: networks.Network, images: np.ndarray, smooth: bool) -> np.ndarray:
    return np.stack(list(VideoMatter(network, smooth).alphas(images)))


def measure_memory(network: networks.Network, folder: Path) -> None:
    """Prints, and draws to --plot, the resident memory during a long video."""
    count = round(FLAGS.minutes * 60 * 30)
    clip = moving_clip(folder / "long.mp4", 320, 180, count)
    print(f"{clip.stat().st_size / 2**20:.0f} MiB, {count} frames", flush=True)
    done, start = threading.Event(), time.monotonic()
    seconds, memory = [], []

    def watch() -> None:
        while not done.wait(0.2):
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            seconds.append(time.monotonic() - start)
            memory.append(pages * os.sysconf("SC_PAGE_SIZE") / 2**20)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        time_overlapping(clip, effects(), network, folder / "out.mp4")
    finally:
        done.set()
        watcher.join()
    tenths = np.array_split(np.array(memory), 10)
    print("  MiB, mean of each tenth:", *(f"{tenth.mean():.0f}" for tenth in tenths))
    if FLAGS.plot:
        axes = plt.figure(figsize=(6, 2.4), layout="constrained").gca()
        axes.plot(seconds, memory)
        axes.set(xlabel="seconds", ylabel="resident memory, MiB", ylim=(0, 1.3 * max(memory)))
        axes.set_title(f"a clip of {FLAGS.minutes:g} minutes", fontsize="medium")
        plt.savefig(FLAGS.plot, dpi=100)


def main() -> None:
    network = networks.load(FLAGS.model, threads=FLAGS.threads)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if FLAGS.flicker:
            measure_flicker(network)
            return
        if FLAGS.minutes:
            measure_memory(network, folder)
            return
        clips = {FLAGS.clip: Path(FLAGS.clip)} if FLAGS.clip else {}
        for size in [] if FLAGS.clip else FLAGS.sizes:
            width, height = map(int, size.split("x"))
            clips[size] = moving_clip(folder / f"{size}.mp4", width, height, FLAGS.frames)
        for size, clip in clips.items():
            print(f"{size} {FLAGS.effect}, {cv2.getNumberOfCPUs()} cores")
            time_stages(clip, network, folder / "out.mp4")
            time_overlapping(clip, effects(), network, folder / "out.mp4")


if __name__ == "__main__":
    cli.run(main, ["model"])
