"""The built-in sample: pairs to try the tools without your own pictures.

It shows ONE woman from ONE photograph, NASA's portrait of Eileen Collins that scikit-image ships as
`astronaut`, in front of a few other photographs of scikit-image. The sample is enough to try
training, evaluation and export; a model that was trained on it does not work on other people.

The portrait, cut out in astronaut.py, is placed at many scales, positions, angles and lights in
frames of 240 x 320. The pictures in `testing` have two backgrounds that no picture in `training`
has. Nothing is downloaded: the photographs are part of the scikit-image wheel, which names their
sources (public domain or CC0 for most).
"""

import functools
import json
import os
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from skimage import data
from tqdm import tqdm

from portrait.data.backgrounds import random_part
from portrait.data.sample.astronaut import compose, matted_portrait, random_placement
from portrait.errors import UserError

SAMPLE_FOLDER = Path("data/sample")
FRAME = (320, 240)
"""Height and width of the pictures of the sample."""

_VERSION = 1  # increased with every change of the pictures; older samples are replaced
_MARKER = "sample.json"

# scikit-image's textures are grey; a fixed tint makes them look like walls and lawns.
_TRAINING_PHOTOS: dict[str, Callable[[], np.ndarray]] = {
    "cat": data.cat,
    "motorcycle": lambda: data.stereo_motorcycle()[0],
    "tissue": data.immunohistochemistry,
    "retina": lambda: data.retina()[250:1150, 250:1150],
    "galaxies": data.hubble_deep_field,
    "brick": lambda: _tinted(data.brick(), (1.0, 0.75, 0.65)),
    "grass": lambda: _tinted(data.grass(), (0.85, 1.0, 0.6)),
    "gravel": lambda: _tinted(data.gravel(), (1.0, 0.95, 0.85)),
}
_TESTING_PHOTOS: dict[str, Callable[[], np.ndarray]] = {
    "coffee": data.coffee,
    "rocket": data.rocket,
}


def ensure_sample(
    folder: str | os.PathLike = SAMPLE_FOLDER, seed: int = 0, training: int = 100, testing: int = 12
) -> Path:
    """Returns `folder`, and makes the sample first unless it is there.

    Arguments and errors are as in `make_sample`.
    """
    folder = Path(folder)
    if _read_marker(folder) == _recipe(seed, training, testing):
        return folder
    return make_sample(folder, seed, training, testing)


