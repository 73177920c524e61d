"""Effects on photographs."""

import logging
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from portrait.effects.catalogue import Effects
from portrait.effects.matting import matte
from portrait.inference.network import Network
from portrait.io.files import refuse_overwriting
from portrait.io.images import check_target, read_image, write_picture
from portrait.io.photos import find_photographs, result_paths, work_through
from portrait.matting.plate import Plate

log = logging.getLogger(__name__)


def apply_to_photo(
    source: str | os.PathLike,
    target: str | os.PathLike,
    effects: Effects,
    network: Network,
    refine: str = "auto",
    *,
    plate: Plate | None = None,
    alpha_target: str | os.PathLike | None = None,
) -> None:
    """Applies effects to a photograph.

    Args:
        source: a picture file.
        target: the file to write: `.png`, `.jpg`, `.webp`, `.tif` or `.bmp`.
        effects: the effects.
        network: the network for the alpha.
        refine: see `matting.matte`.
        plate: the scene without people, from the same camera.
        alpha_target: a file for the alpha, too.

    Raises:
        UserError: the picture cannot be read, or the target cannot be written.
    """
    refuse_overwriting(target, source)
    check_target(target, "cutout" in effects.names)
    if alpha_target is not None:
        refuse_overwriting(alpha_target, source, target)
        check_target(alpha_target, False)
    image = read_image(source)
    alpha = matte(image, network, refine)
    if plate:
        alpha = plate.refine(image, alpha)
    if not alpha.any():
        log.warning("%s: nobody was found, the matte is empty", source)
    write_picture(target, effects(image, alpha))
    if alpha_target is not None:
        alpha = effects.settings.outlined(alpha)
        write_picture(alpha_target, np.rint(alpha * 255).astype(np.uint8))


def apply_to_photos(
    sources: Sequence[Path],
    output: str | os.PathLike,
    effects: Effects,
    network: Network,
    refine: str = "auto",
    *,
    plate: Plate | None = None,
    alpha_output: str | os.PathLike | None = None,
    taken: Sequence[str | os.PathLike] = (),
) -> list[Path]:
    """Applies effects to photographs one by one; see `apply_to_photo`.

    For the names of the results and unusable photographs, see `io.photos`.

    Args:
        sources: the picture files.
        output: the folder for `NAME_EFFECT.png`.
        effects: as for `apply_to_photo`, like the other arguments.
        network: the network for the alpha.
        refine: see `matting.matte`.
        plate: the scene without people.
        alpha_output: the folder for `NAME_alpha.png`, or None.
        taken: other files that may not be overwritten.

    Returns:
        The files written.

    Raises:
        UserError: no photograph can be used, or a file cannot be written.
    """
    label, targets, alphas = "-".join(effects.names), {}, []
    photos = find_photographs(sources, [label])
    if alpha_output is not None:
        paths = result_paths(photos, alpha_output, ["alpha"], taken=taken)
        targets = {photo: alpha for photo, (alpha,) in zip(photos, paths, strict=True)}

    def work(photo: Path, path: Path) -> None:
        alpha = targets.get(photo)
        apply_to_photo(photo, path, effects, network, refine, plate=plate, alpha_target=alpha)
        alphas.extend([alpha] if alpha else [])

    return work_through(work, photos, output, [label], "photos", taken) + alphas
