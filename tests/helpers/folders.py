"""What folders hold, for comparisons."""

from pathlib import Path


def tree(folder: Path) -> dict[str, bytes]:
    """The bytes of every file below a folder, by its path in it."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
