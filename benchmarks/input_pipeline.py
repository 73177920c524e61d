"""Measures the speed of the loader, stage by stage.

python benchmarks/input_pipeline.py [--data=DIR] [--input_shape=256]

The first table has the time of epochs by where pictures are kept (`main.py --cache`; the last row
is --cache=none with shards), with the largest number of workers: seconds, CPU seconds, and the
largest memory of all processes together (Linux only). "without files" leaves out pages of files,
such as the pages of the cache on disk, which the system can take away. The second
table has the time of each stage for one picture on one core, the third the rate of complete batches
by the number of worker processes. Compare it with the training step: `benchmarks/training_step.py`.
"""

import itertools
import multiprocessing
import resource
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import cv2
import numpy as np
from absl import flags

from augmentation import DEFAULT, Augmentation
from benchmarks import processes
from benchmarks.examined import examined_pairs
from portrait import cli
from portrait.backend import start_keras
from portrait.data.backgrounds import load_backgrounds
from portrait.data.pairs import read_pair
from portrait.data.sample.sample import ensure_sample, sample_backgrounds
from portrait.data.targets import boundary_target
from portrait.io.images import resize
from portrait.models.registry import parse_input_shape
from portrait.prepare.shards import pack
from portrait.util import aligned, evenly

FLAGS = flags.FLAGS
flags.DEFINE_list("data", [], "Folders of pictures and mattes. Default: the built-in sample.")
flags.DEFINE_list("person_label", [], "The person's labels in label masks, as in main.py.")
flags.DEFINE_list("backgrounds", [], "Folders of backgrounds. Default: the built-in ones.")
flags.DEFINE_string("input_shape", "256", "HEIGHT or HEIGHTxWIDTH.")
flags.DEFINE_integer("batch_size", 32, "Pictures in a batch.", 1)
flags.DEFINE_integer("pictures", 512, "The largest number of pictures to read.", 1)
flags.DEFINE_list("workers", ["0", "1", "2"], "Numbers of worker processes.")
flags.register_validator(
    "workers", lambda counts: all(map(str.isdecimal, counts)), "write numbers, such as 0,2"
)

_PAUSE = 0.25  # seconds between looks at the memory
GEOMETRY = ("flip_horizontal", "rotate_scale", "affine", "perspective")


def milliseconds(function, repeats: int = 5) -> float:
    """The median CPU time of `function()` in this process."""
    times = []
    for repeat in range(repeats):
        start = time.process_time()
        function(repeat)
        times.append(time.process_time() - start)
    return float(np.median(times)) * 1e3


def stages(pairs, pictures, backgrounds) -> dict[str, float]:
    """Milliseconds for each picture on one core, by stage."""
    size = pictures.images.shape[1:3]
    count = min(FLAGS.batch_size, len(pictures.images))
    few, chosen = pairs[:count], np.arange(count)
    raw = [read_pair(pair) for pair in few]
    images, mattes = pictures.images[chosen], pictures.mattes[chosen]
    geometry = Augmentation(GEOMETRY)
    before = Augmentation((*GEOMETRY, "background"), backgrounds=backgrounds)
    whole = Augmentation(DEFAULT, backgrounds=backgrounds)
    moved = milliseconds(lambda seed: geometry(images, mattes, seed))
    replaced = milliseconds(lambda seed: before(images, mattes, seed))
    everything = milliseconds(lambda seed: whole(images, mattes, seed))
    result = {
        "decode (once a run)": milliseconds(lambda _: [read_pair(pair) for pair in few], 3),
        "resize (once a run)": milliseconds(
            lambda _: [resize(part, size) for pair in raw for part in pair]
        ),
        "gather": milliseconds(lambda _: (pictures.images[chosen], pictures.mattes[chosen])),
        "geometry": moved,
        "background": replaced - moved,
        "light, blur, noise": everything - replaced,
        "boundary": milliseconds(lambda _: [boundary_target(m) for m in mattes]),
        "to float": milliseconds(
            lambda _: (images.astype(np.float32), mattes.astype(np.float32), mattes * 0.5)
        ),
    }
    return {name: value / count for name, value in result.items()}


def sequence_of(pictures, backgrounds, workers: int):
    """The batches of a training."""
    from data_generator import PortraitSequence

    return PortraitSequence(
        pictures.images,
        pictures.mattes,
        FLAGS.batch_size,
        augmentation=Augmentation(DEFAULT, backgrounds=backgrounds),
        shuffle=True,
        workers=workers,
    )


