"""Reads mattes: grey pictures, transparency, label masks, and MATLAB files."""

import io
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
from PIL import Image

from portrait.errors import UserError, first_line
from portrait.io import matte_labels
from portrait.io.decode import PictureError, check_size, oriented, read_bytes
from portrait.io.images import by_bands, convert_mode, is_deep, luma, open_picture, to_8_bits

_GREY_SPREAD = 32  # largest difference of the channels of grey pixels in a JPEG
_COLOURED_SHARE = 0.001
_MOST_LABELLED = 100_000_000  # pixels; finding the nearest label takes 15 bytes per pixel
_OPACITIES = matte_labels.Reading(None, True, "opacities")

# The size in bytes of MATLAB's numeric types.
_MAT_NUMBERS = {"logical": 1, "single": 4, "double": 8}
_MAT_NUMBERS |= {f"{sign}int{8 * size}": size for sign in ("", "u") for size in (1, 2, 4, 8)}


@dataclass(frozen=True)
class RawMatte:
    """The values of a matte as they are stored in the file.

    Attributes:
        form: the form of the values; None if they are certainly opacities.
        values: (H, W), integers of at least 0, or of any type if `form` is None.
        palette: the colour 0xRRGGBB of each number, if `form` is "palette".
    """

    form: matte_labels.Form | None
    values: np.ndarray
    palette: tuple[int, ...] = ()

    def find(self) -> matte_labels.Found:
        """Counts the values."""
        return matte_labels.find(self.form, self.values, self.palette)


def read_matte(
    path: str | os.PathLike,
    readings: Mapping[matte_labels.Form, matte_labels.Reading] = MappingProxyType({}),
) -> np.ndarray:
    """Reads a matte as uint8 (H, W), 0 background to 255 person, upright by its EXIF orientation.

    Masks of 0 and 1 are scaled to 0 and 255, but in a set of soft mattes, 1 is a level like others:
    the matte of a picture without people may have no higher one. A 16-bit matte with values up to
    255 is treated as an 8-bit matte, unless its set has higher values. In label masks, void pixels
    get the label of the nearest labelled pixel.

    Args:
        path: the file; `read_values` describes where its matte is.
        readings: the meaning of the values in the set, see `matte_labels.decide`. If there is none
            for the form of this matte, the meaning is determined from this file alone.

    Raises:
        PictureError: the file is missing, truncated, not a picture, or contains no matte; the
            person's label cannot be determined; or there is a label that is not in the set.
    """
    raw, orientation = read_values(path)
    try:
        reading = _reading(raw, readings)
        if (labels := reading.labels) is None:
            return oriented(_stretch(raw.values, path, reading), orientation)
        values = raw.values
        _check_labels(values, path)
        if raw.form == "palette" and labels.colours:
            values = np.uint32(raw.palette)[values]
        matte = matte_labels.alpha(labels, values)
    except PictureError:
        raise
    except UserError as error:
        raise PictureError(f"{path}: {error}") from error
    return oriented(matte, orientation)


def read_values(path: str | os.PathLike) -> tuple[RawMatte, int]:
    """Reads the values of a matte, and the EXIF orientation.

    The matte is the first of these:

    - in a `.mat` file (EG1800), the array `mask`, or the only 2-D array;
    - an alpha channel that is not constant;
    - the numbers of a palette, if a used colour is not grey (Supervisely, Pascal VOC);
    - the colours;
    - the luma.

    Raises:
        PictureError: the file is missing, truncated, not a picture, or contains no matte.
    """
    if Path(path).suffix.lower() == ".mat":
        return _numbers(_read_mat(path)), 1
    picture, orientation = open_picture(path)
    return _values(picture, path), orientation


def _reading(raw: RawMatte, readings: Mapping) -> matte_labels.Reading:
    """The meaning of the values of a matte: that of its set if there is one."""
    if raw.form is None:
        return _OPACITIES
    reading = readings.get(raw.form)
    if reading and (reading.labels or reading.soft):
        return reading
    found = raw.find()
    if reading and found.binary:
        return reading
    own = matte_labels.decide(found)
    if reading and own.labels:
        raise UserError(f"{own.said}, but the examined mattes are {reading.said}")
    return own


def _values(picture: Image.Image | np.ndarray, path: str | os.PathLike) -> RawMatte:
    """The values of the matte in a picture, see `read_values`."""
    if isinstance(picture, np.ndarray):
        return _numbers(picture if picture.ndim == 2 else by_bands(luma, picture))
    if is_deep(picture) or picture.mode == "1":
        return _numbers(by_bands(np.asarray, picture))
    if (alpha := _varying_alpha(picture, path)) is not None:
        return RawMatte(None, alpha)
    if picture.mode == "P" and _is_coloured(picture):
        return RawMatte("palette", by_bands(np.asarray, picture), tuple(_palette(picture).tolist()))
    if picture.mode not in ("L", "LA", "La", "P", "PA"):
        rgb = by_bands(lambda band: np.asarray(convert_mode(band, "RGB", path)), picture)
        if _holds_colours(rgb):
            _check_labels(rgb, path)
            return RawMatte("colour", by_bands(_packed, rgb))
    return _numbers(by_bands(lambda band: np.asarray(convert_mode(band, "L", path)), picture))


