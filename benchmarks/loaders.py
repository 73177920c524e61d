"""Compares the project's worker processes with the loaders of grain and tf.data.

python benchmarks/loaders.py [--data=DIR] [--workers=2] [--rounds=3]

All three compute the same batches by the same function: augmented pictures, mattes and bands. The
rounds alternate between the loaders, so that a busy machine treats them alike. "pictures/s" is the
median over rounds, "ms of processors" counts all processes. grain is optional: pip install grain.
"""

import contextlib
import resource
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from absl import flags

from augmentation import DEFAULT, Augmentation
from portrait import cli
from portrait.backend import start_keras
from portrait.data.pairs import find_pairs
from portrait.data.sample.sample import ensure_sample, sample_backgrounds
from portrait.models.registry import parse_input_shape
from portrait.util import aligned, evenly

FLAGS = flags.FLAGS
flags.DEFINE_list("data", [], "Folders of pictures and mattes. Default: the built-in sample.")
flags.DEFINE_string("input_shape", "256", "HEIGHT or HEIGHTxWIDTH.")
flags.DEFINE_integer("batch_size", 32, "Pictures in a batch.", 1)
flags.DEFINE_integer("pictures", 256, "The largest number of pictures.", 1)
flags.DEFINE_integer("workers", 2, "Processes of ours and of grain's; threads of tf.data.", 1)
flags.DEFINE_integer("rounds", 3, "Rounds of each loader.", 1)


class Batches:
    """The function of all loaders: the arrays of a batch, by its number."""

    def __init__(self, images: np.ndarray, mattes: np.ndarray, size: int):
        self.images, self.mattes, self.size = images, mattes, size
        self._augmentation = None

    def sequence(self, workers: int):
        """Our loader; it computes in this process with 0 workers."""
        from data_generator import PortraitSequence

        augmentation = Augmentation(DEFAULT, backgrounds=sample_backgrounds())
        return PortraitSequence(
            self.images, self.mattes, self.size, augmentation, shuffle=True, workers=workers
        )

    def __call__(self, index: int) -> tuple[np.ndarray, ...]:
        import cv2

        if self._augmentation is None:  # imgaug cannot be pickled, so each process makes its own
            cv2.setNumThreads(1)
            self._augmentation = self.sequence(0)
        images, targets = self._augmentation[int(index)]
        return images, targets["output"], targets["boundary_attention"]


def ours(batches: Batches, workers: int) -> Iterator[tuple]:
    """`portrait.data.workers`, as in training."""
    sequence = batches.sequence(workers)
    with contextlib.closing(sequence):
        for index in range(len(sequence)):
            images, targets = sequence[index]
            yield images, *targets.values()


def tf_data(batches: Batches, workers: int) -> Iterator[tuple]:
    """tf.data: threads, which share Python's lock."""
    import tensorflow as tf

    count = len(batches.sequence(0))
    dataset = tf.data.Dataset.range(count).map(
        lambda index: tf.numpy_function(batches, [index], [tf.float32] * 3),
        num_parallel_calls=workers,
    )
    yield from dataset.prefetch(2).as_numpy_iterator()


def with_grain(batches: Batches, workers: int) -> Iterator[tuple]:
    """grain: processes that are spawned, with batches in shared memory."""
    import grain

    dataset = grain.MapDataset.range(len(batches.sequence(0))).map(batches)
    options = grain.multiprocessing.MultiprocessingOptions(num_workers=workers)
    yield from dataset.to_iter_dataset().mp_prefetch(options)


def measured(loader: Callable, batches: Batches, workers: int) -> tuple[float, float, float]:
    """Seconds to the first batch, pictures/s after it, and processors' ms for each picture."""
    busy, start = _processors(), time.perf_counter()
    produced = loader(batches, workers)
    next(produced)
    first, count = time.perf_counter(), sum(len(images) for images, *_ in produced)
    end = time.perf_counter()
    del produced
    milliseconds = (_processors() - busy) * 1e3 / len(batches.images)
    return first - start, count / (end - first), milliseconds


def _processors() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def main() -> None:
    start_keras()
    from portrait.data.loading import load

    pairs = evenly(find_pairs(FLAGS.data or [ensure_sample()], "training"), FLAGS.pictures)
    pictures = load(pairs, parse_input_shape(FLAGS.input_shape))
    batches = Batches(pictures.images, pictures.mattes, FLAGS.batch_size)
    loaders = {"ours": ours, "tf.data": tf_data}
    with contextlib.suppress(ImportError):
        import grain  # noqa: F401

        loaders["grain"] = with_grain
    found: dict[str, list] = {name: [] for name in loaders}
    for _ in range(FLAGS.rounds):
        for name, loader in loaders.items():
            found[name].append(measured(loader, batches, FLAGS.workers))
    print(f"{len(pictures.images)} pictures, {FLAGS.workers} workers, {FLAGS.rounds} rounds")
    rows = [["loader", "s to the first batch", "pictures/s", "ms of processors/picture"]]
    for name, rounds in found.items():
        first, rate, busy = np.median(rounds, axis=0)
        rows.append([name, f"{first:.1f}", f"{rate:.0f}", f"{busy:.1f}"])
    print("\n".join(aligned(rows)))


if __name__ == "__main__":
    cli.run(main, ["input_shape"])
