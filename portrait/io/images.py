"""Reads picture files of all common formats as RGB arrays, and writes PNGs."""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image

from portrait.errors import UnfitError, UserError
from portrait.io.colour_profiles import in_srgb
from portrait.io.decode import PictureError, decode, oriented
from portrait.io.files import replacing

SUFFIXES = {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif"}
SUFFIXES |= {".ppm", ".pgm", ".avif", ".heic", ".heif", ".hif"}

_WITHOUT_ALPHA = {".jpg": "JPEG", ".jpeg": "JPEG", ".bmp": "BMP"}
WRITABLE = {".png": "PNG", ".webp": "WEBP", ".tif": "TIFF", ".tiff": "TIFF", **_WITHOUT_ALPHA}
"""The formats of `write_picture` by suffix."""

_HIGHLIGHTS = 16  # times white; brighter floats are levels up to 255
_BAND = 4_000_000  # pixels per step, so that large pictures are not in memory twice


class TooSmallError(UnfitError):
    """A picture with fewer pixels than an operation needs.

    Args:
        shape: the shape of the picture, (H, W) or (H, W, C).
        least: the smallest allowed height and width in pixels.
    """

    def __init__(self, shape: Sequence[int], least: int):
        height, width = shape[:2]
        self.least = least
        super().__init__(
            f"a picture of {width} x {height} is too small: it needs at least {least} x {least}"
        )


def list_images(folder: str | os.PathLike) -> list[Path]:
    """Lists the picture files directly in `folder`, sorted by name.

    Files are chosen by suffix, in upper or lower case. Hidden files, such as the `._NAME` files of
    macOS, are skipped.

    Raises:
        UserError: the folder is missing or unreadable.
    """
    try:
        names = [
            entry.name
            for entry in os.scandir(folder)
            if not entry.name.startswith(".")
            and os.path.splitext(entry.name)[1].lower() in SUFFIXES  # noqa: PTH122 (20,000 files)
            and entry.is_file()
        ]
    except OSError as error:
        raise UserError(f"cannot list {folder}: {error.strerror or error}") from error
    return [Path(folder, name) for name in sorted(names)]


def without_made(pictures: Sequence[Path], kinds: Sequence[str] = ("matte",)) -> list[Path]:
    """The pictures of a folder without earlier results: `NAME_KIND` if there is a NAME."""
    endings = tuple(f"_{kind}" for kind in kinds)
    bases = {name for each in pictures for name in (each.stem, each.name)}
    made = {base + ending for base in bases for ending in endings}
    return [each for each in pictures if each.stem not in made]


def open_picture(path: str | os.PathLike) -> tuple[Image.Image | np.ndarray, int]:
    """`decode.decode`, with RGBA only as a Pillow image: arrays are grey or RGB."""
    picture, orientation = decode(path)
    if isinstance(picture, np.ndarray) and picture.ndim == 3 and picture.shape[2] == 4:
        picture = Image.fromarray(to_8_bits(picture, path))
    return picture, orientation


def read_image(path: str | os.PathLike) -> np.ndarray:
    """Reads a photograph as uint8 RGB of shape (H, W, 3), upright by its EXIF orientation.

    Grey, palette, 1-bit and CMYK pictures are converted to RGB, and 16 bits per channel to 8. A
    transparent picture is composited on white, because its colours under alpha 0 are undefined.
    Colours of other spaces (Display P3, Adobe RGB, printers') are converted to sRGB by the
    picture's ICC profile. Of an animation, the first frame is read.

    Raises:
        PictureError: the file is missing, truncated, not a picture, or too large: more than 250
            megapixels, or 2 GB when decoded.
    """
    picture, orientation = open_picture(path)
    array = to_rgb(picture, path)
    del picture  # it may be as large as 1 GB
    return oriented(array, orientation)


def to_rgb(picture: Image.Image | np.ndarray, path: str | os.PathLike) -> np.ndarray:
    """Converts a decoded picture to the result of `read_image`, without the orientation."""
    if isinstance(picture, np.ndarray) or is_deep(picture):
        array = to_8_bits(by_bands(np.asarray, picture), path)
        return np.repeat(array[..., None], 3, axis=2) if array.ndim == 2 else array
    return by_bands(lambda band: _band_to_rgb(band, path), picture)


def _band_to_rgb(picture: Image.Image, path: str | os.PathLike) -> np.ndarray:
    picture = in_srgb(picture)
    if picture.has_transparency_data:
        return on_white(convert_mode(picture, "RGBA", path))
    return np.asarray(convert_mode(picture, "RGB", path))


def on_white(rgba: Image.Image | np.ndarray) -> np.ndarray:
    """Composites an RGBA picture, uint8 (H, W, 4) or a Pillow image, on white: uint8 (H, W, 3)."""
    rgba = rgba if isinstance(rgba, Image.Image) else Image.fromarray(rgba)
    picture = Image.new("RGBA", rgba.size, "white")
    picture.alpha_composite(rgba)
    return np.array(picture.convert("RGB"))


def by_bands(
    function: Callable[[Image.Image | np.ndarray], np.ndarray], picture: Image.Image | np.ndarray
) -> np.ndarray:
    """Applies `function` to bands of rows of a picture, to save memory.

    Args:
        function: from some rows of the picture to an array with as many rows.
        picture: a Pillow image, or an array (H, W) or (H, W, C).

    Returns:
        A new array of all rows.
    """
    image = isinstance(picture, Image.Image)
    width, height = picture.size if image else picture.shape[1::-1]
    result = None
    for rows in _bands(height, width):
        box = (0, rows.start, width, rows.stop)
        whole = rows.stop - rows.start == height
        band = picture[rows] if not image else picture if whole else picture.crop(box)
        part = function(band)
        if result is None:
            result = np.empty((height, *part.shape[1:]), part.dtype)
        result[rows] = part
    return result


def _bands(height: int, width: int) -> Iterator[slice]:
    rows = max(1, _BAND // max(width, 1))
    return (slice(top, min(top + rows, height)) for top in range(0, height, rows))


def write_png(path: str | os.PathLike, array: np.ndarray) -> None:
    """Writes uint8 (H, W), (H, W, 3) RGB or (H, W, 4) RGBA as a PNG, see `files.replacing`.

    Raises:
        UserError: the file cannot be written.
        TypeError: the array is not uint8.
    """
    if array.dtype != np.uint8:
        raise TypeError(f"write_png takes uint8, not {array.dtype}")
    with replacing(path) as temporary:
        Image.fromarray(array).save(temporary, format="PNG")


def write_picture(path: str | os.PathLike, array: np.ndarray) -> None:
    """Writes uint8 (H, W), RGB (H, W, 3) or RGBA (H, W, 4) in the format of the suffix.

    Raises:
        UserError: the folder cannot be written, or the picture is too large for the format.
    """
    kind = WRITABLE[Path(path).suffix.lower()]
    if kind == "PNG":
        write_png(path, array)
        return
    with replacing(path) as temporary:
        try:
            Image.fromarray(array).save(temporary, format=kind, quality=95)
        except ValueError as error:  # WebP has at most 16383 pixels per side
            raise UserError(f"cannot write {path}: {error}") from error


def check_target(path: str | os.PathLike, transparent: bool) -> None:
    """Checks that the suffix is a supported format for pictures.

    Raises:
        UserError: the format is unknown, or `transparent` and the format has no transparency.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in WRITABLE:
        raise UserError(f"{path}: pictures can be written as {', '.join(WRITABLE)}")
    if transparent and suffix in _WITHOUT_ALPHA:
        raise UserError(f"{path}: {suffix} files have no transparency, use .png")


def convert_mode(picture: Image.Image, mode: str, path: str | os.PathLike) -> Image.Image:
    try:
        return picture.convert(mode)
    except ValueError as error:
        raise PictureError(f"{path}: colour mode {picture.mode} is not supported") from error


def luma(rgb: np.ndarray) -> np.ndarray:
    """ITU-R BT.601 luma, with the type of `rgb`."""
    luma = rgb @ np.array([0.299, 0.587, 0.114])
    return (luma if rgb.dtype.kind == "f" else luma.round()).astype(rgb.dtype)


def is_deep(picture: Image.Image) -> bool:
    """Whether the values have 16 or 32 bits or are floats: modes I;16, I;16B, I, F."""
    return picture.mode[0] in "IF"


def resize(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resizes (H, W) or (H, W, C) to `size` = (height, width), which may change the aspect.

    If both sides shrink, pixels are averaged over areas, without aliasing. Otherwise OpenCV
    interpolates linearly: where one side grows, its averaging moves the picture along the other
    side, by up to three pixels. To average the side that shrinks first was measured to bring
    nothing: the person IoU of three networks changed by less than its standard error on four sets.
    """
    height, width = size
    if picture.shape[:2] == (height, width):
        return picture
    shrinks = height <= picture.shape[0] and width <= picture.shape[1]
    resized = cv2.resize(
        picture, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    )
    return resized.reshape(height, width, *picture.shape[2:])  # OpenCV drops a single channel


def shrink(picture: np.ndarray, side: int) -> np.ndarray:
    """Shrinks (H, W) or (H, W, C) to a longer side of at most `side` pixels; 0: no limit."""
    return resize(picture, shrunk(picture.shape, side or max(picture.shape[:2])))


def shrunk(shape: Sequence[int], side: int) -> tuple[int, int]:
    """(height, width) of a picture of `shape` after `shrink`."""
    scale = min(1.0, side / max(shape[:2]))
    return max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale))


class Window(NamedTuple):
    """A rectangle of a picture in pixels; `right` and `bottom` are exclusive."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def slices(self) -> tuple[slice, slice]:
        return slice(self.top, self.bottom), slice(self.left, self.right)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)"""
        return self.bottom - self.top, self.right - self.left


def to_8_bits(array: np.ndarray, path: str | os.PathLike) -> np.ndarray:
    """Scales 0..65535 (integers), 0..1 or 0..255 (floats) to uint8 0..255.

    Floats up to 16 are highlights of the range 0..1, and are clipped. In the range 0..255, the
    picture would be black.
    """
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind in "iu":
        return by_bands(lambda band: np.round(band.clip(0, 65535) / 257).astype(np.uint8), array)
    least, most = array.min(), array.max()  # NaN if the array contains NaN
    if not np.isfinite([least, most]).all() or most > 255:
        raise PictureError(f"{path}: floating-point values outside 0..1 and 0..255")
    top = 1 if most <= _HIGHLIGHTS else 255
    return by_bands(lambda band: np.round(band.clip(0, top) * (255 / top)).astype(np.uint8), array)