def rate(pictures, backgrounds, workers: int) -> tuple[float, float]:
    """Pictures a second over two epochs after a warm-up, and milliseconds of the caller."""
    sequence = sequence_of(pictures, backgrounds, workers)
    for sequence.epoch in range(3):
        if sequence.epoch == 1:
            start, busy = time.perf_counter(), time.process_time()
        for index in range(len(sequence)):
            sequence[index]
    count = 2 * len(pictures.images)
    result = count / (time.perf_counter() - start), (time.process_time() - busy) * 1e3 / count
    sequence.close()
    return result


def time_of_epochs(pairs, size, backgrounds, workers: int) -> None:
    """Prints the seconds and the memory of opening the pictures and of three epochs, by cache."""
    rows = [["--cache", "opening", "epoch 1", "epoch 2", "epoch 3", "MiB", "without files"]]
    with tempfile.TemporaryDirectory() as folder:
        pack(pairs, Path(folder), min(8, len(pairs)))
        sources = {cache: (pairs, cache) for cache in ("memory", "disk", "none")}
        sources["none, shards"] = examined_pairs([folder], "training"), "none"
        for name, (source, cache) in sources.items():
            # In a process of its own, whose memory is given back.
            context = multiprocessing.get_context("fork")
            with ProcessPoolExecutor(1, context) as pool:
                found = pool.submit(epochs, source, size, backgrounds, cache, workers)
                most = (0.0, 0.0)
                while not found.done():
                    most = np.maximum(most, processes.memory(processes.family()))
                    time.sleep(_PAUSE)
                parts = [f"{wall:.1f} ({busy:.1f})" for wall, busy in found.result()]
            rows.append([name, *parts, *(f"{each:.0f}" for each in most)])
    print(f"seconds (CPU seconds), {workers} workers")
    print("\n".join(aligned(rows)), flush=True)


def epochs(pairs, size, backgrounds, cache: str, workers: int) -> list[tuple[float, float]]:
    """Seconds, and CPU seconds, of opening the pictures and of three epochs."""
    from portrait.data.reading import open_pictures

    marks = [(time.perf_counter(), _processors())]
    pictures = open_pictures(pairs, size, cache)
    marks.append((time.perf_counter(), _processors()))
    for epoch in range(3):
        # Times of processes are known when they have ended.
        sequence = sequence_of(pictures, backgrounds, workers)
        sequence.epoch = epoch
        for index in range(len(sequence)):
            sequence[index]
        now = time.perf_counter()
        sequence.close()
        marks.append((now, _processors()))
    return [(b[0] - a[0], b[1] - a[1]) for a, b in itertools.pairwise(marks)]


def _processors() -> float:
    """Seconds of processors that this process and its ended children have used."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def main() -> None:
    start_keras()
    from portrait.data.loading import load

    cv2.setNumThreads(1)
    size = parse_input_shape(FLAGS.input_shape)
    pairs = examined_pairs(FLAGS.data or [ensure_sample()], "training", FLAGS.person_label)
    pairs = evenly(pairs, FLAGS.pictures)
    backgrounds = (
        load_backgrounds(FLAGS.backgrounds, size) if FLAGS.backgrounds else sample_backgrounds()
    )
    print(f"{len(pairs)} pictures, {size[0]}x{size[1]}, batches of {FLAGS.batch_size}")
    time_of_epochs(pairs, size, backgrounds, max(map(int, FLAGS.workers)))
    pictures = load(pairs, size)
    costs = stages(pairs, pictures, backgrounds)
    epoch = sum(value for name, value in costs.items() if "once" not in name)
    print(f"\n{'stage':22}{'ms/picture':>14}{'share of an epoch':>20}")
    for name, value in costs.items():
        share = "" if "once" in name else f"{value / epoch:.0%}"
        print(f"{name:22}{value:14.2f}{share:>20}")
    print(f"{'an epoch':22}{epoch:14.2f}")
    print(f"\n{'workers':>8}{'pictures/s':>13}{'per worker':>11}{'ms in the caller':>18}")
    for workers in map(int, FLAGS.workers):
        speed, caller = rate(pictures, backgrounds, workers)
        print(f"{workers:8}{speed:13.0f}{speed / max(workers, 1):11.0f}{caller:18.2f}")


if __name__ == "__main__":
    cli.run(main, ["input_shape"])
