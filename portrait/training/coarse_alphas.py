"""Coarse alphas as the refiner gets them, and pictures with motion blur, for its training.

A coarse alpha is the true matte with the errors that coarse alphas have, or the alpha of a shipped
network, so that the refiner learns both the network's grid and its mistakes.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from portrait.data.imgaug_compat import iaa
from portrait.inference.network import Network
from portrait.io.images import resize

_TRUE = 0.3  # share of coarse alphas that are made from the matte, not by a network
_PERFECT = 0.4  # share of these that have no errors but their size
_PIXEL = (1.0, 4.5)  # size of a pixel of the network in pixels of the picture
_MARGIN = (0.05, 0.3)  # around the person in the window of a network, in sizes of the person
_SQUEEZE = 0.15  # logarithm of the largest ratio of a pixel's sides to the mean of both
_BLUR = (0.005, 0.04)  # length of the blur in sizes of the picture


def in_motion(
    image: np.ndarray, matte: np.ndarray, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Blurs a person and the matte as motion does, half of the time also the background.

    Args:
        image: uint8 (H, W, 3).
        matte: uint8 (H, W), 255 = person.
        random: the source of random choices.

    Returns:
        New arrays of the same shapes.
    """
    length = random.uniform(*_BLUR) * max(matte.shape)
    kernel = 2 * round(length / 2) + 1
    if kernel < 3:
        return image, matte
    blur = iaa.MotionBlur(kernel, angle=random.uniform(0, 360), seed=int(random.integers(2**31)))
    planes = blur(image=np.dstack([image, matte]))
    moved, matte = planes[..., :3], planes[..., 3]
    if random.random() < 0.5:
        near = cv2.dilate((matte > 0).astype(np.float32), np.ones((kernel, kernel)))
        near = cv2.GaussianBlur(near, (0, 0), kernel / 4)[..., None]
        moved = np.rint(near * moved + (1 - near) * image).astype(np.uint8)
    return moved, matte


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
