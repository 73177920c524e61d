"""Reads pictures when a batch needs them, for sets that do not fit in memory.

`open_pictures` chooses between this and `loading.load`. Batches are the same in all three cases.
"""

import logging
import mmap
import shutil
import tempfile
from collections.abc import Sequence

import numpy as np

from portrait.data.loading import MEMORY_LIMIT, Pictures, load, zeros
from portrait.data.pairs import Pair, counted, is_dim, read_pair, warn_dim
from portrait.errors import UserError, printable
from portrait.io.images import PictureError, resize

log = logging.getLogger(__name__)

CACHES = ("auto", "memory", "disk", "none")
_SHARE_OF_DISK = 0.5  # of the free space
_TRIES = 100  # unusable pictures in a row


def open_pictures(pairs: Sequence[Pair], size: tuple[int, int], cache: str = "auto") -> Pictures:
    """Makes the pictures of `pairs` available at `size`.

    Args:
        pairs: the pairs to read.
        size: (height, width) in pixels.
        cache: "memory" decodes all pictures now. "disk" and "none" decode a picture when it is
            needed: "disk" once, into a temporary file without a name, "none" each time. "auto"
            takes memory up to `MEMORY_LIMIT` bytes, then the disk up to half of its free space.

    Raises:
        UserError: no pair can be used (only known in memory), or the disk is too small.
    """
    needed = len(pairs) * size[0] * size[1] * 4
    chosen = cache if cache != "auto" else chosen_cache(needed)
    if chosen == "memory":
        return load(pairs, size, limit=MEMORY_LIMIT if cache == "auto" else needed)
    if cache == "auto":
        log.info("%d pictures need %.1f GiB: --cache=%s", len(pairs), needed / 2**30, chosen)
    reader = PairReader(pairs, size, on_disk=chosen == "disk")
    return Pictures(View(reader, 0), View(reader, 1), list(pairs), lazy=True)


def chosen_cache(needed: int) -> str:
    """The cache for this many bytes of decoded pictures: "memory", "disk" or "none"."""
    if needed <= MEMORY_LIMIT:
        return "memory"
    free = shutil.disk_usage(tempfile.gettempdir()).free
    return "disk" if needed <= free * _SHARE_OF_DISK else "none"


class PairReader:
    """Reads pairs by their numbers, in any of the processes that were forked from this one.

    A pair that turns out to be unusable is replaced by the next one that can be used. Each process
    warns once of such a pair, and of a matte that `is_dim`.

    Args:
        pairs: the pairs.
        size: (height, width) to resize to.
        on_disk: whether to keep decoded pictures in a temporary file, which all processes share.
    """

    def __init__(self, pairs: Sequence[Pair], size: tuple[int, int], on_disk: bool = False):
        self.pairs = pairs
        self.size = size
        self._kept: tuple[np.ndarray, np.ndarray] | None = None
        if on_disk:
            self._kept = zeros((len(pairs), *size, 3), 0), zeros((len(pairs), *size), 0)
            # Which pictures are in the temporary file, in anonymous memory that forked processes
            # share.
            self._there = np.frombuffer(mmap.mmap(-1, len(pairs)), np.uint8)
        self._told: set[str] = set()
        self._last: tuple[bytes, tuple[np.ndarray, np.ndarray]] = (b"", ())

    def read(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Reads pairs; keeps the last result, because callers ask for images and mattes in turn.

        Args:
            numbers: (B,), the indices of the pairs.

        Returns:
            uint8 images (B, H, W, 3) and mattes (B, H, W).

        Raises:
            UserError: 100 pairs in a row cannot be used.
        """
        key = numbers.tobytes()
        if self._last[0] != key:
            images = np.empty((len(numbers), *self.size, 3), np.uint8)
            mattes = np.empty((len(numbers), *self.size), np.uint8)
            for place, number in enumerate(numbers):
                images[place], mattes[place] = self._one(int(number))
            self._last = key, (images, mattes)
        return self._last[1]

    def _one(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        if self._kept and self._there[number]:
            return self._kept[0][number], self._kept[1][number]
        image, matte = self._decoded(number)
        if self._kept:
            self._kept[0][number], self._kept[1][number] = image, matte
            self._there[number] = 1  # last, because another process may read it at any time
        return image, matte

    def _decoded(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """The pair, or the next one that can be used."""
        for ahead in range(min(_TRIES, len(self.pairs))):
            pair = self.pairs[(number + ahead) % len(self.pairs)]
            try:
                image, matte = read_pair(pair)
            except PictureError as error:
                if self._is_new(message := f"left out: {error}"):
                    log.warning("%s", printable(message))
                continue
            if is_dim(matte) and self._is_new(str(pair.matte)):
                warn_dim([str(pair.matte)])
            return resize(image, self.size), resize(counted(matte), self.size)
        raise UserError(f"{ahead + 1} pictures in a row cannot be used, such as {pair.image}")

    def _is_new(self, warning: str) -> bool:
        """Whether this process has not given the warning before; it counts as given now."""
        new = warning not in self._told
        self._told.add(warning)
        return new


class View:
    """The images or the mattes of a `PairReader`, which looks like an array of them.

    Attributes:
        shape: as of the array, (N, H, W, 3) or (N, H, W).
    """

    def __init__(self, reader: PairReader, plane: int):
        self._reader = reader
        self._plane = plane
        self.shape = (len(reader.pairs), *reader.size, 3)[: 4 - plane]

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, chosen) -> np.ndarray:
        """Reads pictures; `chosen` is a number, a slice, or a list or array of numbers."""
        numbers = chosen if isinstance(chosen, np.ndarray) else np.arange(len(self))[chosen]
        if numbers.ndim == 0:
            return self._reader.read(numbers[None])[self._plane][0]
        return self._reader.read(numbers)[self._plane]
