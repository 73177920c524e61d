"""Shards: tar files that hold the pictures of a data set, and are read at random by an index.

DIR/00000-of-00008.tar    the files of each sample one after the other: SET/NAME.jpg and
                          SET/NAME.matte.png, the format of WebDataset
DIR/00000-of-00008.idx    where each file begins, the index of NVIDIA DALI (wds2idx)

A path that leads through a shard, such as DIR/00000-of-00008.tar/SET/NAME.jpg, names a file in it.
"""

import io
import os
import re
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, unquote

import numpy as np

from portrait.errors import UserError
from portrait.io.files import replacing

MATTE = ".matte.png"
_NAME = re.compile("[0-9]+-of-[0-9]+[.]tar")
_VERSION = "v1.2"  # of the index
_BLOCK = 512  # of a tar file
_THROUGH = f".tar{os.sep}"
_ESCAPE = "surrogateescape"  # names of files need not be UTF-8


class Sample(NamedTuple):
    """The files of a sample in a shard.

    Attributes:
        name: SET/NAME, without suffixes.
        files: their contents by suffix, such as ".jpg" and ".matte.png"; the picture first.
    """

    name: str
    files: dict[str, bytes]


def shard_path(folder: Path, number: int, count: int) -> Path:
    """The path of one of `count` shards."""
    return folder / f"{number:05}-of-{count:05}.tar"


def is_written(path: Path) -> bool:
    """Whether a shard is complete. Its index is written last."""
    return path.is_file() and path.with_suffix(".idx").is_file()


def write_shard(path: Path, samples: Iterable[Sample]) -> int:
    """Writes a shard and its index, whole or not at all.

    Returns:
        The number of samples.

    Raises:
        WriteError: a file cannot be written.
    """
    lines = []
    with (
        replacing(path) as temporary,
        tarfile.open(temporary, "w", encoding="utf-8", errors=_ESCAPE) as tar,
    ):
        for sample in samples:
            parts = []
            for suffix, contents in sample.files.items():
                member = tarfile.TarInfo(sample.name + suffix)
                member.size = len(contents)
                tar.addfile(member, io.BytesIO(contents))
                start = tar.offset - len(contents) - -len(contents) % _BLOCK  # the block is filled
                name = quote(member.name, errors=_ESCAPE)  # the index separates fields by spaces
                parts += [suffix[1:], str(start), str(len(contents)), name]
            lines.append(" ".join(parts))
    with replacing(path.with_suffix(".idx")) as temporary:
        temporary.write_text("\n".join([f"{_VERSION} {len(lines)}", *lines, ""]))
    return len(lines)


def list_shards(folder: Path) -> list[Path]:
    """The shards of a folder in the order of their numbers; empty if there are none.

    Raises:
        UserError: some are missing.
    """
    found = sorted(path for path in folder.glob("*-of-*.tar") if _NAME.fullmatch(path.name))
    counts = {path.stem.rpartition("-of-")[2] for path in found}
    if not found:
        return []
    count = int(max(counts))
    expected = [shard_path(folder, number, count) for number in range(count)]
    missing = [path for path in expected if not is_written(path)]
    if missing or len(found) > count:
        raise UserError(
            f"{folder}: {len(missing)} of {count} shards are not complete, such as "
            f"{(missing or found)[0].name}: repeat the command that wrote them"
        )
    return expected


def samples_in(shard: Path) -> list[tuple[str, str | None]]:
    """The names in a shard of each sample's picture, and of its matte, or None without one.

    Raises:
        UserError: the index cannot be read.
    """
    samples = _lines(shard)
    _INDICES[str(shard)] = _Index(samples)  # before processes are forked, which then share it
    return [(files[0][0], files[1][0] if len(files) > 1 else None) for files in samples]


def leads_through(path: str | os.PathLike) -> bool:
    """Whether a path names a file in a shard."""
    return _THROUGH in os.fspath(path)


def read_member(path: str | os.PathLike) -> bytes:
    """The contents of a file in a shard.

    Any number of processes may read, also if they were forked after the index had been read.

    Raises:
        OSError: the shard cannot be read, or has no such file.
        UserError: the index cannot be read.
    """
    shard, _, name = os.fspath(path).partition(_THROUGH)
    shard = f"{shard}.tar"
    if shard not in _INDICES:
        _INDICES[shard] = _Index(_lines(Path(shard)))
    start, size = _INDICES[shard].find(name.replace(os.sep, "/"))
    with open(shard, "rb", buffering=0) as file:
        file.seek(start)
        contents = file.read(size)
    if len(contents) < size:
        raise OSError(f"the shard is truncated: {shard}")
    return contents


class _Index:
    """Where the files of a shard are, in arrays: a million names as strings need 200 MB more."""

    def __init__(self, samples: list[list[tuple[str, int, int]]]):
        files = [file for each in samples for file in each]
        names = np.array([os.fsencode(name) for name, _, _ in files] or [b""])
        order = np.argsort(names)
        self._names = names[order]
        self._places = np.array([place for _, *place in files], np.int64).reshape(-1, 2)[order]

    def find(self, name: str) -> tuple[int, int]:
        """The first byte and the number of bytes of a file."""
        key = os.fsencode(name)
        row = int(np.searchsorted(self._names, key))
        if row == len(self._places) or self._names[row] != key:
            raise FileNotFoundError(2, os.strerror(2))
        start, size = self._places[row]
        return int(start), int(size)


_INDICES: dict[str, _Index] = {}


def _lines(shard: Path) -> list[list[tuple[str, int, int]]]:
    """(name, first byte, number of bytes) of the files of each sample."""
    index = shard.with_suffix(".idx")
    try:
        head, *lines = index.read_text().splitlines()
        version, count = head.split()
        if version != _VERSION or len(lines) != int(count):
            raise ValueError(f"it begins with {head!r} and has {len(lines)} samples")
        fields = [line.split(" ") for line in lines]
        return [
            [
                (unquote(name, errors=_ESCAPE), int(start), int(size))
                for start, size, name in zip(row[1::4], row[2::4], row[3::4], strict=True)
            ]
            for row in fields
        ]
    except OSError as error:
        raise UserError(f"cannot read {index}: {error.strerror}") from error
    except ValueError as error:
        raise UserError(f"{index} is damaged ({error}): write the shards again") from error
