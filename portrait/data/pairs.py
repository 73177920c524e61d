"""Finds pictures and their mattes on disk, reads them, and divides them into subsets."""

import functools
import hashlib
import logging
import os
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from portrait.errors import UserError, warn_skipped
from portrait.io.images import PictureError, list_images, read_image, resize, without_made
from portrait.io.matte_labels import Form, Reading
from portrait.io.mattes import read_matte
from portrait.io.shards import list_shards, samples_in

log = logging.getLogger(__name__)

SUBSETS = ("training", "testing")
ASPECT_TOLERANCE = 0.02
DERIVED = "@"
"""Separates the name of the original picture in the name of a derived one, as in `00001@2`."""
_MATTE_FOLDERS = {"img": ("alpha", "masks"), "images": ("masks", "alpha")}  # the usual one first
_EG1800 = ("images_data_crop", "images_mask")
# Folders that belong to a layout, and do not name a set.
_STRUCTURE = {*SUBSETS, *_MATTE_FOLDERS, *_EG1800}

LAYOUTS = (
    "NAME.jpg with NAME_matte.png beside it; img/NAME.* with alpha/NAME.* (or images/ with masks/);"
    " images_data_crop/NAME.jpg with images_mask/NAME_mask.mat;"
    " a folder called Blank... of pictures without a person; shards of prepare_data.py --shards"
)
_OPACITIES = {"grey": Reading(labels=None, soft=True, said="soft mattes")}  # of shards


@dataclass(frozen=True)
class Pair:
    """A picture file and its matte file.

    Attributes:
        image: the picture, a path that may lead through a shard (`io.shards`).
        matte: the matte, likewise; None if there is no person.
        readings: the meaning of the values of mattes, see `labels.examine`; None before it.
    """

    image: Path
    matte: Path | None
    readings: Mapping[Form, Reading] | None = field(default=None, compare=False, repr=False)

    @property
    def name(self) -> str:
        """The names of set and picture, as in "selfies/00001", without the path of the set."""
        parts = [part for part in self.image.parent.parts if part not in _STRUCTURE]
        return "/".join([*parts[-1:], _key(self.image)])


def find_pairs(
    folders: Sequence[str | os.PathLike], subset: Literal["training", "testing"]
) -> list[Pair]:
    """Finds the pairs of every folder by their names alone, in the order of folders and names.

    A folder is recognised by its layout (`LAYOUTS`), and may mix several. If it has a `training` or
    a `testing` sub-folder, only the one for `subset` is used; otherwise both subsets are the whole
    folder. Pictures without a matte are skipped, with one warning for each folder.

    Raises:
        UserError: a folder is missing, contains no pair in a known layout, or lacks some of its
            shards.
    """
    pairs = []
    for folder in folders:
        if not Path(folder).is_dir():
            raise UserError(f"no such data folder: {folder}")
        root = Path(folder).resolve()
        # For a symbolic link, its own name counts, too.
        blank = any(each.name.startswith("Blank") for each in (root, Path(folder).absolute()))
        if any((root / each).is_dir() for each in SUBSETS):
            root /= subset
            if not root.is_dir():
                raise UserError(f"{folder} has no {subset} sub-folder")
        found, alone = _blanks(root) if blank else _pairs_in(root)
        if not found:
            seen = f" ({len(alone)} without: {_missing(alone[0], root)})" if alone else ""
            raise UserError(f"no pictures with mattes in {root}{seen}; known layouts: {LAYOUTS}")
        _warn_of_lone(root, tuple(alone))
        pairs += found
    return pairs


@functools.cache  # one warning, although a command lists its folders more than once
def _warn_of_lone(root: Path, alone: tuple[Path, ...]) -> None:
    warn_skipped(alone, f"{root}: {{count}} left out, no matte: {{names}}")


def read_pair(pair: Pair) -> tuple[np.ndarray, np.ndarray]:
    """Reads a pair at the photograph's own size.

    Returns:
        The image, uint8 (H, W, 3) RGB, and its matte, uint8 (H, W), zeros for a blank picture. A
        matte of another size with the same proportions (within 2 %) is resized to the image.

    Raises:
        PictureError: one of the files cannot be read, or the proportions differ.
    """
    image = read_image(pair.image)
    height, width = image.shape[:2]
    if pair.matte is None:
        return image, np.zeros((height, width), np.uint8)
    matte = read_matte(pair.matte, pair.readings or {})
    ratio = (matte.shape[1] * height) / (matte.shape[0] * width)
    if not 1 / (1 + ASPECT_TOLERANCE) <= ratio <= 1 + ASPECT_TOLERANCE:
        raise PictureError(
            f"{pair.matte}: {matte.shape[1]}x{matte.shape[0]} has other proportions than the "
            f"picture, {width}x{height}"
        )
    return image, resize(matte, (height, width))


def warn_dim(names: Sequence[str]) -> None:
    """Warns of mattes that `is_dim`."""
    warn_skipped(
        names,
        "mattes that are not empty, but everywhere below half, so they show no person ({count}): "
        "{names} (a person must be 255, or 1 in masks of 0 and 1)",
    )


def is_dim(matte: np.ndarray) -> bool:
    """Whether a matte, uint8 (H, W), is not empty but has no pixel that counts as a person.

    This is typical of label masks with numbers of classes.
    """
    return 0 < matte.max() < 128


def counted(matte: np.ndarray) -> np.ndarray:
    """The matte that a training learns, as scores count it: empty if it `is_dim`."""
    return np.zeros_like(matte) if is_dim(matte) else matte


