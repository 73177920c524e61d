"""From pairs on disk to the batches that train a network and those that validate it."""

from collections.abc import Callable
from functools import partial

import numpy as np

import data_generator
import preprocess
from augmentation import Augmentation
from data_generator import PortraitSequence
from pairs import Pair


def make_batches(
    train: list[Pair],
    validate: list[Pair],
    size: tuple[int, int],
    batch_size: int,
    augmentation: Augmentation,
    *,
    boundary: Callable[[np.ndarray], np.ndarray] = preprocess.boundary_target,
    teachers: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None,
    seed: int = 0,
    workers: int = 0,
) -> tuple[PortraitSequence, PortraitSequence]:
    """Reads the pairs at `size`, (height, width), and makes batches of them.

    Returns:
        The training batches, augmented, taught and in another order every epoch, and the
        validation batches, as they are on disk. The other arguments are those of
        `PortraitSequence`.

    Raises:
        UserError: none of the pictures can be read.
    """
    training, validation = (data_generator.load(pairs, size) for pairs in (train, validate))
    sequence = partial(PortraitSequence, batch_size=batch_size, boundary=boundary)
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
        sequence(validation.images, validation.mattes),
    )
