"""Files that appear whole or not at all."""

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

# Temporary names tell whose they are, because several hosts may share a drive.
_HOST = hashlib.sha256(platform.node().encode()).hexdigest()[:6]


def refuse_overwriting(target: str | os.PathLike, *sources: str | os.PathLike) -> None:
    """Raises UserError: `target` is one of the files that it is to be made of."""
    if Path(target).resolve() in [Path(source).resolve() for source in sources]:
        raise UserError(f"{target} would overwrite what it is made of")


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """Yields a temporary path beside `path`; on success it is synced and renamed over `path`.

    The temporary name keeps the suffixes of `path` (libraries choose the format by them) and is
    hidden, so that a killed run leaves nothing that is taken for a result. What it leaves is
    removed when the file is next written. On any error the temporary file is removed and an
    earlier file at `path` stays as it was.

    What is written may be a folder, too, such as an `.mlpackage`. An earlier folder is out of place
    for the moment between two renamings.

    Raises:
        UserError: the folder cannot be written (read-only, disk full, no such drive).
    """
    path = Path(path)
    suffixes = "".join(path.suffixes[-2:])
    # Names end at 255 bytes: one that just fits would not, with what is added.
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
        raise UserError(f"cannot write {path}: {reason}") from error
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _remove_abandoned(folder: Path, stem: str) -> None:
    """Removes the temporary files of this name whose process, on this host, has been killed."""
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
    except OSError:  # another user's
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
