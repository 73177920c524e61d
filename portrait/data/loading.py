"""Decoded pictures and mattes of one size, in memory or in a temporary file."""

import os
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from portrait.data.pairs import Pair, counted, is_dim, read_pair, warn_dim
from portrait.errors import UserError, warn_skipped
from portrait.io.images import PictureError, resize

# Decoded pictures beyond this many bytes (22,000 at 256x192) are kept in a temporary file.
MEMORY_LIMIT = 4 << 30


@dataclass(frozen=True)
class Pictures:
    """Decoded pairs: uint8 images (N, H, W, 3) RGB, uint8 mattes (N, H, W), and their `pairs`.

    With `lazy`, images and mattes are not arrays, but are read when they are indexed (`reading`).
    """

    images: np.ndarray
    mattes: np.ndarray
    pairs: list[Pair]
    lazy: bool = False


def load(
    pairs: Sequence[Pair], size: tuple[int, int], workers: int = 2, limit: int = MEMORY_LIMIT
) -> Pictures:
    """Decodes every pair and resizes it to `size`.

    Unusable pairs are skipped, and one warning counts and names them.

    Args:
        pairs: the pairs to read.
        size: (height, width) in pixels; pictures are resized to it without regard to their aspect.
        workers: the number of threads; decoding and resizing release Python's lock.
        limit: if the pictures take more bytes, they are kept in a temporary file without a name,
            which disappears with the process.

    Raises:
        UserError: no pair is left, or the temporary file does not fit on its disk.
    """
    images = zeros((len(pairs), *size, 3), limit * 3 // 4)
    mattes = zeros((len(pairs), *size), limit // 4)
    dim = []

    def read(index: int) -> str | None:
        try:
            image, matte = read_pair(pairs[index])
        except PictureError as error:
            return str(error)
        if is_dim(matte):
            dim.append(str(pairs[index].matte))
        images[index] = resize(image, size)
        mattes[index] = resize(counted(matte), size)
        return None

    with ThreadPoolExecutor(max(workers, 1)) as pool:
        results = pool.map(read, range(len(pairs)))
        errors = list(
            tqdm(
                results, "reading", len(pairs), leave=False, delay=2, unit=" pictures", disable=None
            )
        )
    good = [index for index, error in enumerate(errors) if error is None]
    warn_skipped([error for error in errors if error], "{count} left out: {names}")
    warn_dim(sorted(dim))
    if not good:
        raise UserError(f"none of {len(pairs)} pictures can be used")
    for place, index in enumerate(good):  # in place, because memory may be too small for a copy
        if place != index:
            images[place], mattes[place] = images[index], mattes[index]
    return Pictures(images[: len(good)], mattes[: len(good)], [pairs[index] for index in good])


def zeros(shape: tuple[int, ...], limit: int) -> np.ndarray:
    """A uint8 array of zeros, in a nameless temporary file if it is larger than `limit` bytes."""
    size = int(np.prod(shape))
    if size <= limit:
        return np.zeros(shape, np.uint8)
    try:
        file = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the last array that maps it)
        if hasattr(os, "posix_fallocate"):
            # Otherwise a full disk would end the process with SIGBUS at a later write.
            os.posix_fallocate(file.fileno(), 0, size)
    except OSError as error:
        raise UserError(
            f"the decoded pictures need {size >> 20} MiB in {tempfile.gettempdir()}: "
            f"{error.strerror}; set TMPDIR to a larger disk"
        ) from error
    return np.memmap(file, np.uint8, "r+", shape=shape)
