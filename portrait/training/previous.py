"""Batches for networks that see the alpha of the frame before as the fourth channel.

Training pictures are single frames. Each is moved to make a frame before, and the previous alpha is
the alpha of a network for it, or its matte with errors. Alphas of a network have the errors that
return in every frame; errors that are made at random do not, and teach what can be believed. Many
are wrong in large parts or missing, as after a cut. The network must neither ignore the previous
alpha nor copy it. RobustVideoMatting trains on clips instead (Lin et al., 2108.11515). Few clips
with exact mattes exist.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import cv2
import numpy as np

from augmentation import Augmentation
from data_generator import Pair, Pictures, PortraitSequence, batches_of
from portrait.data import loading
from portrait.data.targets import boundary_target
from portrait.inference import network as networks
from portrait.inference.network import MatteFunction
from portrait.training.coarse_alphas import degraded, smooth_noise

NETWORK = "selfie_net_big_256x256"
"""The shipped network whose alphas are previous alphas."""

_MISSING = 0.15  # share of pictures without a previous alpha
_WRONG = 0.08  # share of pictures with the alpha of another picture, as after a cut nobody noticed
_SEEN = 0.45  # share of the others whose alpha is the network's
_BROKEN = 0.35  # share of all that are not missing whose alpha gets an error in a large part
_STILL = 0.25  # share of frames before in which nothing moved
_DEGRADED = 0.85  # share of mattes that get small errors
_GRID = (1.0, 2.5)  # how much coarser the alpha is kept between the frames; mattes: 2 at least
_SHIFT = 0.02  # standard deviations, as shares of a side; one in three moves three times as far
_TURN = 2.0  # degrees
_GROWTH = 0.02
_BEND = 0.01  # of parts of the body against each other, as a share of the height


class WithPrevious:
    """An augmentation for `PortraitSequence` that also makes previous alphas.

    Args:
        matte_fn: the network whose alphas are previous alphas.
        augmentation: augments pictures and mattes; None leaves them as they are.
    """

    def __init__(self, matte_fn: MatteFunction, augmentation: Augmentation | None = None):
        self._matte_fn = matte_fn
        self._augmentation = augmentation

    def __call__(
        self, images: np.ndarray, mattes: np.ndarray, seed: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns uint8 images (N, H, W, 4) with their previous alphas, and mattes (N, H, W).

        The fourth channel of the given images is not used.
        """
        images = images[..., :3]
        if self._augmentation:
            images, mattes = self._augmentation(images, mattes, seed)
        random = np.random.default_rng((seed, 1))
        alphas = [
            previous_alpha(image, matte, mattes[other], self._matte_fn, random)
            for image, matte, other in zip(
                images, mattes, random.permutation(len(mattes)), strict=True
            )
        ]
        return np.concatenate([images, np.stack(alphas)[..., None]], axis=3), mattes


def previous_alpha(
    image: np.ndarray,
    matte: np.ndarray,
    other: np.ndarray,
    matte_fn: MatteFunction,
    random: np.random.Generator,
) -> np.ndarray:
    """An alpha that a network may have had for the frame before.

    Args:
        image: this frame, uint8 RGB (H, W, 3).
        matte: its matte, uint8 (H, W), 255 = person.
        other: the matte of another picture.
        matte_fn: the network.
        random: the source of random choices.

    Returns:
        uint8 (H, W), all 0 if there is none.
    """
    kind = random.random()
    if kind < _MISSING:
        return np.zeros_like(matte)
    coarser = random.uniform(*_GRID)
    if kind < _MISSING + _WRONG:
        alpha = _small(other / np.float32(255), coarser)
    else:
        before = np.dstack([image, matte])
        if random.random() >= _STILL:
            before = _moved(before, random)
        if random.random() < _SEEN:
            alpha = _small(matte_fn(_recorded(before[..., :3], random)), coarser)
        else:
            alpha = _small(before[..., 3] / np.float32(255), max(2.0, coarser))
            if random.random() < _DEGRADED:
                alpha = degraded(alpha, random)
    alpha = cv2.resize(alpha, matte.shape[::-1], interpolation=cv2.INTER_LINEAR)
    if random.random() < _BROKEN:
        alpha = _broken(alpha, other / np.float32(255), random)
    return np.rint(alpha.clip(0, 1) * 255).astype(np.uint8)


def _small(alpha: np.ndarray, coarser: float) -> np.ndarray:
    height, width = alpha.shape
    size = round(width / coarser), round(height / coarser)
    return cv2.resize(alpha, size, interpolation=cv2.INTER_AREA)


