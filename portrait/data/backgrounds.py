"""Background replacement for training: reads photographs and puts people on them."""

import functools
import os
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from portrait.data.pairs import SUBSETS
from portrait.errors import UserError, warn_skipped
from portrait.io.images import PictureError, list_images, read_image, resize, without_made
from portrait.matting.foreground import person_colours


def load_backgrounds(
    folders: Sequence[str | os.PathLike],
    size: tuple[int, int],
    workers: int = 2,
    without: Collection[Path] = (),
) -> list[np.ndarray]:
    """Reads the photographs of folders for background replacement, without unreadable ones.

    Args:
        folders: folders of pictures, or of folders of pictures. If one has a `training` or a
            `testing` sub-folder, only `training` is read.
        size: (height, width) of the network; larger photographs are shrunk to cover it with a
            quarter to spare, so that they can be cropped.
        workers: number of threads.
        without: pictures that are left out.

    Returns:
        uint8 (h, w, 3) RGB arrays.

    Raises:
        UserError: a folder is missing or has no `training` beside `testing`, or nothing could be
            read.
    """
    paths = []
    for folder in map(Path, folders):
        if not folder.is_dir():
            raise UserError(f"no such folder of backgrounds: {folder}")
        root = folder
        if any((folder / subset).is_dir() for subset in SUBSETS):
            root = folder / "training"
            if not root.is_dir():
                raise UserError(f"{folder} has no training sub-folder")
        for each in [root, *(each for each in sorted(root.iterdir()) if each.is_dir())]:
            paths += without_made(list_images(each))
    real = functools.cache(Path.resolve)  # of folders; pairs are found without symbolic links
    left_out = {real(path.parent) / path.name for path in without}
    paths = [path for path in paths if real(path.parent) / path.name not in left_out]

    def read(path: Path) -> np.ndarray | None:
        try:
            image = read_image(path)
        except PictureError:
            return None
        height, width = image.shape[:2]
        scale = min(1.0, 1.25 * max(size[0] / height, size[1] / width))
        return resize(image, (round(height * scale), round(width * scale)))

    with ThreadPoolExecutor(max(workers, 1)) as pool:
        results = pool.map(read, paths)
        read_ones = list(
            tqdm(results, "backgrounds", len(paths), leave=False, delay=2, disable=None)
        )
    bad = [path for path, image in zip(paths, read_ones, strict=True) if image is None]
    warn_skipped(bad, "backgrounds left out ({count}): {names}")
    if len(bad) == len(paths):
        raise UserError(f"no readable pictures in --backgrounds={','.join(map(str, folders))}")
    return [image for image in read_ones if image is not None]


def replace_background(
    image: np.ndarray,
    matte: np.ndarray,
    background: np.ndarray,
    rng: np.random.Generator,
    strength: float = 1.0,
) -> np.ndarray:
    """Puts a person on a random part of another photograph.

    Compositing is alpha * F + (1 - alpha) * B. Inside the person, the colours F are the image's. On
    the edge they come from inner pixels nearby, because the image's colours there contain the old
    background, which would be visible as a halo.

    Args:
        image: uint8 (H, W, 3).
        matte: uint8 (H, W).
        background: uint8 (h, w, 3), any size.
        rng: draws the part, its mirroring, its blur (depth of field), and the person's light.
        strength: factor on the change of the person's light; 0 leaves it.

    Returns:
        uint8 (H, W, 3).
    """
    height, width = matte.shape
    scenery = random_scenery(background, height, width, rng)
    person = person_colours(image, matte)
    if rng.random() < 0.5:
        person = cv2.multiply(person, (*random_light(rng, strength), 0.0))
    alpha = matte.astype(np.float32) / 255
    return cv2.blendLinear(person, scenery, alpha, 1 - alpha)


def random_light(rng: np.random.Generator, strength: float = 1.0) -> np.ndarray:
    """Factors (3,) on a person's colours, for light that differs from the new scene's."""
    return 1 + strength * (rng.uniform(-0.15, 0.15) + rng.uniform(-0.04, 0.04, 3))


def random_scenery(
    picture: np.ndarray, height: int, width: int, rng: np.random.Generator
) -> np.ndarray:
    """A random part of a picture (h, w, 3) as (height, width, 3), sometimes out of focus."""
    scenery = random_part(picture, height, width, rng)
    if rng.random() < 0.3:
        reach = 2 * round(rng.uniform(0.02, 0.06) * height) + 1
        scenery = cv2.stackBlur(scenery, (reach, reach))
    return scenery


def random_part(
    picture: np.ndarray, height: int, width: int, rng: np.random.Generator, least: float = 0.5
) -> np.ndarray:
    """A random part of a picture, possibly mirrored, scaled to (height, width) undistorted.

    It is at least as wide as a share `least` of the widest part of that shape.
    """
    scale = min(picture.shape[0] / height, picture.shape[1] / width) * rng.uniform(least, 1.0)
    rows, columns = max(1, int(height * scale)), max(1, int(width * scale))
    top = rng.integers(picture.shape[0] - rows + 1)
    left = rng.integers(picture.shape[1] - columns + 1)
    part = picture[top : top + rows, left : left + columns]
    if rng.random() < 0.5:
        part = part[:, ::-1]
    shrinking = scale > 1
    return cv2.resize(
        part, (width, height), interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR
    )
