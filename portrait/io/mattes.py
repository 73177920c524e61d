"""Reads mattes: grey pictures, transparency, label masks, and MATLAB files."""

import io
import os
from pathlib import Path

import numpy as np
from PIL import Image

from portrait.errors import first_line
from portrait.io.decode import PictureError, check_size, decode, oriented, read_bytes
from portrait.io.images import by_bands, convert_mode, is_deep, luma, to_8_bits

# MATLAB's names of types of numbers, and their bytes.
_MAT_NUMBERS = {"logical": 1, "single": 4, "double": 8}
_MAT_NUMBERS |= {f"{sign}int{8 * size}": size for sign in ("", "u") for size in (1, 2, 4, 8)}


def read_matte(path: str | os.PathLike) -> np.ndarray:
    """Reads a matte as uint8 (H, W), 0 background to 255 person, upright by its EXIF orientation.

    What counts as the matte, in this order:

    - a `.mat` file (EG1800): the array `mask`, else the only 2-D array;
    - the alpha channel, where there is one and it is not the same everywhere;
    - a palette with a colour in use (label masks of Supervisely, Pascal VOC): every label but 0;
    - else the luma.

    Masks of 0 and 1 are stretched to 0 and 255. A 16-bit matte that never exceeds 255 holds 8-bit
    values in a wide container and is taken as such: scaled, it would be black.

    Raises:
        PictureError: the file is missing, truncated, not a picture, or holds no matte.
    """
    if Path(path).suffix.lower() == ".mat":
        return _stretch(_read_mat(path), path)
    picture, orientation = decode(path)
    array = _values(picture, path)
    del picture
    return oriented(_stretch(array, path), orientation)


def _values(picture: Image.Image | np.ndarray, path: str | os.PathLike) -> np.ndarray:
    """What counts as the matte of a picture, (H, W) of any type."""
    if isinstance(picture, np.ndarray):
        return picture if picture.ndim == 2 else by_bands(luma, picture)
    if is_deep(picture) or picture.mode == "1":
        return by_bands(np.asarray, picture)
    if (alpha := _varying_alpha(picture, path)) is not None:
        return alpha
    if picture.mode == "P" and _is_coloured(picture):
        return by_bands(np.asarray, picture) != 0
    return by_bands(lambda band: np.asarray(convert_mode(band, "L", path)), picture)


def _varying_alpha(picture: Image.Image, path: str | os.PathLike) -> np.ndarray | None:
    if not picture.has_transparency_data:
        return None
    alpha = by_bands(
        lambda band: np.asarray(convert_mode(band, "RGBA", path).getchannel("A")), picture
    )
    return alpha if alpha.min() != alpha.max() else None


def _is_coloured(picture: Image.Image) -> bool:
    """Whether a palette picture uses any colour that is not a grey."""
    used = np.flatnonzero(picture.histogram())
    palette = np.zeros((256, 3), np.uint8)
    entries = np.array(picture.getpalette("RGB"), np.uint8).reshape(-1, 3)
    palette[: len(entries)] = entries
    return bool((palette[used].min(axis=1) != palette[used].max(axis=1)).any())


def _read_mat(path: str | os.PathLike) -> np.ndarray:
    from scipy.io import loadmat, whosmat  # half a second that only EG1800 needs

    data = read_bytes(path)
    try:
        planes = {
            name: (*shape, _MAT_NUMBERS[kind])
            for name, shape, kind in whosmat(io.BytesIO(data))
            if len(shape) == 2 and kind in _MAT_NUMBERS
        }
    except Exception as error:  # SciPy, too, raises whatever it stumbles over
        raise _unreadable(path, error) from error
    if "mask" not in planes and len(planes) != 1:
        raise PictureError(f"{path}: no array 'mask' and {len(planes)} others of two dimensions")
    name = "mask" if "mask" in planes else next(iter(planes))
    height, width, number = planes[name]
    check_size(path, width, height, number + 2)
    try:
        return loadmat(io.BytesIO(data), variable_names=[name])[name]
    except Exception as error:
        raise _unreadable(path, error) from error


def _unreadable(path: str | os.PathLike, error: Exception) -> PictureError:
    return PictureError(f"{path}: cannot be read as a .mat file ({first_line(error)})")


def _stretch(array: np.ndarray, path: str | os.PathLike) -> np.ndarray:
    """A matte of any type and range as uint8 0..255."""
    top = array.max()
    if array.dtype == bool or (array.dtype.kind in "iu" and 0 < top <= 1):
        return np.where(array > 0, np.uint8(255), np.uint8(0))
    if array.dtype.kind in "iu" and top <= 255:
        return array.clip(0, 255).astype(np.uint8)
    return to_8_bits(array, path)
