"""Files in the cloud and elsewhere, as URLs such as s3://bucket/folder, through fsspec.

fsspec comes with the requirements; the package for a protocol may be missing: s3fs for s3://, gcsfs
for gs://, adlfs for az://. Credentials are where these packages look for them.
"""

import contextlib
import errno
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from portrait.errors import UserError, first_line
from portrait.io.decode import PictureError
from portrait.io.files import WriteError


def is_url(source: str | Path) -> bool:
    """Whether a source or a target is a URL and not a path."""
    return "://" in str(source)


def name_of(url: str) -> PurePosixPath:
    """The path in a URL, with the bucket or the host, and without the protocol.

    For http:// and https://, also without what follows the path, such as a signature.
    """
    protocol, _, path = url.partition("://")
    if protocol.lower() in ("http", "https"):
        path = re.split("[?#]", path)[0]
    return PurePosixPath(path.lstrip("/"))


def list_files(url: str) -> list[str]:
    """The URLs of the files directly in a folder, sorted; empty if there is no such folder.

    Raises:
        UserError: the place cannot be reached, or its protocol is not installed.
    """
    files, root = _open(url)
    try:
        names = [each["name"] for each in files.ls(root, detail=True) if each["type"] == "file"]
    except FileNotFoundError:
        return []
    except Exception as error:  # each protocol has its own
        raise UserError(f"cannot list {url}: {first_line(error)}") from error
    return sorted(files.unstrip_protocol(name) for name in names)


@contextlib.contextmanager
def fetched(source: str | Path) -> Iterator[Path]:
    """Yields a local file with the contents of `source`: itself, or a temporary copy of a URL.

    Raises:
        PictureError: it cannot be read.
        WriteError: there is no space for a copy.
        UserError: its protocol is not installed.
    """
    if not is_url(source):
        yield Path(source)
        return
    files, path = _open(str(source))
    with temporary_folder("fetched") as folder:
        local = Path(folder) / name_of(str(source)).name
        try:
            files.get_file(path, str(local))
        except Exception as error:
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise WriteError(f"cannot copy {source}: {error.strerror}") from error
            raise PictureError(f"{source}: {first_line(error)}") from error
        yield local


@contextlib.contextmanager
def delivered(target: str | Path) -> Iterator[Path]:
    """Yields a local path to write to; afterwards, this file is stored as `target`, whole.

    Raises:
        WriteError: the target cannot be written.
        UserError: its protocol is not installed.
    """
    if not is_url(target):
        yield Path(target)
        return
    files, path = _open(str(target))
    with temporary_folder("delivered") as folder:
        local = Path(folder) / name_of(str(target)).name
        yield local
        try:
            files.makedirs(path.rpartition("/")[0], exist_ok=True)
            # In a transaction, so that it appears when it is complete.
            with files.transaction, open(local, "rb") as made, files.open(path, "wb") as stored:
                shutil.copyfileobj(made, stored, 1 << 22)
        except Exception as error:
            raise WriteError(f"cannot write {target}: {first_line(error)}") from error


def temporary_folder(prefix: str) -> tempfile.TemporaryDirectory:
    """Makes a folder that is removed at the end of a `with` block.

    Raises:
        WriteError: it cannot be made.
    """
    try:
        return tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True)
    except OSError as error:
        raise WriteError(f"cannot make a temporary folder: {error.strerror}") from error


def _open(url: str):
    """The file system of a URL, and the path in it."""
    import fsspec

    try:
        return fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:  # not installed; an unknown protocol
        raise UserError(f"{url}: {first_line(error)}") from error
