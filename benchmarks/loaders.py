"""Compares the project's loader with those of grain and tf.data.

python benchmarks/loaders.py [--data=DIR] [--workers=1,2] [--rounds=5] [--rest=0]

All loaders make the same batches with the same function: augmented pictures, mattes and bands, as
in training. This is checked. Rounds alternate between the loaders, so that a busy machine treats
them alike; the table has medians. "first" is the time to the first batch in seconds, "pictures/s"
the rate after the warm-up, "of ours" its ratio to the rate of the project's loader in the same
round, and "CPU ms" the CPU time for each picture (Linux only). grain is optional: pip install
grain.
"""

import hashlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from itertools import count, islice
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
from portrait.data.loading import load
from portrait.data.order import Order
from portrait.data.sample.sample import ensure_sample, sample_backgrounds
from portrait.data.targets import boundary_target
from portrait.errors import UserError
from portrait.models.registry import parse_input_shape
from portrait.util import aligned, evenly

FLAGS = flags.FLAGS
flags.DEFINE_list("data", [], "Folders of pictures and mattes. Default: the built-in sample.")
flags.DEFINE_list("person_label", [], "The person's labels in label masks, as in main.py.")
flags.DEFINE_string("input_shape", "256", "HEIGHT or HEIGHTxWIDTH.")
flags.DEFINE_integer("batch_size", 32, "Pictures in a batch.", 1)
flags.DEFINE_integer("pictures", 256, "The largest number of pictures.", 1)
flags.DEFINE_list("workers", ["1", "2"], "Numbers of processes, or of threads.")
flags.DEFINE_integer("rounds", 5, "Rounds of each loader.", 1)
flags.DEFINE_integer("warm_up", 8, "Batches before the time is taken.", 1)
flags.DEFINE_integer("batches", 16, "Batches of which the time is taken.", 1)
flags.DEFINE_integer("rest", 0, "Seconds of rest between rounds, for others on this machine.")
flags.register_validator(
    "workers", lambda counts: all(map(str.isdecimal, counts)), "write numbers, such as 1,2"
)


class Compute:
    """Makes the arrays of a batch from its number, as `PortraitSequence` does."""

    def __init__(self, images: np.ndarray, mattes: np.ndarray, batch_size: int):
        self.images, self.mattes = images, mattes
        self.order = Order(len(images), batch_size, shuffle=True)
        self._own = threading.local()  # augmenters have a state

    def __getstate__(self) -> dict:
        """For processes that are not forked: imgaug's augmenters cannot be pickled."""
        return {name: value for name, value in vars(self).items() if name != "_own"}

    def __setstate__(self, state: dict) -> None:
        vars(self).update(state, _own=threading.local())
        cv2.setNumThreads(1)

    def __call__(self, number: int) -> tuple[np.ndarray, ...]:
        if not hasattr(self._own, "augmentation"):
            self._own.augmentation = Augmentation(DEFAULT, backgrounds=sample_backgrounds())
        job = divmod(int(number), self.order.batches)
        chosen, _ = self.order.of(*job)
        seed = np.random.SeedSequence((self.order.seed, *job)).generate_state(1)[0]
        images, mattes = self._own.augmentation(
            self.images[chosen], self.mattes[chosen], int(seed >> 1)
        )
        bands = np.stack([boundary_target(matte) for matte in mattes])
        return images, mattes, np.rint(bands * 255).astype(np.uint8)


def finished(images: np.ndarray, *planes: np.ndarray) -> tuple[np.ndarray, ...]:
    """The batch for networks."""
    scaled = (np.multiply(plane[..., None], 1 / 255, dtype=np.float32) for plane in planes)
    return images.astype(np.float32), *scaled


def ours(compute: Compute, workers: int) -> Iterator[tuple]:
    """The loader of training: `portrait.data.workers`."""
    from data_generator import PortraitSequence

    augmentation = Augmentation(DEFAULT, backgrounds=sample_backgrounds())
    sequence = PortraitSequence(
        *(compute.images, compute.mattes, compute.order.batch_size, augmentation),
        shuffle=True,
        workers=workers,
    )
    try:
        for epoch in count():
            sequence.epoch = epoch
            for index in range(len(sequence)):
                images, targets = sequence[index]
                yield images, *targets.values()
    finally:
        sequence.close()


def tf_data_map(compute: Compute, workers: int) -> Iterator[tuple]:
    """Threads of TensorFlow, which take turns in Python."""
    import tensorflow as tf

    dataset = tf.data.Dataset.counter().map(
        lambda number: tf.numpy_function(compute, [number], [tf.uint8] * 3, stateful=False),
        num_parallel_calls=workers,
    )
    yield from _with_tf(dataset, workers)


