"""Reads the contents of folders, for comparisons."""

from pathlib import Path


def tree(folder: Path) -> dict[str, bytes]:
    """Returns the bytes of every file below a folder, by its relative path."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
