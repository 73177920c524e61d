"""Reads whatever picture files real folders hold, and writes PNGs.

Everything comes in as bytes and is decoded from memory, because OpenCV's own file reading fails on
some names, and by Pillow rather than OpenCV, because OpenCV fills the missing part of a truncated
JPEG with grey and reports nothing.
"""

import io
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image, ImageCms, UnidentifiedImageError

from portrait.errors import UserError, first_line
from portrait.io.files import replacing

# HEIC is listed, although nothing here decodes it, so that such pictures are named when left out.
SUFFIXES = {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif"}
SUFFIXES |= {".ppm", ".pgm", ".avif", ".heic", ".heif"}

# Pillow warns from here on, of which nothing is said here, and refuses twice as much: what a small
# file unpacks to may be larger than the memory. Phones' largest pictures have 200 megapixels.
Image.MAX_IMAGE_PIXELS = 125_000_000

_ORIENTATION = 0x0112  # the EXIF tag
_TIFF = (b"II*\0", b"MM\0*")
_HEIC = (b"heic", b"heix", b"mif1", b"msf1")


class PictureError(UserError):
    """A picture file that cannot be used; the message names the file and the reason."""


class TooSmallError(UserError):
    """A picture, whichever its file, with fewer pixels than what is done to it needs.

    Args:
        picture: (H, W) or (H, W, C).
        least: pixels that a side must have.
    """

    def __init__(self, picture: np.ndarray, least: int):
        height, width = picture.shape[:2]
        super().__init__(
            f"a picture of {width} x {height} is too small: {least} pixels a side are the least"
        )


def list_images(folder: str | os.PathLike) -> list[Path]:
    """Lists the picture files directly in `folder`, sorted by name.

    Files are chosen by suffix, in any case (`.JPG`); hidden files, which include macOS's `._name`
    twins, are skipped.

    Raises:
        UserError: the folder is missing or may not be read.
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
    """The pictures of one folder without what was made of others in it: `NAME_KIND` of a NAME."""
    endings = tuple(f"_{kind}" for kind in kinds)
    bases = {name for each in pictures for name in (each.stem, each.name)}
    made = {base + ending for base in bases for ending in endings}
    return [each for each in pictures if each.stem not in made]


def read_image(path: str | os.PathLike) -> np.ndarray:
    """Reads a photograph as uint8 RGB of shape (H, W, 3), upright by its EXIF orientation.

    Grey, palette, 1-bit and CMYK pictures become RGB; 16 bits per channel are scaled to 8. A
    transparent picture is laid on white, as a browser's page would show it: what lies under alpha 0
    is undefined and often garbage. Colours of another space (phones' Display P3, Adobe RGB, a
    printer's) become sRGB by the picture's profile. Of an animation, the first frame is taken.

    Raises:
        PictureError: the file is missing, truncated, not a picture, or a decompression bomb.
    """
    picture = decode(path)
    if isinstance(picture, np.ndarray) or is_deep(picture):
        array = to_8_bits(np.asarray(picture), path)
        return np.repeat(array[..., None], 3, axis=2) if array.ndim == 2 else array
    picture = _in_srgb(picture)
    if picture.has_transparency_data:
        rgba = convert_mode(picture, "RGBA", path)
        picture = Image.new("RGBA", rgba.size, "white")
        picture.alpha_composite(rgba)
    return np.array(convert_mode(picture, "RGB", path))


def write_png(path: str | os.PathLike, array: np.ndarray) -> None:
    """Writes uint8 (H, W), (H, W, 3) RGB or (H, W, 4) RGBA as a PNG, whole or not at all.

    Raises:
        UserError: the folder cannot be written.
    """
    if array.dtype != np.uint8:
        raise TypeError(f"write_png takes uint8, not {array.dtype}")
    with replacing(path) as temporary:
        Image.fromarray(array).save(temporary, format="PNG")


def decode(path: str | os.PathLike) -> Image.Image | np.ndarray:
    """The upright, fully decoded picture; an RGB or grey array for what only OpenCV reads."""
    data = read_bytes(path)
    try:
        with warnings.catch_warnings(action="ignore", category=Image.DecompressionBombWarning):
            picture = Image.open(io.BytesIO(data))
            picture.load()
        return _upright(picture)
    except UnidentifiedImageError as error:
        if data.startswith(_TIFF) and (array := _decode_tiff(data)) is not None:
            return array
        if data[4:8] == b"ftyp" and data[8:12] in _HEIC:
            raise PictureError(f"{path}: HEIC is not supported, save it as JPEG") from error
        raise PictureError(f"{path}: not a picture, or of an unknown format") from error
    except Image.DecompressionBombError as error:
        most = f"{2 * Image.MAX_IMAGE_PIXELS / 1e6:.0f} megapixels"
        raise PictureError(f"{path}: more than {most}, the most that is read") from error
    # Pillow's decoders raise whatever they stumble over (OSError, SyntaxError, struct.error,
    # zlib.error, ...); each of them means the same to the user.
    except Exception as error:
        raise PictureError(f"{path}: damaged or truncated ({first_line(error)})") from error


def read_bytes(path: str | os.PathLike) -> bytes:
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise PictureError(f"{path}: {error.strerror or error}") from error
    if not data:
        raise PictureError(f"{path}: the file is empty")
    return data


def _decode_tiff(data: bytes) -> np.ndarray | None:
    """TIFFs with 16 bits per colour, which Pillow does not know; None if OpenCV fails as well."""
    try:
        array = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return None
    return array if array is None or array.ndim == 2 else array[..., 2::-1]


# `ImageOps.exif_transpose` writes the EXIF anew, too, and fails where a tag in it is odd.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def _upright(picture: Image.Image) -> Image.Image:
    try:
        orientation = picture.getexif().get(_ORIENTATION, 1)
    except Exception:  # EXIF that cannot be parsed says nothing about the rotation
        return picture
    return picture.transpose(_TURNS[orientation]) if orientation in _TURNS else picture


def _in_srgb(picture: Image.Image) -> Image.Image:
    """The picture in sRGB, if a profile says that it is in something else."""
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(picture.info["icc_profile"]))
        if "sRGB" in ImageCms.getProfileDescription(profile):
            return picture
        mode = "RGBA" if picture.has_transparency_data else "RGB"
        if picture.mode == "P":
            picture = picture.convert(mode)
        return ImageCms.profileToProfile(
            picture, profile, ImageCms.createProfile("sRGB"), outputMode=mode
        )
    except (KeyError, OSError, ValueError, ImageCms.PyCMSError):
        return picture  # there is none, it is damaged, or it is another colour mode's


def convert_mode(picture: Image.Image, mode: str, path: str | os.PathLike) -> Image.Image:
    try:
        return picture.convert(mode)
    except ValueError as error:
        raise PictureError(f"{path}: colour mode {picture.mode} is not supported") from error


def luma(rgb: np.ndarray) -> np.ndarray:
    """ITU-R 601 luma, in the depth of `rgb`."""
    luma = rgb @ np.array([0.299, 0.587, 0.114])
    return (luma if rgb.dtype.kind == "f" else luma.round()).astype(rgb.dtype)


def is_deep(picture: Image.Image) -> bool:
    """Whether the values are of 16 or 32 bits or floating-point: modes I;16, I;16B, I, F."""
    return picture.mode[0] in "IF"


def resize(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resizes (H, W) or (H, W, C) to `size` = (height, width), without aliasing when both shrink.

    Where one side grows and the other shrinks, OpenCV interpolates linearly, which our networks
    know from their training. Shrinking by areas first was measured: on no test set does it change a
    mean IoU of SelfieNet's or MediaPipe's by more than 0.0003; the big U-Net loses 0.003 on mixed
    pictures.

    The picture is squeezed to the new aspect: networks see every portrait in one shape, and the
    matte is stretched back in the same way.
    """
    height, width = size
    if picture.shape[:2] == (height, width):
        return picture
    shrinks = height * width < picture.shape[0] * picture.shape[1]
    resized = cv2.resize(
        picture, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    )
    return resized.reshape(height, width, *picture.shape[2:])  # OpenCV drops a single channel


def shrink(picture: np.ndarray, side: int) -> np.ndarray:
    """Reduces (H, W) or (H, W, C) to a longer side of at most `side` pixels; 0 leaves it alone."""
    return resize(picture, shrunk(picture.shape, side or max(picture.shape[:2])))


def shrunk(shape: Sequence[int], side: int) -> tuple[int, int]:
    """(height, width) of a picture of `shape` once its longer side is at most `side` pixels."""
    scale = min(1.0, side / max(shape[:2]))
    return max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale))


class Window(NamedTuple):
    """Part of a picture, in pixels; `right` and `bottom` lie outside."""

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
    """Scales 0..65535 (integers), 0..1 or 0..255 (floats) to uint8 0..255."""
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind in "iu":
        return np.round(array.clip(0, 65535) / 257).astype(np.uint8)
    if not np.isfinite(array).all() or array.max() > 255:
        raise PictureError(f"{path}: floating-point values outside 0..1 and 0..255")
    scale = 255 if array.max() <= 1 else 1
    return np.round(array.clip(0) * scale).astype(np.uint8)
