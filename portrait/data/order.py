"""Divides the pictures into the batches of an epoch, and each batch among several processes."""

import functools
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Order:
    """Divides `count` pictures into the batches of an epoch.

    Every epoch contains every picture. The batches have nearly the same size, so that no small
    batch disturbs the statistics of batch normalisation. The size of a batch is a multiple of the
    number of devices that share it: if `count` is not such a multiple, up to `multiple` - 1
    pictures are repeated in the epoch. The number of batches does not depend on `multiple`.

    Attributes:
        count: the number of pictures, at least 1.
        batch_size: the largest number of pictures in a batch, a multiple of `multiple`.
        shuffle: whether every epoch has its own order.
        seed: of the orders, at least 0.
        multiple: the number of devices that share a batch.
        share: (index, number): this process reads part `index` of the `number` parts of each batch.
            `multiple` is a multiple of the number.
    """

    count: int
    batch_size: int
    shuffle: bool = False
    seed: int = 0
    multiple: int = 1
    share: tuple[int, int] = (0, 1)

    def __post_init__(self):
        if self.count < 1:
            raise ValueError("there are no pictures")
        if self.batch_size % self.multiple or self.multiple % self.share[1]:
            raise ValueError(
                f"batches of {self.batch_size} for {self.multiple} devices of {self.share[1]} hosts"
            )

    @property
    def batches(self) -> int:
        """The number of batches in an epoch."""
        return -(-self.count // self.batch_size)

    @property
    def extra(self) -> int:
        """The number of repeated pictures in an epoch."""
        return -self.count % self.multiple

    def of(self, epoch: int, index: int) -> tuple[np.ndarray, np.ndarray]:
        """The pictures of a batch, in ascending order within this process's part.

        Returns:
            Their indices, int (B,); and bool (B,): False where a picture is repeated.
        """
        order = _order(self.count, (self.seed, epoch) if self.shuffle else None)
        # The repeated pictures are those at the head of the epoch's order, again and again if there
        # are fewer pictures than devices.
        places = np.arange(self.count + self.extra)
        groups = places.reshape(-1, self.multiple)
        chosen = np.array_split(groups, self.batches)[index].ravel()
        part, parts = self.share
        chosen = np.split(chosen, parts)[part]
        numbers, first = order[chosen % self.count], chosen < self.count
        # A memory-mapped file is read faster in its own order; the order within a batch does not
        # matter.
        ascending = np.argsort(numbers, kind="stable")
        return numbers[ascending], first[ascending]


@functools.lru_cache(maxsize=4)
def _order(count: int, seed: tuple[int, int] | None) -> np.ndarray:
    """0 to `count` - 1 in the order of an epoch, kept because a million takes long to shuffle."""
    order = np.arange(count)
    if seed is not None:
        np.random.default_rng(seed).shuffle(order)
    return order
