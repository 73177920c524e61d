"""Tiles for training the refiner: parts of pictures along the outline, with coarse alphas.

A coarse alpha is the true matte with the errors that coarse alphas have, or the alpha of a shipped
network, so that the refiner learns both the network's grid and its mistakes. The refiner also gets
the result of the guided filter, which has aligned it with the strong edges of the picture.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from tqdm import tqdm

from data_generator import PortraitSequence
from portrait.data.pairs import Pair, read_pair
from portrait.errors import UserError, warn_skipped
from portrait.inference.network import Network, load
from portrait.io.images import PictureError, resize
from portrait.matting.refine import refine_guided

NETWORKS = ("lite_unet", "selfie_net_big", "ensemble")
"""The shipped networks whose alphas are refined in training."""

_TILES = 24_000
_EACH = 5
_TRUE = 0.3  # share of coarse alphas that are made from the matte, not by a network
_PERFECT = 0.4  # share of these that have no errors but their size
_PIXEL = (1.0, 4.5)  # size of a pixel of the network in pixels of the picture
_MARGIN = (0.05, 0.3)  # around the person in the window of a network, in sizes of the person
_SQUEEZE = 0.15  # logarithm of the largest ratio of a pixel's sides to the mean of both
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
    for start in range(0, number, _EACH):
        random = np.random.default_rng((*seed, start))
        coarse, pixel = random_coarse(image, matte, networks, random)
        yield from _tiles(image, matte, coarse, pixel, size, min(_EACH, number - start), random)


def random_coarse(
    image: np.ndarray,
    matte: np.ndarray,
    networks: Sequence[Network],
    random: np.random.Generator,
) -> tuple[np.ndarray, float]:
    """A coarse alpha of a picture, as small as a network gives it.

    Args:
        image: uint8 (H, W, 3).
        matte: uint8 (H, W), 255 = person.
        networks: the networks to choose from.
        random: the source of random choices.

    Returns:
        The alpha, float32 (h, w), 0..1, and the size of its pixels in pixels of the image.
    """
    # As many between 1 and 2 as between 2 and 4.
    drawn = float(np.exp(random.uniform(*np.log(_PIXEL))))
    if networks and random.random() >= _TRUE:
        network = networks[random.integers(len(networks))]
        alpha, grid = _seen(network, image, _window(matte, network.input_shape, random))
        # Alphas of small pictures are shrunk, because their pixels would be hardly coarser.
        pixel = max(grid, drawn if random.random() < 0.5 else grid)
        return _shrunk(alpha, matte.shape, pixel), max(1.0, pixel)
    # Photographs are squeezed to the proportions of the network.
    squeezed = float(np.exp(random.uniform(-_SQUEEZE, _SQUEEZE)))
    shape = (matte.shape[0] / squeezed, matte.shape[1] * squeezed)
    alpha = _shrunk(matte / np.float32(255), shape, drawn)
    return alpha if random.random() < _PERFECT else degraded(alpha, random), drawn


def _window(
    matte: np.ndarray, input_shape: tuple[int, int], random: np.random.Generator
) -> tuple[slice, slice]:
    """A window around the person, about as `effects.windows` chooses it, with a random margin."""
    rows, columns = (np.flatnonzero(matte.max(axis=axis) > 127) for axis in (1, 0))
    if not len(rows):
        return np.s_[:, :]
    margin = 1 + 2 * random.uniform(*_MARGIN)
    height, width = (margin * (each[-1] + 1 - each[0]) for each in (rows, columns))
    scale = max(height / input_shape[0], width / input_shape[1])
    sides = []
    for each, side, most in zip((rows, columns), input_shape, matte.shape, strict=True):
        middle, half = (each[0] + each[-1] + 1) / 2, scale * side / 2
        sides.append(slice(max(0, round(middle - half)), min(most, round(middle + half))))
    return tuple(sides)


def _seen(
    network: Network, image: np.ndarray, window: tuple[slice, slice]
) -> tuple[np.ndarray, float]:
    """A network's alpha of a window, float32 of the image's size, and the size of its pixels."""
    part = image[window]
    seen = network.run(resize(part, network.input_shape).astype(np.float32))
    alpha = np.zeros(image.shape[:2], np.float32)
    alpha[window] = resize(seen, part.shape[:2])
    return alpha, float(np.sqrt(part[..., 0].size / seen.size))


def _shrunk(alpha: np.ndarray, shape: tuple[float, float], pixel: float) -> np.ndarray:
    return resize(alpha, tuple(max(8, round(side / pixel)) for side in shape))


def smooth_noise(shape: tuple[int, int], cell: int, random: np.random.Generator) -> np.ndarray:
    """Random numbers, float32 of `shape`, with a standard deviation of about 1, that change slowly
    over `cell` pixels.
    """
    height, width = shape
    coarse = random.normal(0, 1, (height // cell + 2, width // cell + 2)).astype(np.float32)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def degraded(alpha: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A small matte with the errors of a network, in units of its pixels.

    The outline moves and is eroded or dilated in places, is softer or harder than it is, and
    sometimes has holes and blobs.
    """
    if random.random() < 0.7:
        rows, columns = np.mgrid[: alpha.shape[0], : alpha.shape[1]].astype(np.float32)
        far = random.uniform(0, 1.5)
        across, down = (smooth_noise(alpha.shape, 8, random) for _ in range(2))
        alpha = cv2.remap(
            *(alpha, columns + far * across, rows + far * down),
            interpolation=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
    if random.random() < 0.7:
        soft = cv2.GaussianBlur(alpha, (0, 0), random.uniform(0.3, 1.5))
        # Certain pixels stay certain.
        noise = smooth_noise(alpha.shape, 12, random)
        shift = random.uniform(0, 0.35) * noise * 4 * soft * (1 - soft)
        alpha = ((soft - 0.5 - shift) * random.uniform(1, 2) + 0.5).clip(0, 1)
    if random.random() < 0.3:
        edge = np.argwhere(cv2.morphologyEx(np.rint(alpha), cv2.MORPH_GRADIENT, np.ones((5, 5))))
        spots = np.zeros_like(alpha)
        for _ in range(random.integers(1, 4) if len(edge) else 0):
            y, x = edge[random.integers(len(edge))] + random.integers(-3, 4, 2)
            axes = tuple(int(each) for each in random.integers(1, 5, 2))
            cv2.ellipse(spots, (int(x), int(y)), axes, random.uniform(0, 180), 0, 360, 1.0, -1)
        spots = cv2.GaussianBlur(spots, (0, 0), 0.7)
        alpha = alpha + spots * (random.choice((0.0, 1.0)) - alpha)
    return alpha.astype(np.float32)


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
