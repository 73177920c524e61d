"""Batches for networks that see the alpha of the frame before as the fourth channel.

Training pictures are single frames, so the previous alpha is made from the matte: moved, warped and
wrong as it is in videos, and often missing, as at a start or a cut. The network must neither ignore
it nor copy it. RobustVideoMatting trains on clips instead (Lin et al., 2108.11515). Few clips with
exact mattes exist.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import cv2
import numpy as np

from augmentation import Augmentation
from data_generator import Pair, Pictures, PortraitSequence, batches_of
from portrait.data import loading
from portrait.data.targets import boundary_target
from portrait.training.refining import degraded

_MISSING = 0.2  # share of pictures without a previous alpha
_WRONG = 0.1  # share of pictures with the alpha of another picture, as after a cut nobody noticed
_STILL = 0.25  # share of the others that did not move
_GRID = 2.0  # how much coarser the errors are than the picture
_SHIFT = 0.02  # standard deviations, as shares of a side; one in three moves three times as far
_TURN = 2.0  # degrees
_GROWTH = 0.02


class WithPrevious:
    """An augmentation for `PortraitSequence` that also makes previous alphas.

    Args:
        augmentation: augments pictures and mattes; None leaves them as they are.
    """

    def __init__(self, augmentation: Augmentation | None = None):
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
            previous_alpha(matte, mattes[other], random)
            for matte, other in zip(mattes, random.permutation(len(mattes)), strict=True)
        ]
        return np.concatenate([images, np.stack(alphas)[..., None]], axis=3), mattes


def previous_alpha(matte: np.ndarray, other: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """An alpha that a network may have had for the frame before.

    Args:
        matte: the matte of this frame, uint8 (H, W), 255 = person.
        other: the matte of another picture.
        random: the source of random choices.

    Returns:
        uint8 (H, W), all 0 if there is none.
    """
    kind = random.random()
    if kind < _MISSING:
        return np.zeros_like(matte)
    alpha = (other if kind < _MISSING + _WRONG else matte) / np.float32(255)
    if random.random() >= _STILL:
        alpha = _moved(alpha, random)
    height, width = matte.shape
    small = cv2.resize(
        alpha, (round(width / _GRID), round(height / _GRID)), interpolation=cv2.INTER_AREA
    )
    if random.random() < 0.7:
        small = degraded(small, random)
    alpha = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.rint(alpha.clip(0, 1) * 255).astype(np.uint8)


def _moved(alpha: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Shifts, turns and scales an alpha by what happens between two frames."""
    height, width = alpha.shape
    far = 3.0 if random.random() < 1 / 3 else 1.0
    place = cv2.getRotationMatrix2D(
        (width * random.random(), height * random.random()),
        far * _TURN * random.normal(),
        1 + far * _GROWTH * random.normal(),
    )
    place[:, 2] += far * _SHIFT * random.normal(size=2) * (width, height)
    return cv2.warpAffine(
        alpha, place, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )


def load(pairs: Sequence[Pair], size: tuple[int, int]) -> Pictures:
    """Reads pairs as `data.loading.load` does, with a previous alpha as the fourth channel.

    The alphas are always the same, so that validation scores can be compared.
    """
    pictures = loading.load(pairs, size)
    images, mattes = WithPrevious()(pictures.images, pictures.mattes, 0)
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
        augmentation=WithPrevious(augmentation),
        boundary=boundary,
        teachers=teachers and (lambda images, mattes: teachers(images[..., :3], mattes)),
        seed=seed,
        workers=workers,
        multiple=multiple,
        share=share,
    )
