"""A trained network on photographs: alphas and cut-outs to keep.

Nothing here knows how a matte is made: a `MatteFunction` is Keras, TFLite or anything else.
"""

import itertools
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from tqdm import tqdm

from files import UserError
from pairs import warn_left_out
from pictures import PictureError, list_images, read_image, write_png
from preprocess import resize

MatteFunction = Callable[[np.ndarray], np.ndarray]
"""From a photograph, uint8 RGB (H, W, 3), to its alpha, float32 (H, W), 0..1."""

_KINDS = ("alpha", "cutout")


def model_matte_fn(
    predict_batch: Callable[[np.ndarray], np.ndarray], input_shape: tuple[int, int]
) -> MatteFunction:
    """Makes a network of fixed input size work on photographs of any size.

    The photograph is squeezed to the network's shape exactly as in training, and the alpha is
    stretched back (bilinear where it grows).

    Args:
        predict_batch: float32 (1, h, w, 3), RGB 0..255, to float32 (1, h, w, 1), 0..1.
        input_shape: (h, w) of the network.
    """

    def matte_fn(image: np.ndarray) -> np.ndarray:
        batch = resize(image, input_shape)[np.newaxis].astype(np.float32)
        alpha = np.asarray(predict_batch(batch), np.float32)[0, :, :, 0]
        return resize(alpha, image.shape[:2]).clip(0, 1)

    return matte_fn


def predict(
    matte_fn: MatteFunction, inputs: Iterable[str | Path], output: str | Path
) -> list[Path]:
    """Writes `NAME_alpha.png` (grey) and `NAME_cutout.png` (RGBA, the photograph's colours).

    NAME is the photograph's name without its suffix; with it where two would have the same. A
    photograph that is given is never overwritten, whatever the folder `output`.

    Args:
        matte_fn: makes the mattes.
        inputs: picture files, and folders, of which every picture is taken but mattes and earlier
            results: `NAME_matte`, `NAME_alpha` and `NAME_cutout` of a NAME beside them.
        output: the folder to write into; made if missing.

    Returns:
        The files written, the alpha before the cut-out of each photograph.

    Raises:
        UserError: no picture could be found or read, the network yields NaN, `output` cannot be
            written.
    """
    photos = _photographs(inputs)
    written: list[Path] = []
    unreadable: list[str] = []
    targets = _targets(photos, Path(output))
    bar = tqdm(photos, desc="predict", unit=" pictures", disable=len(photos) < 2 or None)
    for photo, (alpha_path, cutout_path) in zip(bar, targets, strict=True):
        try:
            image = read_image(photo)
        except PictureError as error:
            unreadable.append(str(error))
            continue
        levels = np.rint(checked_alpha(matte_fn, image, photo) * 255).astype(np.uint8)
        write_png(alpha_path, levels)
        write_png(cutout_path, np.dstack([image, levels]))
        written += [alpha_path, cutout_path]
    if not written:
        raise UserError("no picture could be read: " + "; ".join(unreadable))
    warn_left_out(unreadable, "{count} photographs left out: {names}")
    return written


def checked_alpha(matte_fn: MatteFunction, image: np.ndarray, path: Path) -> np.ndarray:
    """The alpha of the photograph `image`, read from `path`.

    Raises:
        UserError: it holds NaN or infinity.
    """
    alpha = matte_fn(image)
    if not np.isfinite(alpha).all():
        raise UserError(f"the network gives NaN for {path}: its weights are damaged")
    return alpha


def _photographs(inputs: Iterable[str | Path]) -> list[Path]:
    """The files to work on, each once, in the order given, folders sorted by name."""
    photos: dict[Path, Path] = {}
    for source in map(Path, inputs):
        found = [source]
        if source.is_dir():
            pictures = list_images(source)
            names = {name for each in pictures for name in (each.stem, each.name)}
            found = [each for each in pictures if not _is_result(each.stem, names)]
            if not found:
                raise UserError(f"{source} holds no photographs (.jpg, .png, .webp, ...)")
        for photo in found:
            photos.setdefault(photo.resolve(), photo)
    if not photos:
        raise UserError("no photograph or folder is given")
    return list(photos.values())


def _is_result(stem: str, names: set[str]) -> bool:
    base, _, kind = stem.rpartition("_")
    return kind in (*_KINDS, "matte") and base in names


def _targets(photos: list[Path], output: Path) -> list[tuple[Path, Path]]:
    """Where each photograph's alpha and cut-out go: no file twice, none that is a photograph."""
    # Disks of Windows and macOS take A.png for a.png.
    taken = {str(photo.resolve()).casefold() for photo in photos}
    targets = []
    for photo in photos:
        numbered = (f"{photo.name}-{number}" for number in itertools.count(2))
        for name in itertools.chain([photo.stem, photo.name], numbered):
            paths = tuple(output / f"{name}_{kind}.png" for kind in _KINDS)
            keys = {str(path.resolve()).casefold() for path in paths}
            if not keys & taken:
                break
        taken |= keys
        targets.append(paths)
    return targets
