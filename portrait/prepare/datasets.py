"""Writes new data sets: without bad pictures, with soft mattes, cropped to portraits."""

import contextlib
import functools
import hashlib
import json
import logging
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from portrait.data.pairs import DERIVED, Pair, is_dim, read_pair, warn_dim
from portrait.errors import UserError, warn_skipped
from portrait.io.decode import read_bytes
from portrait.io.files import read_list, replacing
from portrait.io.images import write_png
from portrait.io.photos import leaving_out
from portrait.prepare.portraits import find_crops
from portrait.prepare.soft_mattes import soft_matte
from portrait.util import WorkerPool

log = logging.getLogger(__name__)

_MARKER = "prepared.json"
_JPEG_QUALITY = 95


@dataclass(frozen=True)
class Preparation:
    """The steps for each picture.

    Attributes:
        crops: the number of portraits cropped from each picture, which replace the picture; 0
            keeps whole pictures.
        soft: whether to make soft mattes from binary ones, see `soft_mattes.soft_matte`.
        seed: the seed of the crops.
    """

    crops: int = 0
    soft: bool = False
    seed: int = 0


def prepare(
    pairs: Sequence[Pair], output: Path, preparation: Preparation, workers: int = 2
) -> list[Path]:
    """Writes pairs as `output/SET/training/NAME.*` with `NAME_matte.png`, the layout of PFCN+.

    Crops are named `NAME@1`, `NAME@2`, ...; `pairs.split` keeps them on the side of NAME, so a crop
    is never used for training if its picture is used for validation. Whole photographs are copied
    byte for byte. Random choices depend only on the seed and the pair's name. Existing pictures are
    skipped, so a stopped run can be repeated.

    Args:
        pairs: the pairs to write. Blank pictures are copied whole.
        output: a new folder, or the folder of an earlier run with the same preparation and pairs.
        preparation: the steps for each picture.
        workers: the number of processes.

    Returns:
        The photographs in `output`, in the order of `pairs`.

    Raises:
        UserError: two pairs have the same name, `output` holds other files or cannot be written, or
            no picture could be used.
    """
    claim(output, pairs, asdict(preparation))
    write = functools.partial(_write, output=output, preparation=preparation)
    bar = functools.partial(
        tqdm, desc="preparing", total=len(pairs), unit=" pictures", disable=None
    )
    done, dim = zip(*in_processes(write, pairs, workers, bar), strict=True)
    warn_skipped([each for each in done if isinstance(each, str)], "{count} left out: {names}")
    warn_dim([each for each in dim if each])
    written = [path for each in done if isinstance(each, list) for path in each]
    if not written:
        release(output)
        advice = "; there is nobody to crop to a portrait" if preparation.crops else ""
        raise UserError(f"no picture could be prepared{advice}")
    return written


def in_processes(
    write: Callable, jobs: Sequence, workers: int, bar: Callable, chunk: int = 4
) -> list:
    """`list(bar(map(write, jobs)))` in `workers` processes, to which jobs are given in chunks."""
    if workers == 1:
        return list(bar(map(write, jobs)))
    try:
        pool = WorkerPool(workers)
    except OSError as error:
        log.warning("one process prepares, because others cannot start: %s", error.strerror)
        return list(bar(map(write, jobs)))
    try:
        with pool:
            return list(bar(pool.map(write, jobs, chunksize=chunk)))
    except BrokenProcessPool as error:
        raise UserError("a worker process was killed; give fewer --workers") from error


def read_exclusions(path: str | os.PathLike, known: Collection[str] = ()) -> set[str]:
    """Names of pairs ("selfies/00012"), one on each line; # after a space starts a comment.

    It does not where it belongs to one of the names in `known`, such as "set #2/00012".

    Raises:
        UserError: the file cannot be read.
    """
    # Names of pictures are composed Unicode, see `pairs.Pair`.
    lines = unicodedata.normalize("NFC", read_list(path)).splitlines()
    return {name for line in lines if (name := _name_in(line, known))}


def _name_in(line: str, known: Collection[str]) -> str:
    ends = [*(comment.start() for comment in re.finditer(r"(?:^|\s)#", line)), len(line)]
    names = [line[:end].strip() for end in ends]
    return next((name for name in reversed(names) if name in known), names[0])


