"""Effects on photographs and folders of them."""

import logging
import os
from pathlib import Path

import numpy as np
from PIL import Image

from portrait.effects.catalogue import Effects
from portrait.effects.matting import matte
from portrait.errors import UserError
from portrait.inference.network import Network
from portrait.io.files import refuse_overwriting, replacing
from portrait.io.images import read_image, write_png
from portrait.io.photos import work_through

log = logging.getLogger(__name__)

_WITHOUT_ALPHA = {".jpg": "JPEG", ".jpeg": "JPEG", ".bmp": "BMP"}
WRITABLE = {".png": "PNG", ".webp": "WEBP", ".tif": "TIFF", ".tiff": "TIFF", **_WITHOUT_ALPHA}


def apply_to_photo(
    source: str | os.PathLike,
    target: str | os.PathLike,
    effects: Effects,
    network: Network,
    refine: str = "guided",
) -> None:
    """Applies effects to a photograph.

    Args:
        source: a picture file.
        target: the file to write: `.png`, `.jpg`, `.webp`, `.tif` or `.bmp`.
        effects: the effects.
        network: the network for the alpha.
        refine: see `matting.matte`.

    Raises:
        UserError: the picture cannot be read, or the target cannot be written.
    """
    _check_target(source, target, effects)
    image = read_image(source)
    alpha = matte(image, network, refine)
    if not alpha.any():
        log.warning("%s: nobody was found, the matte is empty", source)
    write_picture(target, effects(image, alpha))


def apply_to_folder(
    source: str | os.PathLike,
    target: str | os.PathLike,
    effects: Effects,
    network: Network,
    refine: str = "guided",
) -> list[Path]:
    """Applies effects to every photograph of a folder.

    Writes `NAME_EFFECT.png`; for NAME, for mattes and earlier results in the folder, and for
    unusable photographs, see `io.photos`.

    Returns:
        The files written.

    Raises:
        UserError: there are no photographs, none can be used, or `target` cannot be written.
    """
    if Path(source).resolve() == Path(target).resolve():
        raise UserError("--output and --input must be different folders")

    def work(photo: Path, path: Path) -> None:
        apply_to_photo(photo, path, effects, network, refine)

    return work_through(work, [source], target, ["-".join(effects.names)], Path(source).name)


def write_picture(path: str | os.PathLike, array: np.ndarray) -> None:
    """Writes uint8 (H, W), RGB (H, W, 3) or RGBA (H, W, 4) in the format of the suffix.

    Raises:
        UserError: the folder cannot be written, or the picture is too large for the format.
    """
    kind = WRITABLE[Path(path).suffix.lower()]
    if kind == "PNG":
        write_png(path, array)
        return
    with replacing(path) as temporary:
        try:
            Image.fromarray(array).save(temporary, format=kind, quality=95)
        except ValueError as error:  # WebP has at most 16383 pixels per side
            raise UserError(f"cannot write {path}: {error}") from error


def _check_target(source: str | os.PathLike, target: str | os.PathLike, effects: Effects) -> None:
    refuse_overwriting(target, source)
    suffix = Path(target).suffix.lower()
    if suffix not in WRITABLE:
        raise UserError(f"{target}: pictures can be written as {', '.join(WRITABLE)}")
    if "cutout" in effects.names and suffix in _WITHOUT_ALPHA:
        raise UserError(f"{target}: {suffix} files have no transparency, use .png")