def _moved(frame: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Moves a picture with its matte, (H, W, 4), as between two frames: shifts, turns, scales and
    bends it.
    """
    height, width = frame.shape[:2]
    far = 3.0 if random.random() < 1 / 3 else 1.0
    place = cv2.getRotationMatrix2D(
        (width * random.random(), height * random.random()),
        far * _TURN * random.normal(),
        1 + far * _GROWTH * random.normal(),
    )
    place[:, 2] += far * _SHIFT * random.normal(size=2) * (width, height)
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    x, y = (row[0] * columns + row[1] * rows + row[2] for row in place)
    bend = far * _BEND * height * random.random()
    x, y = (each + bend * smooth_noise((height, width), height // 5, random) for each in (x, y))
    return cv2.remap(
        *(frame, x.astype(np.float32), y.astype(np.float32)),
        interpolation=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )


def _recorded(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A picture with the grain and the exposure of another frame."""
    grain = random.normal(0, random.uniform(0, 6), image.shape)
    return np.rint(image * random.uniform(0.97, 1.03) + grain).clip(0, 255).astype(np.uint8)


def _broken(alpha: np.ndarray, other: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """An alpha with an error in a large part, as a network makes in one frame and not in the next.

    A part of the person is lost or faint, an object or another person is added, or the person
    reached out of the window on which the network ran.
    """
    kind = random.integers(5)
    if kind == 0:
        return np.maximum(alpha, other)
    if kind == 1:
        return alpha * random.uniform(0.4, 0.9)
    if kind == 2:
        return alpha * _inside_window(alpha.shape, random)
    inside = np.argwhere(alpha > 0.5) if kind == 3 else ()
    place = inside[random.integers(len(inside))] if len(inside) else random.random(2) * alpha.shape
    blob = random.uniform(0.5, 1) * _blob(alpha.shape, place, random)
    return alpha * (1 - blob) if kind == 3 else np.maximum(alpha, blob)


def _blob(
    shape: tuple[int, int], place: Sequence[float], random: np.random.Generator
) -> np.ndarray:
    """An ellipse around (row, column) with a bent, more or less soft edge, float32, 0..1."""
    axes = np.maximum(1, random.uniform(0.05, 0.3, 2) * shape[0]).astype(int).tolist()
    blob = np.zeros(shape, np.float32)
    middle = int(place[1]), int(place[0])
    cv2.ellipse(blob, middle, axes, random.uniform(0, 180), 0, 360, 1.0, -1)
    blob = cv2.GaussianBlur(blob, (0, 0), shape[0] / 30)
    noise = 0.2 * smooth_noise(shape, max(1, shape[0] // 16), random)
    return ((blob + noise * (blob > 0.05) - 0.5) * random.uniform(1, 5) + 0.5).clip(0, 1)


def _inside_window(shape: tuple[int, int], random: np.random.Generator) -> np.ndarray:
    """1 inside a window that leaves out a strip along one side, float32."""
    window = np.ones(shape, np.float32)
    strip = round(random.uniform(0.05, 0.4) * shape[0])
    turns = int(random.integers(4))
    np.rot90(window, turns)[:strip] = 0
    return window


def load(pairs: Sequence[Pair], size: tuple[int, int]) -> Pictures:
    """Reads pairs as `data.loading.load` does, with a previous alpha as the fourth channel.

    The alphas are always the same, so that validation scores can be compared.
    """
    pictures = loading.load(pairs, size)
    make = WithPrevious(networks.load(NETWORK).matte)
    images, mattes = make(pictures.images, pictures.mattes, 0)
    return replace(pictures, images=images, mattes=mattes)


def make_batches(
    train: Sequence[Pair],
    validate: Sequence[Pair],
    size: tuple[int, int],
    batch_size: int,
    augmentation: Augmentation,
    *,
    boundary: Callable[[np.ndarray], np.ndarray] = boundary_target,
    teachers: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None,
    seed: int = 0,
    workers: int = 0,
    multiple: int = 1,
    share: tuple[int, int] = (0, 1),
) -> tuple[PortraitSequence, PortraitSequence]:
    """The training and the validation batches, as `data_generator.make_batches` makes them, with
    previous alphas as the fourth channel of the images.

    Raises:
        UserError: none of the pictures can be read.
    """
    training, validation = loading.load(train, size), load(validate, size)
    # A channel for the alphas, which every epoch makes anew.
    images = loading.zeros((*training.images.shape[:3], 4), loading.MEMORY_LIMIT)
    images[..., :3] = training.images
    return batches_of(
        replace(training, images=images),
        validation,
        batch_size,
        augmentation=WithPrevious(networks.load(NETWORK).matte, augmentation),
        boundary=boundary,
        teachers=teachers and (lambda images, mattes: teachers(images[..., :3], mattes)),
        seed=seed,
        workers=workers,
        multiple=multiple,
        share=share,
    )