def read_pairs(pairs: Iterable[Pair]) -> Iterator[tuple[Pair, np.ndarray, np.ndarray]]:
    """Reads pairs one by one; unusable pairs are skipped, with one warning at the end.

    Yields:
        The pair, its image uint8 (H, W, 3) RGB and its matte float32 (H, W), 0..1.
    """
    from portrait.io.photos import leaving_out  # takes long, and trainings do not need it

    unreadable, dim = [], []
    for pair in pairs:
        read = None
        with leaving_out(pair.image, unreadable):
            image, levels = read_pair(pair)
            read = pair, image, levels.astype(np.float32) / 255
        if read is None:
            continue
        if is_dim(levels):
            dim.append(str(pair.matte))
        yield read
    warn_skipped(unreadable, "{count} left out: {names}")
    warn_dim(dim)


def split(pairs: Sequence[Pair], val_ratio: float) -> tuple[list[Pair], list[Pair]]:
    """Divides pairs into training and validation pairs.

    A pair's side depends only on the names of its set and of itself, so it stays the same if
    pictures are added or the set is moved. If one side would be empty, the pairs of the picture
    with the closest hash change sides. A single pair is a training pair. If all pairs were made
    from one picture, one of them changes sides.

    Args:
        pairs: the pairs to divide.
        val_ratio: the share of the training pairs, between 0 and 1 (named after the flag).

    Raises:
        UserError: `val_ratio` is not between 0 and 1.
    """
    if not 0 < val_ratio < 1:
        raise UserError(f"--val_ratio={val_ratio}: the share for training must be between 0 and 1")
    places = np.array([place(pair) for pair in pairs])
    trains = places < val_ratio
    several = len(np.unique(places)) > 1
    if len(pairs) and not trains.any():
        trains[places == places.min() if several else 0] = True
    elif len(pairs) > 1 and trains.all():
        trains[places == places.max() if several else 0] = False
    train = [pair for pair, chosen in zip(pairs, trains, strict=True) if chosen]
    val = [pair for pair, chosen in zip(pairs, trains, strict=True) if not chosen]
    return train, val


def unseen(folders: Sequence[str | os.PathLike], val_ratio: float) -> Pair:
    """The first readable pair of `testing`, or else of the validation pairs."""
    training, validation = split(find_pairs(folders, "training"), val_ratio)
    try:
        testing = find_pairs(folders, "testing")
    except UserError:  # one of the folders has only a `training` sub-folder
        testing = []
    trained_on = set(training)
    held_out = (pair for pair in (*testing, *validation) if pair not in trained_on)
    return next(pair for pair in held_out if _is_readable(pair.image))


def _is_readable(image: Path) -> bool:
    try:
        read_image(image)
    except PictureError:
        return False
    return True


def _key(path: Path) -> str:
    """The name without suffix, in composed Unicode, because macOS writes decomposed accents."""
    return unicodedata.normalize("NFC", path.stem)


def origin(pair: Pair) -> str:
    """The name of the picture that a pair was made from (NAME for `NAME@1`), or its own name."""
    return re.sub(rf"(?<=[^/]){DERIVED}[^/]*$", "", pair.name)


def place(pair: Pair) -> float:
    """A pseudo-random number in 0..1 that depends only on the pair's name.

    Pairs made from one picture have the same number, so that they stay in one subset.
    """
    digest = hashlib.sha256(origin(pair).encode(errors="surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _blanks(folder: Path) -> tuple[list[Pair], list[Path]]:
    return [Pair(image, None) for image in without_made(list_images(folder))], []


def _pairs_in(folder: Path) -> tuple[list[Pair], list[Path]]:
    """The pairs directly in `folder`, in all layouts, and the pictures that have no matte."""
    beside = list_images(folder)
    mattes = {_key(path): path for path in beside if _key(path).endswith("_matte")}
    images = [path for path in beside if _key(path) not in mattes]
    candidates = [(image, mattes.get(f"{_key(image)}_matte")) for image in images]
    for images_name, matte_names in _MATTE_FOLDERS.items():
        if (folder / images_name).is_dir():
            present = [folder / name for name in matte_names if (folder / name).is_dir()]
            mattes = {_key(path): path for each in present[:1] for path in list_images(each)}
            images = list_images(folder / images_name)
            candidates += [(image, mattes.get(_key(image))) for image in images]
    if (folder / _EG1800[0]).is_dir():
        mattes = {_key(path): path for path in (folder / _EG1800[1]).glob("[!.]*_mask.mat")}
        images = list_images(folder / _EG1800[0])
        candidates += [(image, mattes.get(f"{_key(image)}_mask")) for image in images]
    pairs = [Pair(image, matte) for image, matte in candidates if matte]
    for shard in list_shards(folder):
        pairs += [
            Pair(shard / image, matte and shard / matte, _OPACITIES)
            for image, matte in samples_in(shard)
        ]
    return pairs, [image for image, matte in candidates if not matte]


def _missing(image: Path, root: Path) -> str:
    """Describes the matte that a picture below `root` needs."""
    stem, folder = image.stem, image.parent.name
    if image.parent == root:
        return f"{image.name} needs {stem}_matte.png beside it"
    matte = f"{_EG1800[1]}/{stem}_mask.mat"
    if folder in _MATTE_FOLDERS:
        matte = f"{_MATTE_FOLDERS[folder][0]}/{stem}.png"
    return f"{folder}/{image.name} needs {matte}"