def tf_data_generator(compute: Compute, workers: int) -> Iterator[tuple]:
    """One thread of Python, however many are asked for."""
    import tensorflow as tf

    plane = tf.TensorSpec((None, None, None), tf.uint8)
    image = tf.TensorSpec((None, None, None, 3), tf.uint8)
    dataset = tf.data.Dataset.from_generator(
        lambda: map(compute, count()), output_signature=(image, plane, plane)
    )
    yield from _with_tf(dataset, workers)


def _with_tf(dataset, workers: int) -> Iterator[tuple]:
    import tensorflow as tf

    def finish(images, *planes):
        scaled = (tf.cast(plane[..., None], tf.float32) * np.float32(1 / 255) for plane in planes)
        return tf.cast(images, tf.float32), *scaled

    options = tf.data.Options()
    options.threading.private_threadpool_size = workers
    ready = dataset.map(finish, num_parallel_calls=workers).prefetch(2 * workers + 2)
    yield from ready.with_options(options).as_numpy_iterator()


def grain_processes(compute: Compute, workers: int) -> Iterator[tuple]:
    """Processes that are spawned; batches come through shared memory."""
    import grain

    options = grain.multiprocessing.MultiprocessingOptions(workers, per_worker_buffer_size=2)
    dataset = grain.MapDataset.range(sys.maxsize).map(compute).to_iter_dataset()
    for arrays in dataset.mp_prefetch(options):
        yield finished(*arrays)


def grain_threads(compute: Compute, workers: int) -> Iterator[tuple]:
    """Threads, which take turns in Python."""
    import grain

    options = grain.ReadOptions(num_threads=workers, prefetch_buffer_size=2 * workers + 2)
    for arrays in grain.MapDataset.range(sys.maxsize).map(compute).to_iter_dataset(options):
        yield finished(*arrays)


def measured(loader: Callable, compute: Compute, workers: int) -> tuple[tuple[float, ...], bytes]:
    """Seconds to the first batch, pictures/s and CPU ms; and the hash of the last batch."""
    start = time.perf_counter()
    batches = loader(compute, workers)
    next(batches)
    first = time.perf_counter() - start
    for _ in islice(batches, FLAGS.warm_up):
        pass
    busy, begin, pictures = _busy(), time.perf_counter(), 0
    for batch in islice(batches, FLAGS.batches):
        pictures += len(batch[0])
    seconds, busy = time.perf_counter() - begin, _busy() - busy
    batches.close()
    digest = hashlib.sha256(b"".join(np.ascontiguousarray(part).data for part in batch)).digest()
    return (first, pictures / seconds, busy * 1e3 / pictures), digest


def _busy() -> float:
    return sum(map(processes.seconds, processes.family()))


def table(compute: Compute, workers: int) -> list[list[str]]:
    """The rows of a number of workers."""
    loaders = {"workers.py": ours}
    if find_spec("grain"):
        loaders |= {"grain, processes": grain_processes, "grain, threads": grain_threads}
    loaders |= {"tf.data, numpy_function": tf_data_map, "tf.data, generator": tf_data_generator}
    found: dict[str, list] = {name: [] for name in loaders}
    for _ in range(FLAGS.rounds):
        hashes = {}
        for name, loader in loaders.items():
            figures, hashes[name] = measured(loader, compute, workers)
            found[name].append(figures)
        if different := [name for name in loaders if hashes[name] != hashes["workers.py"]]:
            raise UserError(f"other batches than ours: {', '.join(different)}")
        time.sleep(FLAGS.rest)
    rows = []
    for name, rounds in found.items():
        first, rate, busy = np.median(rounds, axis=0)
        ratio = np.median(np.divide(rounds, found["workers.py"])[:, 1])
        figures = [f"{first:.1f}", f"{rate:.0f}", f"{ratio:.2f}", f"{busy:.2f}"]
        rows.append([name, str(workers), *figures])
    return rows


def main() -> None:
    start_keras()
    cv2.setNumThreads(1)
    pairs = examined_pairs(FLAGS.data or [ensure_sample()], "training", FLAGS.person_label)
    pictures = load(evenly(pairs, FLAGS.pictures), parse_input_shape(FLAGS.input_shape))
    compute = Compute(pictures.images, pictures.mattes, FLAGS.batch_size)
    rows = [["loader", "workers", "first", "pictures/s", "of ours", "CPU ms"]]
    for workers in map(int, FLAGS.workers):
        rows += table(compute, workers)
    print(f"{len(pictures.images)} pictures, batches of {FLAGS.batch_size}, {FLAGS.rounds} rounds")
    print("\n".join(aligned(rows)))


if __name__ == "__main__":
    cli.run(main, ["input_shape"])
