"""Composes pictures with exact mattes from cut-out people and photographs."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from portrait.data.backgrounds import random_light, random_scenery
from portrait.data.cutouts import read_cutout
from portrait.data.pairs import DERIVED, Pair
from portrait.errors import UserError, warn_skipped
from portrait.io.images import resize, write_png
from portrait.io.photos import leaving_out
from portrait.prepare.datasets import claim, digest_of, release, seed_of, write_jpeg

_SIZE = (0.3, 1.0)  # of a composition, as a share of the cut-out's size


def write(
    cutouts: Sequence[Path],
    backgrounds: Sequence[np.ndarray],
    output: Path,
    each: int,
    seed: int = 0,
) -> list[Path]:
    """Writes compositions as `output/compositions/training/NAME@1.jpg` with `NAME@1_matte.png`.

    Existing pictures are kept, so a stopped run can be repeated.

    Args:
        cutouts: RGBA pictures of people.
        backgrounds: uint8 (h, w, 3), without people.
        output: a new folder, or the folder of a stopped run with the same arguments.
        each: the number of compositions of each cut-out.
        seed: the seed of all random choices.

    Returns:
        The pictures in `output`.

    Raises:
        UserError: two cut-outs have the same name, no cut-out can be read, or `output` holds other
            files or cannot be written.
    """
    settings = {"each": each, "seed": seed, "backgrounds": digest_of(backgrounds)}
    # The names of compositions do not contain the folders of the cut-outs.
    claim(output, [Pair(Path(path.name), None) for path in cutouts], settings)
    written, unreadable = [], []
    for path in tqdm(cutouts, "composing", unit=" people", disable=None):
        with leaving_out(path, unreadable):
            colours, alpha = read_cutout(path)
            for number in range(1, each + 1):
                target = output / "compositions" / "training" / f"{path.stem}{DERIVED}{number}.jpg"
                if not target.exists():
                    random = np.random.default_rng(seed_of(seed, target.stem))
                    behind = backgrounds[random.integers(len(backgrounds))]
                    picture, matte = compose(colours, alpha, behind, random)
                    # Before the photograph, which must never be without its matte.
                    write_png(target.with_name(f"{target.stem}_matte.png"), matte)
                    write_jpeg(target, picture)
                written.append(target)
    warn_skipped(unreadable, "{count} left out: {names}")
    if not written:
        release(output)
        raise UserError("none of the cut-outs can be used")
    return written


def compose(
    colours: np.ndarray, alpha: np.ndarray, background: np.ndarray, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Puts a person on a photograph, at a random size, upright or as wide as the cut-out.

    Half of the backgrounds are enlarged to the size of the picture, and therefore soft; the others
    are repeated at their own size, and sharp.

    Args:
        colours: uint8 (H, W, 3), the person's colours.
        alpha: float32 (H, W), 0..1.
        background: uint8 (h, w, 3).
        random: the source of random choices.

    Returns:
        The picture, uint8 (h, w, 3), and the matte, uint8 (h, w).
    """
    height, width = alpha.shape
    if random.random() < 0.6 and width > 0.75 * height:
        narrow = round(0.75 * height)
        left = round((width - narrow) * random.uniform(0.25, 0.75))
        colours, alpha = colours[:, left : left + narrow], alpha[:, left : left + narrow]
    scale = float(np.exp(random.uniform(*np.log(_SIZE))))
    size = tuple(max(1, round(side * scale)) for side in alpha.shape)
    small = resize(alpha, size)
    # The colours of transparent pixels do not count in the mean.
    person = resize(colours * alpha[..., None], size) / np.maximum(small, 1e-3)[..., None]
    if random.random() < 0.5:
        person, small = person[:, ::-1], small[:, ::-1]
    if random.random() < 0.5:
        person = person * random_light(random)
    if random.random() < 0.5:
        scenery = random_scenery(background, *size, random)
    else:
        below, right = (max(0, a - b) for a, b in zip(size, background.shape, strict=False))
        scenery = cv2.copyMakeBorder(background, 0, below, 0, right, cv2.BORDER_REFLECT)
        top, left = (random.integers(a - b + 1) for a, b in zip(scenery.shape, size, strict=False))
        scenery = scenery[top : top + size[0], left : left + size[1]]
    share = small[..., None]
    picture = person.clip(0, 255) * share + scenery * (1 - share)
    return np.rint(picture).astype(np.uint8), np.rint(small * 255).astype(np.uint8)