def make_sample(
    folder: str | os.PathLike = SAMPLE_FOLDER, seed: int = 0, training: int = 100, testing: int = 12
) -> Path:
    """Makes the sample: `training/00001.jpg`, `training/00001_matte.png`, ... `testing/...`.

    The same arguments give the same bytes, and picture N does not depend on the number of pictures.
    The folder appears when everything is written, so a killed run leaves none.

    Args:
        folder: the folder to make; it replaces an older sample there.
        seed: other seeds give other placements, lights and backgrounds.
        training: number of pairs in the `training` sub-folder.
        testing: number of pairs in the `testing` sub-folder.

    Returns:
        The folder.

    Raises:
        UserError: the folder cannot be written, or holds other files than a sample.
    """
    folder = Path(folder)
    recipe = _recipe(seed, training, testing)
    temporary = folder.with_name(f".{folder.name}-{secrets.token_hex(4)}.part")
    try:
        if _read_marker(folder) is None and folder.exists() and any(folder.iterdir()):
            raise UserError(
                f"{folder} contains something that is not the built-in sample: "
                "move it away or name another folder"
            )
        temporary.mkdir(parents=True)
        with tqdm(
            total=training + testing, desc="making the sample", unit="picture", disable=None
        ) as progress:
            for part, count in (("training", training), ("testing", testing)):
                _write_part(temporary / part, seed, count, progress)
        (temporary / _MARKER).write_text(json.dumps(recipe) + "\n")
        _swap(temporary, folder, recipe)
    except OSError as error:
        raise UserError(f"cannot write {folder}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def sample_portrait() -> tuple[np.ndarray, np.ndarray]:
    """The photograph behind the sample and its matte.

    Returns:
        image uint8 (448, 512, 3) RGB and alpha float32 (448, 512) 0..1, both read-only.
    """
    photo, _, alpha = matted_portrait()
    return photo, alpha


@functools.cache
def sample_backgrounds(held_out: bool = False) -> tuple[np.ndarray, ...]:
    """The default photographs without people for background replacement.

    Args:
        held_out: return the backgrounds of the `testing` pictures, which no `training` picture has.

    Returns:
        uint8 (H, W, 3) RGB arrays of various sizes, read-only.
    """
    photos = _TESTING_PHOTOS if held_out else _TRAINING_PHOTOS
    images = tuple(np.array(load()) for load in photos.values())
    for image in images:
        image.setflags(write=False)
    return images


def _write_part(folder: Path, seed: int, count: int, progress: tqdm) -> None:
    held_out = folder.name == "testing"
    folder.mkdir()
    for number in range(1, count + 1):
        image, matte = _make_pair(np.random.default_rng([seed, held_out, number]), held_out)
        _write(folder / f"{number:05d}.jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])
        _write(folder / f"{number:05d}_matte.png", matte, [])
        progress.update()


def _write(path: Path, image: np.ndarray, options: list[int]) -> None:
    # Not cv2.imwrite, which reports a full disk by a return value and chokes on some paths.
    path.write_bytes(cv2.imencode(path.suffix, image, options)[1].tobytes())


def _make_pair(rng: np.random.Generator, held_out: bool) -> tuple[np.ndarray, np.ndarray]:
    """One picture uint8 (320, 240, 3) RGB and its matte uint8 (320, 240)."""
    foreground = _relight(matted_portrait()[1], rng)
    background = _relight(_backdrop(rng, held_out), rng)
    if rng.random() < 0.5:  # as a wide aperture has it
        background = cv2.GaussianBlur(background, (0, 0), rng.uniform(0.5, 3))
    image, matte = compose(foreground, background, random_placement(rng, FRAME))
    if rng.random() < 0.3:  # a slight miss of focus softens the picture, hence the true matte too
        sigma = rng.uniform(0.4, 0.9)
        image, matte = (cv2.GaussianBlur(layer, (0, 0), sigma) for layer in (image, matte))
    image = image + rng.normal(0, 1, image.shape) * rng.uniform(0, 5)
    return _to_bytes(image), _to_bytes(matte * 255)


def _backdrop(rng: np.random.Generator, held_out: bool) -> np.ndarray:
    """A crop of a photograph, or (in training, one in six) a gradient; uint8 (320, 240, 3)."""
    height, width = FRAME
    if not held_out and rng.random() < 1 / 6:
        corners = rng.uniform(10, 245, (2, 2, 3)).astype(np.float32)
        return cv2.resize(corners, (width, height)).astype(np.uint8)
    photos = sample_backgrounds(held_out)
    return random_part(photos[rng.integers(len(photos))], height, width, rng, least=0.55)


def _relight(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Changes exposure, colour temperature and side light; uint8 to float32 0..255."""
    gamma = np.exp(rng.normal(0, 0.25))
    warmth = rng.normal(0, 0.08)
    gains = np.exp([warmth, 0, -warmth])
    curve = 255 * (np.arange(256) / 255)[:, None] ** gamma * gains
    lit = curve.astype(np.float32)[image, np.arange(3)]
    direction = rng.uniform(0, 2 * np.pi)
    strength = rng.uniform(0, 0.35)
    y, x = (np.linspace(-1, 1, size, dtype=np.float32) for size in image.shape[:2])
    ramp = np.sin(direction) * y[:, None] + np.cos(direction) * x
    return np.clip(lit * (1 + strength * ramp)[..., None], 0, 255)


def _to_bytes(image: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def _tinted(grey: np.ndarray, tint: tuple[float, float, float]) -> np.ndarray:
    return _to_bytes(grey[..., None] * np.array(tint))


def _recipe(seed: int, training: int, testing: int) -> dict[str, str | int]:
    counts = {"training": training, "testing": testing}
    return {"made_by": Path(__file__).name, "version": _VERSION, "seed": seed, **counts}


def _read_marker(folder: Path) -> dict[str, str | int] | None:
    """The recipe of the sample in `folder`; None if there is no sample."""
    try:
        marker = json.loads((folder / _MARKER).read_text())
    except (OSError, ValueError):
        return None
    # Samples are replaced, other folders are not: let no other program's file pass for a marker.
    is_ours = isinstance(marker, dict) and marker.get("made_by") == Path(__file__).name
    return marker if is_ours else None


def _swap(temporary: Path, folder: Path, recipe: dict[str, str | int]) -> None:
    """Renames the finished sample into place; an older one is moved aside and then deleted."""
    aside = temporary.with_suffix(".old")
    if folder.exists():
        folder.rename(aside)
    try:
        temporary.rename(folder)
    except OSError:
        if _read_marker(folder) != recipe:  # else another process was first with the same
            raise
    shutil.rmtree(aside, ignore_errors=True)