def claim(output: Path, pairs: Sequence[Pair], settings: dict) -> None:
    """Marks `output` as the folder for the result of `settings` on these pairs.

    Raises:
        UserError: two pairs have the same name, or the folder holds other files or cannot be
            written.
    """
    doubled = [name for name, count in Counter(pair.name for pair in pairs).items() if count > 1]
    if doubled:
        raise UserError(f"two pictures are called {doubled[0]}: prepare their folders one by one")
    names = _digest("\n".join(pair.name for pair in pairs)).hex()
    recipe = {**settings, "pictures": len(pairs), "names": names}
    if people := sorted({label for pair in pairs for label in _person(pair)}):
        recipe["person_label"] = people
    marker = output / _MARKER
    try:
        occupied = output.is_dir() and any(output.iterdir())
        found = json.loads(marker.read_text()) if occupied else recipe
    except (OSError, ValueError):
        found = None
    if found != recipe:
        raise UserError(f"{output} contains other data: give a new folder as --output")
    with replacing(marker) as path:
        path.write_text(json.dumps(recipe, indent=1))


def digest_of(pictures: Sequence[np.ndarray]) -> str:
    """A digest of pictures, for the settings of `claim`."""
    digest = hashlib.sha256()
    for picture in pictures:
        digest.update(np.ascontiguousarray(picture))
    return digest.hexdigest()


def _person(pair: Pair) -> set[int]:
    """The labels that are the person in the mattes of a pair's folder."""
    readings = (pair.readings or {}).values()
    return {label for each in readings if each.labels for label in each.labels.person}


def release(output: Path) -> None:
    """Removes the files of `claim` if nothing else was written."""
    (output / _MARKER).unlink()
    with contextlib.suppress(OSError):  # it contains folders
        output.rmdir()


def _write(
    pair: Pair, output: Path, preparation: Preparation
) -> tuple[list[Path] | str | None, str]:
    """Writes the results for a pair.

    Returns:
        The photographs, the reason why the pair cannot be used, or None if there is nothing to
        crop; and the matte's path if it is dim, or "".
    """
    reasons: list[str] = []
    with leaving_out(pair.image, reasons):
        return _made(pair, output, preparation)
    return reasons[0], ""


def _made(pair: Pair, output: Path, preparation: Preparation) -> tuple[list[Path] | None, str]:
    set_name, _, stem = pair.name.rpartition("/")
    if pair.matte is None and not set_name.startswith("Blank"):
        set_name = f"Blank_{set_name}"  # only a link to the folder had such a name
    folder = output / set_name / "training"
    image, matte = read_pair(pair)
    dim = str(pair.matte) if is_dim(matte) else ""
    if pair.matte is None or not preparation.crops:
        if pair.matte:  # before the photograph, which must never be without its matte
            _write_matte(folder / f"{stem}_matte.png", image, matte, preparation.soft)
        return [copy(pair.image, folder / (stem + pair.image.suffix))], dim
    random = np.random.default_rng(seed_of(preparation.seed, pair.name))
    written = []
    for number, crop in enumerate(find_crops(matte, preparation.crops, random), 1):
        base = f"{stem}{DERIVED}{number}"
        photo, part = crop.of(image), crop.of(matte)
        _write_matte(folder / f"{base}_matte.png", photo, part, preparation.soft)
        written.append(write_jpeg(folder / f"{base}.jpg", photo))
    return written or None, dim


def _write_matte(path: Path, image: np.ndarray, matte: np.ndarray, soft: bool) -> None:
    if not path.exists():
        write_png(path, soft_matte(image, matte) if soft else np.ascontiguousarray(matte))


def copy(source: Path, path: Path) -> Path:
    """Copies a file, also one in a shard, unless the target exists."""
    if not path.exists():
        with replacing(path) as temporary:
            temporary.write_bytes(read_bytes(source))
    return path


def write_jpeg(path: Path, image: np.ndarray) -> Path:
    """Writes an image, uint8 (H, W, 3), unless the file exists."""
    if not path.exists():
        with replacing(path) as temporary:
            Image.fromarray(image).save(temporary, format="JPEG", quality=_JPEG_QUALITY)
    return path


def seed_of(seed: int, name: str) -> list[int]:
    """The seed of the random choices for the pair `name`."""
    return [seed, int.from_bytes(_digest(name), "big")]


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()[:8]
