"""Tiles for training the refiner: parts of pictures along the outline, with coarse alphas.

The refiner also gets the result of the guided filter, which has aligned the coarse alpha with the
strong edges of the picture.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from tqdm import tqdm

from data_generator import PortraitSequence
from portrait.data.pairs import Pair, counted, read_pair
from portrait.errors import UserError, warn_skipped
from portrait.inference.network import Network, load
from portrait.io.images import PictureError, resize
from portrait.matting.refine import refine_guided
from portrait.training.coarse_alphas import in_motion, random_coarse

NETWORKS = ("lite_unet", "selfie_net_big", "ensemble")
"""The shipped networks whose alphas are refined in training."""

_TILES = 24_000
_EACH = 5
_MOVING = 0.15  # share of pictures with motion blur
_ON_ERRORS = 0.3  # share of tiles whose middle is where the coarse alpha is wrong


@dataclass(frozen=True)
class Tiles:
    """uint8 pictures with their guided and coarse alphas (N, H, W, 5), and mattes (N, H, W)."""

    images: np.ndarray
    mattes: np.ndarray


def make_batches(
    train: Sequence[Pair],
    validate: Sequence[Pair],
    size: tuple[int, int],
    batch_size: int,
    augment: bool = True,
    seed: int = 0,
    workers: int = 0,
    multiple: int = 1,
    share: tuple[int, int] = (0, 1),
) -> tuple[PortraitSequence, PortraitSequence]:
    """The training and the validation batches of the refiner.

    Args:
        train, validate: pairs whose mattes are exact, also at hair.
        size: (height, width) of a tile.
        batch_size, seed, workers, multiple, share: see `PortraitSequence`.
        augment: whether to vary training tiles, see `augmented`.

    Raises:
        UserError: no pair has an outline.
    """
    networks = [load(name) for name in NETWORKS]
    training, validation = (
        cut_tiles(pairs, size, count, networks, seed)
        for pairs, count in ((train, _TILES), (validate, _TILES // 10))
    )
    return (
        PortraitSequence(
            training.images,
            training.mattes,
            batch_size,
            augmentation=augmented if augment else None,
            shuffle=True,
            seed=seed,
            workers=workers,
            multiple=multiple,
            share=share,
        ),
        PortraitSequence(
            validation.images, validation.mattes, batch_size, multiple=multiple, share=share
        ),
    )


def tiles_of(pairs: Sequence[Pair], size: tuple[int, int]) -> Tiles:
    """Tiles for exports: one of each picture, with the networks of the training."""
    return cut_tiles(pairs, size, len(pairs), [load(name) for name in NETWORKS])


def cut_tiles(
    pairs: Sequence[Pair],
    size: tuple[int, int],
    count: int,
    networks: Sequence[Network],
    seed: int = 0,
) -> Tiles:
    """Cuts up to `count` tiles out of pictures, each with a part of the outline.

    The numbers of tiles of two pictures differ by one at most; further tiles of the others replace
    those of pictures that cannot be read or have no outline. A picture has another coarse alpha
    after every fifth tile.

    Args:
        pairs: the pictures.
        size: (height, width) of a tile; smaller pictures are mirrored at their edges.
        count: the number of tiles.
        networks: the networks whose alphas are used; none: only degraded mattes.
        seed: the seed of all random choices.

    Raises:
        UserError: no tile can be cut.
    """
    images = np.zeros((count, *size, 5), np.uint8)
    mattes = np.zeros((count, *size), np.uint8)
    found, unreadable = 0, []
    usable = np.random.default_rng(seed).permutation(len(pairs)).tolist()
    while found < count and usable:
        ends = (count - found) * np.arange(len(usable) + 1) // len(usable)
        asked = [(index, int(n)) for index, n in zip(usable, np.diff(ends), strict=True) if n]
        for index, number in tqdm(asked, "tiles", unit=" pictures", leave=False, disable=None):
            before = found
            try:
                # `before` gives a picture that is used again other random choices.
                for tile in _cut(pairs[index], size, number, networks, (seed, index, before)):
                    images[found], mattes[found] = tile[..., :5], tile[..., 5]
                    found += 1
            except PictureError as error:
                unreadable.append(str(error))
            if found == before:
                usable.remove(index)
    warn_skipped(unreadable, "{count} left out: {names}")
    if not found:
        raise UserError("no picture has an outline of a person, which the refiner could learn from")
    return Tiles(images[:found], mattes[:found])


def _cut(
    pair: Pair, size: tuple[int, int], number: int, networks: Sequence[Network], seed: tuple
) -> Iterator[np.ndarray]:
    """Yields `number` tiles of a picture, see `_tiles`; none if it has no outline."""
    image, matte = read_pair(pair)
    matte = counted(matte)
    for start in range(0, number, _EACH):
        random = np.random.default_rng((*seed, start))
        seen = in_motion(image, matte, random) if random.random() < _MOVING else (image, matte)
        coarse, pixel = random_coarse(*seen, networks, random)
        yield from _tiles(*seen, coarse, pixel, size, min(_EACH, number - start), random)


def _tiles(
    image: np.ndarray,
    matte: np.ndarray,
    coarse: np.ndarray,
    pixel: float,
    size: tuple[int, int],
    number: int,
    random: np.random.Generator,
) -> list[np.ndarray]:
    """`number` tiles along the outline: picture, guided alpha, coarse alpha and matte.

    Returns:
        uint8 (h, w, 6) each; none if there is no outline.
    """
    rough = resize(coarse, matte.shape).clip(0, 1)
    guided = refine_guided(image, coarse)
    reach = 2 * round(2 * pixel) + 1
    band = cv2.dilate(((rough > 0.02) & (rough < 0.98)).astype(np.uint8), np.ones((reach, reach)))
    wrong = np.abs(rough - matte / np.float32(255)) > 0.15
    alphas = np.rint(np.dstack([guided, rough]) * 255).astype(np.uint8)
    planes = np.dstack([image, alphas, matte])
    half = size[0] // 2, size[1] // 2
    planes = np.pad(planes, [(half[0], half[0]), (half[1], half[1]), (0, 0)], mode="symmetric")
    places = {True: np.flatnonzero(band & wrong), False: np.flatnonzero(band)}
    if not len(places[False]):
        return []
    cut = []
    for _ in range(number):
        chosen = places[bool(len(places[True])) and random.random() < _ON_ERRORS]
        row, column = divmod(int(chosen[random.integers(len(chosen))]), matte.shape[1])
        # Tiles do not reach out of the picture by more than they must.
        row, column = (
            int(np.clip(place, min(middle, side // 2), max(side - middle, side // 2)))
            for place, middle, side in zip((row, column), half, matte.shape, strict=True)
        )
        cut.append(planes[row : row + size[0], column : column + size[1]])
    return cut


def augmented(images: np.ndarray, mattes: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Turns and mirrors tiles, and varies light, colour, noise and compression of their pictures.

    Tiles that are not square are only turned by 180 degrees.

    Args:
        images: uint8 (N, H, W, 5), with two alphas as the last channels.
        mattes: uint8 (N, H, W).
        seed: the seed of all random choices.

    Returns:
        New arrays of the same shapes.
    """
    random = np.random.default_rng(seed)
    tiles = np.concatenate([images, mattes[..., np.newaxis]], axis=3)
    quarters = 1 if tiles.shape[1] == tiles.shape[2] else 2
    for i, tile in enumerate(tiles):
        if random.random() < 0.3:
            tile = np.rot90(tile, quarters * random.integers(4 // quarters))
        if random.random() < 0.5:
            tile = tile[:, ::-1]
        tile = np.ascontiguousarray(tile)
        tile[..., :3] = _varied(tile[..., :3], random)
        tiles[i] = tile
    return np.ascontiguousarray(tiles[..., :-1]), np.ascontiguousarray(tiles[..., -1])


def _varied(picture: np.ndarray, random: np.random.Generator) -> np.ndarray:
    ramp = np.linspace(0, 1, 256, dtype=np.float32)[:, None]
    ramp = ramp ** random.uniform(0.7, 1.4) * random.uniform(0.8, 1.15, 3)
    levels = cv2.LUT(picture, ramp.astype(np.float32)[None])
    if random.random() < 0.15:
        levels[:] = levels.mean(axis=2, keepdims=True)
    if random.random() < 0.2:
        levels = cv2.GaussianBlur(levels, (0, 0), random.uniform(0.3, 1.0))
    if random.random() < 0.5:
        levels = levels + random.uniform(0, 0.03) * random.standard_normal(levels.shape, np.float32)
    picture = np.rint(levels.clip(0, 1) * 255).astype(np.uint8)
    if random.random() < 0.4:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(random.integers(40, 95))]
        picture = cv2.imdecode(cv2.imencode(".jpg", picture, quality)[1], cv2.IMREAD_COLOR)
    return picture
