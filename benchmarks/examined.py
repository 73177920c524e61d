"""The pictures of benchmarks, with mattes that mean the same as in main.py."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from portrait.data.labels import examine
from portrait.data.pairs import Pair, find_pairs
from portrait.errors import UserError
from portrait.io.images import list_images


def examined_pairs(
    folders: Sequence[str],
    subset: Literal["training", "testing"],
    person_label: Sequence[str] = (),
) -> list[Pair]:
    """The pairs of `pairs.find_pairs`, examined as `labels.examine` does; see there for errors."""
    return examine(find_pairs(folders, subset), person_label)


def some_images(folder: str) -> list[Path]:
    """The pictures in a folder.

    Raises:
        UserError: there are none.
    """
    if not (found := list_images(folder)):
        raise UserError(f"no pictures in {folder}")
    return found
