"""The training photographs of the transform network, as batches of random crops."""

import logging
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np

from portrait.errors import UserError
from portrait.io.images import PictureError, read_image, resize
from portrait.io.photos import photographs_in
from portrait.util import evenly

log = logging.getLogger(__name__)

_ZOOM = 2.0
_TRIES = 20
SHIFT = 8
"""The largest movement of `move`, in pixels."""
_NOISE, _FLICKER = 6.0, 4.0  # levels: largest standard deviation, largest change of brightness
_PLAIN = 3.0  # levels: standard deviation of a crop with nothing in it


def find_photos(folders: Sequence[str]) -> list[Path]:
    """The pictures in folders, or in their `training` sub-folders, without mattes.

    Raises:
        UserError: a folder is missing or has no pictures.
    """
    parts = [Path(folder) / "training" for folder in folders]
    chosen = [part if part.is_dir() else part.parent for part in parts]
    return [photo for folder in chosen for photo in photographs_in(folder)]


def hold_out(photos: Sequence[Path], count: int) -> tuple[list[Path], list[Path]]:
    """Holds out `count` photographs, spread evenly, for validation.

    Returns:
        The training and the validation photographs. If there are too few, all are used for
        training.
    """
    if len(photos) < 2 * count:
        log.warning(
            "too few photographs (%d): the validation photographs are used for training, too",
            len(photos),
        )
        return list(photos), list(photos)[:count]
    chosen = evenly(photos, count)
    return [photo for photo in photos if photo not in chosen], chosen


def centre_crop(photo: np.ndarray, size: int) -> np.ndarray:
    """The largest central square of a photograph, resized to (size, size, 3)."""
    return _crop(photo, size, 1.0, 0.5, 0.5)


class PhotoCrops(keras.utils.PyDataset):
    """Batches of crops for `fit`: {"image": (N, size, size, 3) 0..255, "mix": (N, styles)}, `move`.

    `move` applies to the first picture of a batch: painting all of them twice would take too long.

    The styles take turns. A batch depends only on the seed, the epoch and its index, so a resumed
    training sees the same batches as an uninterrupted one.

    Args:
        photos: files; unreadable ones are skipped.
        size: height and width of the crops.
        batch_size: crops in a batch.
        steps: batches in an epoch.
        styles: the number of styles.
        seed: at least 0.

    Attributes:
        epoch: the current epoch, from 0; the training sets it.
    """

    def __init__(
        self,
        photos: Sequence[Path],
        size: int,
        batch_size: int,
        steps: int,
        styles: int,
        seed: int = 0,
    ):
        super().__init__()
        self.photos = list(photos)
        self.size = size
        self.batch_size = batch_size
        self.steps = steps
        self.styles = styles
        self.seed = seed
        self.epoch = 0

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, index: int) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        rng = np.random.default_rng((self.seed, self.epoch, index))
        images = [self._random_crop(rng) for _ in range(self.batch_size)]
        turns = (index * self.batch_size + np.arange(self.batch_size)) % self.styles
        inputs = batch(images, np.eye(self.styles)[turns])
        return inputs, move(inputs["image"][:1], rng)

    def _random_crop(self, rng: np.random.Generator) -> np.ndarray:
        for _ in range(_TRIES):
            try:
                photo = read_image(self.photos[rng.integers(len(self.photos))])
            except PictureError:
                continue
            crop = _crop(photo, self.size, rng.uniform(1, _ZOOM), *rng.random(2))
            # Instance normalisation divides by the standard deviation. If that is 0, the gradient
            # is some hundreds in each of 15 layers, which overflows.
            if crop.std() < _PLAIN:
                continue
            return crop[:, ::-1] if rng.random() < 0.5 else crop
        raise UserError(f"of {_TRIES} photographs none could be read, or all were of one colour")


def batch(images: Sequence[np.ndarray], mix: np.ndarray) -> dict[str, np.ndarray]:
    """Pictures (H, W, 3) and their mixes of styles (N, styles), as the network takes them."""
    return {"image": np.stack(images).astype(np.float32), "mix": np.asarray(mix, np.float32)}


def move(images: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """The next frame of a video: pictures moved a little, with noise and a change of brightness.

    Args:
        images: (N, H, W, 3) in 0..255.
        rng: the source of randomness.

    Returns:
        "moved": the pictures that begin `shift` pixels further down and to the right, mirrored
        beyond the border; "shift": that movement, the same for the whole batch, int32 (N, 2).
    """
    shift = rng.integers(-SHIFT, SHIFT + 1, 2)
    borders = ((0, 0), (SHIFT, SHIFT), (SHIFT, SHIFT), (0, 0))
    top, left = SHIFT + shift
    moved = np.pad(images, borders, mode="reflect")
    moved = moved[:, top : top + images.shape[1], left : left + images.shape[2]]
    noise = rng.normal(rng.uniform(-_FLICKER, _FLICKER), rng.uniform(0, _NOISE), moved.shape)
    moved = (moved + noise).clip(0, 255).astype(np.float32)
    return {"moved": moved, "shift": np.tile(shift.astype(np.int32), (len(images), 1))}


def _crop(photo: np.ndarray, size: int, zoom: float, down: float, right: float) -> np.ndarray:
    """A square of `size` from a photograph whose shorter side is `size` x `zoom`."""
    height, width = photo.shape[:2]
    scale = size * zoom / min(height, width)
    photo = resize(photo, (max(size, round(height * scale)), max(size, round(width * scale))))
    top = int(down * (photo.shape[0] - size))
    left = int(right * (photo.shape[1] - size))
    return photo[top : top + size, left : left + size]
