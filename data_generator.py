"""Finds pictures and their mattes on disk, reads them, and makes batches of them.

pairs = find_pairs(["data/selfies", "data/Blank_scenes"], "training")
train, val = split(pairs, 0.8)
pictures = load(train, size=(256, 192))
batches = PortraitSequence(pictures.images, pictures.mattes, batch_size=32, shuffle=True)
model.fit(batches, shuffle=False, callbacks=[batches.follow_epoch()])
"""

import atexit
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from functools import partial

import keras
import numpy as np

from augmentation import Augmentation
from portrait.data.loading import Pictures, load
from portrait.data.order import Order
from portrait.data.pairs import Pair, find_pairs, read_pair, split
from portrait.data.reading import open_pictures
from portrait.data.targets import boundary_target
from portrait.data.workers import AVAILABLE, Workers
from portrait.errors import UserError

__all__ = ["Pair", "Pictures", "PortraitSequence", "find_pairs", "load", "read_pair", "split"]


_LIVING: weakref.WeakSet = weakref.WeakSet()


class PortraitSequence(keras.utils.PyDataset):
    """Batches of pictures with their targets: `(images, {"output": ..., ...})`.

    Images are float32 (B, H, W, 3), 0..255; the target `output` is the matte, float32 (B, H, W, 1),
    0..1; `boundary_attention` is the band along its outline, of the same shape and range. Each
    epoch has every picture once, in batches of nearly one size (`portrait.data.order`).

    A batch depends only on (seed, epoch, index): worker processes, which compute ahead, change only
    the speed. Two properties of Keras need care:

    - it calls `on_epoch_end` before the first epoch, too, and draws a batch to build a model, so
      epochs cannot be counted here: give `fit` the callback of `follow_epoch()`, or set `epoch`;
    - `fit` shuffles the order of batches unless told `shuffle=False`.

    Args:
        images: uint8 (N, H, W, 3), or (N, H, W, 4) with a coarse alpha as the fourth channel.
        mattes: uint8 (N, H, W), 255 = person.
        batch_size: the largest number of pictures in a batch.
        augmentation: called as `augmentation(images, mattes, seed)` with a batch of uint8 arrays,
            returns two such arrays; None leaves pictures as they are.
        shuffle: whether every epoch has its own order.
        seed: at least 0.
        workers: processes that compute ahead; 0 computes in the calling thread, as do systems other
            than Linux, where a process cannot be forked safely.
        targets: the targets to make: "output", "boundary_attention", or both.
        boundary: makes the band (H, W), 0..1, from a uint8 matte (H, W); it is kept in 256 levels.
        teachers: called as `teachers(images, mattes)` with an augmented batch of uint8 arrays;
            returns the mattes to learn. Bands are still made from the given mattes.
        multiple: the number of devices that share a batch: its size is a multiple of it, and a few
            pictures come twice if necessary. Where the order is not shuffled (in validation), the
            batches then have sample weights, `(images, targets, weights)`, which count every
            picture once in the means of losses and weighted metrics.
        share: (index, number): the part of each batch to make, if as many processes train together.

    Attributes:
        epoch: the current epoch, from 0.
        failure: the last error that made a batch impossible; None if there was none.
    """

    def __init__(
        self,
        images: np.ndarray,
        mattes: np.ndarray,
        batch_size: int,
        augmentation: Callable[[np.ndarray, np.ndarray, int], tuple[np.ndarray, np.ndarray]]
        | None = None,
        shuffle: bool = False,
        seed: int = 0,
        workers: int = 0,
        targets: Sequence[str] = ("output", "boundary_attention"),
        boundary: Callable[[np.ndarray], np.ndarray] = boundary_target,
        teachers: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None,
        multiple: int = 1,
        share: tuple[int, int] = (0, 1),
    ):
        super().__init__()
        if not len(images) or len(images) != len(mattes):
            raise ValueError(f"{len(images)} images and {len(mattes)} mattes")
        self.images = images
        self.mattes = mattes
        self.augmentation = augmentation
        self.seed = seed
        self.targets = tuple(targets)
        self.boundary = boundary
        self.teachers = teachers
        self.epoch = 0
        self.failure: UserError | None = None
        self.order = Order(len(images), batch_size, shuffle, seed, multiple, share)
        self._batches = self.order.batches
        self._lock = threading.Lock()  # Keras reads batches from its own threads
        self._next = self._batches
        self._ended = False
        _LIVING.add(self)
        self._pool = None
        if workers > 0 and AVAILABLE:
            largest = min(batch_size, len(images) + self.order.extra) // share[1]
            plane = (largest, *images.shape[1:3])
            shapes = [(*plane, images.shape[3]), plane, plane]
            shapes = shapes[: 3 if "boundary_attention" in targets else 2]
            self._pool = Workers(self._compute, shapes, workers)

    def __len__(self) -> int:
        """The number of batches in an epoch."""
        return self._batches

    def __getitem__(self, index: int) -> tuple:
        if not 0 <= index < self._batches:
            raise IndexError(index)
        job = (self.epoch, index)
        ahead = [(self.epoch, later) for later in range(index + 1, self._batches)]
        # Nothing sets the epoch of validation, whose batches are the same in every epoch.
        changes = self.order.shuffle or self.augmentation is not None
        ahead += [(self.epoch + changes, first) for first in range(index)]
        with self._lock:
            if self._ended:
                raise RuntimeError("the process is ending")
            self._next = index + 1
            batch = self._pool and self._pool.fetch(job, ahead, self._finish)
            try:
                batch = batch or self._finish(self._compute(job))
            except UserError as error:
                self.failure = error
                raise
        if self.order.shuffle or not self.order.extra:
            return batch
        # Keras divides by the number of pictures, including the repeated ones.
        whole = np.float32(1 + self.order.extra / self.order.count)
        return *batch, self.order.of(*job)[1] * whole

    def follow_epoch(self) -> keras.callbacks.Callback:
        """A callback for `fit` that sets `epoch`, also when training resumes at `initial_epoch`."""

        def follow(epoch: int, logs: dict | None = None) -> None:
            self.epoch = epoch

        return keras.callbacks.LambdaCallback(on_epoch_begin=follow)

    def close(self) -> None:
        """Ends the worker processes; the caller then computes further batches."""
        with self._lock:
            if self._pool:
                self._pool.close()
                self._pool = None

    def _end(self) -> bool:
        """Refuses further batches; returns whether an epoch was running."""
        with self._lock:
            self._ended = True
        self.close()
        return self._next < self._batches

    def _finish(self, arrays: list[np.ndarray]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """The batch for networks, from the arrays of `_compute`."""
        images, *planes = arrays
        targets = {
            name: np.multiply(plane[..., None], np.float32(1 / 255), dtype=np.float32)
            for name, plane in zip(("output", "boundary_attention"), planes, strict=False)
            if name in self.targets
        }
        return images.astype(np.float32), targets

    def _compute(self, job: tuple[int, int]) -> list[np.ndarray]:
        """The batch of job = (epoch, index) in bytes: images, mattes and optionally bands."""
        chosen, _ = self.order.of(*job)
        images, mattes = self.images[chosen], self.mattes[chosen]
        if self.augmentation:
            part = self.order.share[:1] if self.order.share[1] > 1 else ()
            seed = np.random.SeedSequence((self.seed, *job, *part)).generate_state(1)[0]
            images, mattes = self.augmentation(images, mattes, int(seed >> 1))
        learned = self.teachers(images, mattes) if self.teachers else mattes
        arrays = [images, learned]
        if "boundary_attention" in self.targets:
            bands = np.stack([self.boundary(matte) for matte in mattes])
            arrays.append(np.rint(bands * 255).astype(np.uint8))
        return arrays


@atexit.register
def _end_all() -> None:
    """Stops the threads in which Keras reads batches ahead.

    They continue when a training is interrupted within an epoch. A thread that returns to Python
    while the interpreter shuts down never wakes again, and TensorFlow waits for it.
    """
    if any([sequence._end() for sequence in list(_LIVING)]):
        time.sleep(0.5)  # now they get no further batch, and end


def make_batches(
    train: list[Pair],
    validate: list[Pair],
    size: tuple[int, int],
    batch_size: int,
    augmentation: Augmentation,
    *,
    boundary: Callable[[np.ndarray], np.ndarray] = boundary_target,
    teachers: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None,
    seed: int = 0,
    workers: int = 0,
    multiple: int = 1,
    share: tuple[int, int] = (0, 1),
    cache: str = "auto",
) -> tuple[PortraitSequence, PortraitSequence]:
    """Reads the pairs at `size`, (height, width), and makes batches of them.

    Returns:
        The training batches, augmented, with teachers, and in a new order in every epoch; and the
        validation batches, unchanged. `cache` is as in `open_pictures`, the other arguments are as
        in `PortraitSequence`.

    Raises:
        UserError: none of the pictures can be read, or the cache does not fit on its disk.
    """
    training, validation = (open_pictures(pairs, size, cache) for pairs in (train, validate))
    return batches_of(
        training,
        validation,
        batch_size,
        augmentation=augmentation,
        boundary=boundary,
        teachers=teachers,
        seed=seed,
        workers=workers,
        multiple=multiple,
        share=share,
    )


def batches_of(
    training: Pictures,
    validation: Pictures,
    batch_size: int,
    *,
    augmentation: Augmentation,
    boundary: Callable[[np.ndarray], np.ndarray],
    teachers: Callable[[np.ndarray, np.ndarray], np.ndarray] | None,
    seed: int,
    workers: int,
    multiple: int,
    share: tuple[int, int],
) -> tuple[PortraitSequence, PortraitSequence]:
    """Makes the training and the validation batches of pictures that are read already.

    Returns:
        See `make_batches`. The arguments are as in `PortraitSequence`.
    """
    sequence = partial(
        PortraitSequence, batch_size=batch_size, boundary=boundary, multiple=multiple, share=share
    )
    return (
        sequence(
            training.images,
            training.mattes,
            augmentation=augmentation,
            teachers=teachers,
            shuffle=True,
            seed=seed,
            workers=workers,
        ),
        # They are not augmented: only reading takes time.
        sequence(validation.images, validation.mattes, workers=workers if validation.lazy else 0),
    )