def _numbers(values: np.ndarray) -> RawMatte:
    """Grey values as integers, if they are whole numbers."""
    if values.dtype.kind == "f":
        whole = by_bands(lambda band: (band == band.round()).all(axis=1), values).all()
        if not (whole and values.min() >= 0 and values.max() <= 255):
            return RawMatte(None, values)
        values = values.clip(0, 255).astype(np.uint8)
    if values.dtype.kind == "i":
        values = values.clip(0, 65535).astype(np.uint16)
    return RawMatte("grey", values * np.uint8(255) if values.dtype == bool else values)


def _check_labels(values: np.ndarray, path: str | os.PathLike) -> None:
    height, width = values.shape[:2]
    if height * width > _MOST_LABELLED:
        most = f"{_MOST_LABELLED // 10**6} megapixels"
        raise PictureError(
            f"{path}: a label mask of {width} x {height} pixels: the largest are {most}"
        )


def _holds_colours(rgb: np.ndarray) -> bool:
    """Returns whether more than stray pixels are other than grey."""
    coloured = by_bands(lambda band: _spread(band) > _GREY_SPREAD, rgb)
    return bool(coloured.mean() > _COLOURED_SHARE)


def _spread(rgb: np.ndarray) -> np.ndarray:
    """The difference of the highest and the lowest channel; `np.ptp` takes ten times as long."""
    red, green, blue = np.moveaxis(rgb, -1, 0)
    highest = np.maximum(np.maximum(red, green), blue)
    return highest - np.minimum(np.minimum(red, green), blue)


def _packed(rgb: np.ndarray) -> np.ndarray:
    """Packs uint8 (..., 3) into 0xRRGGBB, uint32 (...)."""
    red, green, blue = np.moveaxis(rgb, -1, 0).astype(np.uint32)
    return red << 16 | green << 8 | blue


def _varying_alpha(picture: Image.Image, path: str | os.PathLike) -> np.ndarray | None:
    if not picture.has_transparency_data:
        return None
    alpha = by_bands(
        lambda band: np.asarray(convert_mode(band, "RGBA", path).getchannel("A")), picture
    )
    return alpha if alpha.min() != alpha.max() else None


def _is_coloured(picture: Image.Image) -> bool:
    """Whether a palette picture uses a colour other than grey."""
    palette = _palette(picture)[np.flatnonzero(picture.histogram())]
    return bool((palette % 0x010101 != 0).any())


def _palette(picture: Image.Image) -> np.ndarray:
    """The 256 colours of a palette as 0xRRGGBB."""
    palette = np.zeros((256, 3), np.uint8)
    entries = np.array(picture.getpalette("RGB"), np.uint8).reshape(-1, 3)
    palette[: len(entries)] = entries
    return _packed(palette)


def _read_mat(path: str | os.PathLike) -> np.ndarray:
    from scipy.io import loadmat, whosmat  # takes 0.5 s, and only EG1800 needs it

    data = read_bytes(path)
    try:
        planes = {
            name: (*shape, _MAT_NUMBERS[kind])
            for name, shape, kind in whosmat(io.BytesIO(data))
            if len(shape) == 2 and kind in _MAT_NUMBERS
        }
    except Exception as error:  # SciPy raises many types of exceptions for damaged files
        raise _unreadable(path, error) from error
    if "mask" not in planes and len(planes) != 1:
        raise PictureError(f"{path}: no array 'mask', and {len(planes)} other 2-D arrays, not one")
    name = "mask" if "mask" in planes else next(iter(planes))
    height, width, number = planes[name]
    if not height or not width:
        raise PictureError(f"{path}: the array is empty")
    check_size(path, width, height, number + 2)
    try:
        return loadmat(io.BytesIO(data), variable_names=[name])[name]
    except Exception as error:
        raise _unreadable(path, error) from error


def _unreadable(path: str | os.PathLike, error: Exception) -> PictureError:
    return PictureError(f"{path}: cannot be read as a .mat file ({first_line(error)})")


def _stretch(
    array: np.ndarray, path: str | os.PathLike, reading: matte_labels.Reading
) -> np.ndarray:
    """Scales a matte of any type and range to uint8 0..255, see `read_matte`."""
    if array.dtype.kind == "f":
        return to_8_bits(array, path)
    top = array.max()
    if top == 1 and not reading.soft:
        return np.where(array > 0, np.uint8(255), np.uint8(0))
    if max(top, reading.top) <= 255:
        return array.astype(np.uint8)
    return to_8_bits(array, path)  # unchanged if the file has 8 bits
