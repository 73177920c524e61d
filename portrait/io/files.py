"""Writes files atomically: a file appears complete or not at all."""

import contextlib
import functools
import hashlib
import os
import platform
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from portrait.errors import UserError

# Temporary names contain the host, because several hosts may share a drive.
_HOST = hashlib.sha256(platform.node().encode()).hexdigest()[:6]
_LONGEST_SUFFIX = 16  # bytes: that of .mlpackage has 10


class WriteError(UserError):
    """A file that cannot be written: a read-only folder, a full disk."""


def refuse_overwriting(target: str | os.PathLike, *sources: str | os.PathLike) -> None:
    """Raises UserError if `target` is one of the files that it is made from.

    For numbered pictures, see `sequences.refuse_overlap`.
    """
    if any(is_same_file(target, source) for source in sources):
        raise UserError(f"{target} would overwrite the file that it is made from")


def check_writable(folder: str | os.PathLike) -> None:
    """Raises an error if `folder`, which need not exist, cannot be written into.

    Work that takes minutes calls it first. `replacing` finds the same errors, but only at the end.

    Raises:
        WriteError: a file is in the way, or a permission is missing.
    """
    try:
        place = Path(folder).absolute()
        while not place.exists() and place != place.parent:
            place = place.parent
    except OSError as error:
        raise WriteError(f"cannot write into {folder}: {error.strerror}") from error
    if place.is_file():
        raise WriteError(f"cannot write into {folder}: {place} is a file")
    if not os.access(place, os.W_OK | os.X_OK):
        raise WriteError(f"cannot write into {folder}: no permission, or a read-only disk")


def is_same_file(one: str | os.PathLike, other: str | os.PathLike) -> bool:
    """Whether two paths lead to one file, also by links or, on macOS, in upper and lower case."""
    one, other = Path(one).resolve(), Path(other).resolve()
    try:
        return one.samefile(other)
    except OSError:  # a file does not exist
        return one == other


def read_list(path: str | os.PathLike, given: str | os.PathLike = "") -> str:
    """The text of a list of file names: UTF-8; a byte order mark is left out.

    Names need not be UTF-8: their other bytes become surrogates, as in Python's paths.

    Args:
        path: the file.
        given: what messages call it; empty: its path.

    Raises:
        UserError: the file cannot be read.
    """
    given = given or path
    try:
        text = Path(path).read_text(encoding="utf-8-sig", errors="surrogateescape")
    except OSError as error:
        raise UserError(f"cannot read {given}: {error.strerror or error}") from error
    if "\0" in text:  # UTF-16, a picture
        raise UserError(f"cannot read {given}: it is not text in UTF-8")
    return text


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """Yields a temporary path beside `path`; on success it is synced and renamed over `path`.

    The temporary name is hidden and has the suffixes of `path`, by which libraries choose the
    format. On any error the temporary file is removed, and an earlier file at `path` stays
    unchanged. A temporary file of a killed run is removed when another process writes the same
    file.

    A folder, such as an `.mlpackage`, can be written in the same way. An earlier folder is missing
    for the moment between two renames.

    Raises:
        WriteError: the file cannot be written (read-only folder, full disk, no such drive).
    """
    path = Path(path)
    # File names have at most 255 bytes, and the temporary name is longer. In "Dr. Jekyll, ....png",
    # a sentence follows the first dot.
    short = (each for each in path.suffixes[-2:] if len(os.fsencode(each)) <= _LONGEST_SUFFIX)
    stem = path.name.split(".")[0][:40]
    owner = f"{_HOST}-{os.getpid()}"
    temporary = path.with_name(f".{stem}-{owner}-{secrets.token_hex(4)}.part{''.join(short)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(path.parent, stem)
        yield temporary
        if temporary.is_dir():
            _replace_folder(temporary, path)
        else:
            with open(temporary, "rb") as written:
                os.fsync(written.fileno())
            temporary.replace(path)
    except OSError as error:
        reason = error.strerror or str(error)
        if isinstance(error, FileExistsError):
            reason = f"{path.parent} is a file"
        elif isinstance(error, shutil.Error):  # a list of (from, to, reason) for each file
            reason = str(error.args[0][0][2])
        raise WriteError(f"cannot write {path}: {reason}") from error
    finally:
        with contextlib.suppress(OSError):  # also if the folder cannot be searched
            if temporary.is_dir():
                shutil.rmtree(temporary, ignore_errors=True)
            temporary.unlink(missing_ok=True)


@functools.cache
def _temporary_files(folder: Path) -> list[Path]:
    """The temporary files of this host in a folder when this process first writes into it.

    Listing a folder for each of its files would take quadratic time.
    """
    return list(folder.glob(f".*-{_HOST}-*.part*"))


def _remove_abandoned(folder: Path, stem: str) -> None:
    """Removes temporary files of this name if their process on this host no longer runs."""
    start = f".{stem}-{_HOST}-"
    for path in _temporary_files(folder.absolute()):
        process = path.name.removeprefix(start).partition("-")[0]
        if path.name.startswith(start) and process.isdecimal() and not _lives(int(process)):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                with contextlib.suppress(OSError):
                    path.unlink()


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # the process belongs to another user
        return True
    return True


def _replace_folder(folder: Path, path: Path) -> None:
    """Renames `folder` to `path` and removes an earlier folder of that name."""
    if not path.is_dir():
        folder.rename(path)
        return
    earlier = folder.with_name(f"{folder.name}-earlier")
    path.rename(earlier)
    folder.rename(path)
    shutil.rmtree(earlier, ignore_errors=True)
