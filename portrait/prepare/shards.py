"""Packs pairs into shards: few large files instead of millions of small ones."""

import functools
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from tqdm import tqdm

from portrait.data.pairs import Pair, is_dim, read_pair, warn_dim
from portrait.errors import UserError, warn_skipped
from portrait.io.decode import read_bytes
from portrait.io.images import shrink
from portrait.io.photos import leaving_out
from portrait.io.shards import MATTE, Sample, is_written, samples_in, shard_path, write_shard
from portrait.prepare.datasets import claim, in_processes, release

_QUALITY = [cv2.IMWRITE_JPEG_QUALITY, 95]


class _Job(NamedTuple):
    """A shard, and the pairs to write into it."""

    path: Path
    pairs: list[Pair]


def pack(
    pairs: Sequence[Pair], output: Path, count: int, longest_side: int = 0, workers: int = 2
) -> list[Path]:
    """Writes pairs, in their order, into `count` shards in `output/training`; see `io.shards`.

    Training on the shards uses the same batches as training on the folders of the pairs, without
    those that cannot be used. Photographs are copied byte for byte. Mattes become PNGs of 8 bits,
    whatever their form was. Complete shards are kept, so a stopped run can be repeated.

    Args:
        pairs: the pairs to write, examined (`labels.examine`).
        output: a new folder, or the folder of an earlier run with the same arguments.
        count: the number of shards.
        longest_side: photographs with a longer side are made smaller, and written as JPEGs of
            quality 95; 0 copies all.
        workers: the number of processes; each writes a shard.

    Returns:
        The shards.

    Raises:
        UserError: `output` holds other files or cannot be written, there are fewer pairs than
            shards, or no pair can be used.
    """
    if count > len(pairs):
        raise UserError(f"--shards={count}: there are only {len(pairs)} pictures")
    claim(output, pairs, {"shards": count, "longest_side": longest_side})
    ends = np.linspace(0, len(pairs), count + 1).astype(int).tolist()
    jobs = [
        _Job(shard_path(output / "training", number, count), list(pairs[start:end]))
        for number, (start, end) in enumerate(itertools.pairwise(ends))
    ]
    write = functools.partial(_write, side=longest_side)
    bar = functools.partial(tqdm, desc="packing", total=count, unit=" shards", disable=None)
    done = in_processes(write, jobs, min(workers, count), bar, chunk=1)
    counts, left_out, dim = zip(*done, strict=True)
    warn_skipped(list(itertools.chain.from_iterable(left_out)), "{count} left out: {names}")
    warn_dim(list(itertools.chain.from_iterable(dim)))
    if not any(counts):
        for job in jobs:
            job.path.unlink()
            job.path.with_suffix(".idx").unlink()
        release(output)
        raise UserError(f"none of {len(pairs)} pictures can be used")
    return [job.path for job in jobs]


def _write(job: _Job, side: int) -> tuple[int, list[str], list[str]]:
    """Writes a shard that is not there.

    Returns:
        The number of its samples, why other pairs cannot be used, and mattes that are dim.
    """
    if is_written(job.path):
        return len(samples_in(job.path)), [], []
    left_out, dim = [], []

    def samples() -> Iterator[Sample]:
        for pair in job.pairs:
            with leaving_out(pair.image, left_out):
                image, matte = read_pair(pair)
                files = {pair.image.suffix: read_bytes(pair.image)}
                if side and max(image.shape[:2]) > side:
                    image, matte = shrink(image, side), shrink(matte, side)
                    files = {".jpg": _encoded(".jpg", image[..., ::-1], _QUALITY)}
                if pair.matte:
                    if is_dim(matte):
                        dim.append(str(pair.matte))
                    files[MATTE] = _encoded(".png", matte)
                yield Sample(pair.name, files)

    return write_shard(job.path, samples()), left_out, dim


def _encoded(suffix: str, picture: np.ndarray, options: Sequence[int] = ()) -> bytes:
    return cv2.imencode(suffix, np.ascontiguousarray(picture), options)[1].tobytes()
