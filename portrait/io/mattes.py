"""Reads mattes: grey pictures, transparency, label masks, and MATLAB files."""

import io
import os
from pathlib import Path

import numpy as np
from PIL import Image

from portrait.errors import first_line
from portrait.io.images import (
    PictureError,
    convert_mode,
    decode,
    is_deep,
    luma,
    read_bytes,
    to_8_bits,
)


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
    picture = decode(path)
    if isinstance(picture, np.ndarray):
        array = picture if picture.ndim == 2 else luma(picture)
    elif is_deep(picture) or picture.mode == "1":
        array = np.asarray(picture)
    elif (alpha := _varying_alpha(picture, path)) is not None:
        array = alpha
    elif picture.mode == "P" and _is_coloured(picture):
        array = np.asarray(picture) != 0
    else:
        array = np.asarray(convert_mode(picture, "L", path))
    return _stretch(array, path)


def _varying_alpha(picture: Image.Image, path: str | os.PathLike) -> np.ndarray | None:
    if not picture.has_transparency_data:
        return None
    alpha = np.asarray(convert_mode(picture, "RGBA", path).getchannel("A"))
    return alpha if alpha.min() != alpha.max() else None


def _is_coloured(picture: Image.Image) -> bool:
    """Whether a palette picture uses any colour that is not a grey."""
    used = np.unique(np.asarray(picture))
    palette = np.zeros((256, 3), np.uint8)
    entries = np.array(picture.getpalette("RGB"), np.uint8).reshape(-1, 3)
    palette[: len(entries)] = entries
    return bool((palette[used].min(axis=1) != palette[used].max(axis=1)).any())


def _read_mat(path: str | os.PathLike) -> np.ndarray:
    from scipy.io import loadmat  # half a second that only EG1800 needs

    try:
        contents = loadmat(io.BytesIO(read_bytes(path)))
    except PictureError:
        raise
    except Exception as error:  # SciPy, too, raises whatever it stumbles over
        raise PictureError(
            f"{path}: cannot be read as a .mat file ({first_line(error)})"
        ) from error
    planes = {
        name: value
        for name, value in contents.items()
        if isinstance(value, np.ndarray) and value.ndim == 2 and value.dtype.kind in "buif"
    }
    if "mask" in planes:
        return planes["mask"]
    if len(planes) != 1:
        raise PictureError(f"{path}: no array 'mask' and {len(planes)} others of two dimensions")
    return next(iter(planes.values()))


def _stretch(array: np.ndarray, path: str | os.PathLike) -> np.ndarray:
    """A matte of any type and range as uint8 0..255."""
    top = array.max()
    if array.dtype == bool or (array.dtype.kind in "iu" and 0 < top <= 1):
        return np.where(array > 0, np.uint8(255), np.uint8(0))
    if array.dtype.kind in "iu" and top <= 255:
        return array.clip(0, 255).astype(np.uint8)
    return to_8_bits(array, path)
