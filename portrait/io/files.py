"""Writes files atomically: a file appears complete or not at all."""

import contextlib
import glob
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


class WriteError(UserError):
    """A file that cannot be written: a read-only folder, a full disk."""


def refuse_overwriting(target: str | os.PathLike, *sources: str | os.PathLike) -> None:
    """Raises UserError if `target` is one of the files that it is made from."""
    if Path(target).resolve() in [Path(source).resolve() for source in sources]:
        raise UserError(f"{target} would overwrite the file that it is made from")


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """Yields a temporary path beside `path`; on success it is synced and renamed over `path`.

    The temporary name is hidden and has the suffixes of `path`, by which libraries choose the
    format. On any error the temporary file is removed, and an earlier file at `path` stays
    unchanged. A temporary file of a killed run is removed when the same file is written next.

    A folder, such as an `.mlpackage`, can be written in the same way. An earlier folder is missing
    for the moment between two renames.

    Raises:
        WriteError: the file cannot be written (read-only folder, full disk, no such drive).
    """
    path = Path(path)
    suffixes = "".join(path.suffixes[-2:])
    # File names have at most 255 bytes, and the temporary name is longer.
    stem = path.name.split(".")[0][:40]
    owner = f"{_HOST}-{os.getpid()}"
    temporary = path.with_name(f".{stem}-{owner}-{secrets.token_hex(4)}.part{suffixes}")
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
        in_the_way = path.parent.is_file()
        reason = f"{path.parent} is a file" if in_the_way else error.strerror or str(error)
        raise WriteError(f"cannot write {path}: {reason}") from error
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _remove_abandoned(folder: Path, stem: str) -> None:
    """Removes temporary files of this name if their process on this host no longer runs."""
    for path in folder.glob(f".{glob.escape(stem)}-{_HOST}-*.part*"):
        process = path.name.removeprefix(f".{stem}-{_HOST}-").partition("-")[0]
        if process.isdecimal() and not _lives(int(process)):
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
