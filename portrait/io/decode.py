"""Picture files to decoded pictures: only formats that are known, and none that fills the memory.

Everything comes in as bytes and is decoded from memory, because OpenCV's own file reading fails on
some names, and by Pillow rather than OpenCV, because OpenCV fills the missing part of a truncated
JPEG with grey and reports nothing.
"""

import io
import os
import warnings
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageChops, TiffImagePlugin, UnidentifiedImageError

from portrait.backend import stderr_kept_back
from portrait.errors import UserError, first_line

# What a small file unpacks to may be larger than the memory. Phones' largest pictures have 200
# megapixels. Pillow refuses twice its limit.
MOST_PIXELS = 250_000_000
_MOST_BYTES = 2_000_000_000
Image.MAX_IMAGE_PIXELS = MOST_PIXELS // 2
# Where Pillow warns, an error follows or nothing is wrong.
warnings.filterwarnings("ignore", module=r"PIL\.")

# Others of Pillow's run programs (EPS) or hold no pictures.
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "AVIF", "JPEG2000", "ICO", "TGA")
# Bytes a pixel that decoders need besides the picture.
_DECODERS = {"WEBP": 4, "AVIF": 8, "HEIF": 8, "JPEG2000": 24, "GIF": 4}
_PROGRESSIVE = 6  # a JPEG's coefficients are kept until the last pass

_TIFF = (b"II*\0", b"MM\0*")
_WIDTH, _HEIGHT, _BITS, _SAMPLES, _STRIP_ROWS, _PLANAR = 256, 257, 258, 277, 278, 284
_HEIC = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_ORIENTATION = 0x0112  # the EXIF tag
# EXIF's orientations: whether rows become columns, and then whether top and bottom, and left and
# right, change places.
_TURNS = {
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}


class PictureError(UserError):
    """A picture file that cannot be used; the message names the file and the reason."""


def read_bytes(path: str | os.PathLike) -> bytes:
    """The contents of a file.

    Raises:
        PictureError: the file is missing, empty, or may not be read.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise PictureError(f"{path}: {error.strerror or error}") from error
    if not data:
        raise PictureError(f"{path}: the file is empty")
    return data


def decode(path: str | os.PathLike) -> tuple[Image.Image | np.ndarray, int]:
    """Decodes a picture file.

    Returns:
        The picture as it lies in the file (an RGB or grey array where only OpenCV reads it), and
        EXIF's orientation, which `oriented` applies.

    Raises:
        PictureError: the file is missing, truncated, not a picture, or too large.
    """
    data = read_bytes(path)
    if not data.startswith(_TIFF):
        return _loaded(open_picture(data, path), data, path)
    with stderr_kept_back(shown_on_error=False):  # libtiff and OpenCV tell their part
        tags = _tiff_tags(data, path)
        try:
            picture = _open(data, path)
        except UnidentifiedImageError as error:
            return _decode_tiff(data, tags, path, error), 1
        return _loaded(picture, data, path)


def open_picture(data: bytes, path: str | os.PathLike) -> Image.Image:
    """Reads the head of a picture, and checks that the rest will fit into the memory.

    Args:
        data: the contents of the file.
        path: its name, for messages.

    Raises:
        PictureError: not a picture, or too large.
    """
    try:
        return _open(data, path)
    except UnidentifiedImageError as error:
        raise PictureError(f"{path}: not a picture, or of an unknown format") from error


def orientation(picture: Image.Image) -> int:
    """EXIF's orientation, 1 to 8; 1 where nothing is said."""
    try:
        return picture.getexif().get(_ORIENTATION, 1)
    except Exception:  # EXIF that cannot be parsed says nothing about the rotation
        return 1


def oriented(array: np.ndarray, orientation: int) -> np.ndarray:
    """(H, W) or (H, W, C) turned and mirrored upright by EXIF's orientation."""
    if orientation not in _TURNS:
        return array
    transposed, upside_down, mirrored = _TURNS[orientation]
    if transposed:
        array = array.swapaxes(0, 1)
    array = array[:: -1 if upside_down else 1, :: -1 if mirrored else 1]
    return np.ascontiguousarray(array)


def check_size(path: str | os.PathLike, width: int, height: int, pixel_bytes: float) -> None:
    """Looks whether what a file holds may be decoded.

    Args:
        path: its name, for the message.
        width, height: of the picture.
        pixel_bytes: memory that decoding takes at most, bytes a pixel.

    Raises:
        PictureError: more pixels than are read, or more memory than is taken for a picture.
    """
    size = f"{path}: {width} x {height} pixels"
    if width * height > MOST_PIXELS:
        raise PictureError(f"{size}: {MOST_PIXELS // 10**6} megapixels are the most that is read")
    if width * height * pixel_bytes > _MOST_BYTES:
        most = f"{_MOST_BYTES / 1e9:.0f} GB of memory"
        raise PictureError(f"{size} of this kind need more than {most}: make it smaller")


def _open(data: bytes, path: str | os.PathLike) -> Image.Image:
    formats = _FORMATS
    if data[4:8] == b"ftyp" and data[8:12] in _HEIC:
        import pillow_heif  # a quarter of a second that only HEIC needs

        pillow_heif.register_heif_opener()
        formats = (*_FORMATS, "HEIF")
    try:
        picture = Image.open(io.BytesIO(data), formats=formats)
    except UnidentifiedImageError:
        raise
    except Image.DecompressionBombError as error:
        most = f"{MOST_PIXELS // 10**6} megapixels"
        raise PictureError(f"{path}: more than {most}, the most that is read") from error
    except Exception as error:
        raise _damaged(path, error) from error
    check_size(path, *picture.size, _pixel_bytes(picture))
    return picture


def _pixel_bytes(picture: Image.Image) -> float:
    """Memory for the picture, for what decodes it, and for what is made of it: bytes a pixel."""
    stored = {"1": 1, "L": 1, "P": 1}.get(picture.mode, 2 if picture.mode.startswith("I;") else 4)
    decoder = _DECODERS.get(picture.format, 0)
    if picture.info.get("progressive"):
        decoder = _PROGRESSIVE
    if picture.format == "TIFF":  # a strip, or a row of tiles, is decoded at once
        tags = picture.tag_v2
        share = min(tags.get(_STRIP_ROWS, picture.height) / max(picture.height, 1), 1)
        decoder = share * len(tags.get(_BITS, (8,))) * max(tags.get(_BITS, (8,))) / 8
    return stored + decoder + max(3, stored + 1)


def _loaded(picture: Image.Image, data: bytes, path: str | os.PathLike) -> tuple[Image.Image, int]:
    # Pillow's decoders raise whatever they stumble over (OSError, SyntaxError, struct.error,
    # zlib.error, ...); each of them means the same to the user.
    try:
        picture.load()
    except MemoryError as error:
        raise PictureError(f"{path}: there is not enough memory for it") from error
    except Exception as error:
        whole = _with_end_marker(data) if picture.format == "JPEG" else None
        if whole is None:
            raise _damaged(path, error) from error
        picture = whole
    return picture, orientation(picture)


def _with_end_marker(data: bytes) -> Image.Image | None:
    """A JPEG in which nothing but the end marker is missing; None if there is more.

    Any bits may follow a picture that is complete. Where pixels are missing, they are made of these
    bits, and differ.
    """
    data = data.rstrip(b"\xff")
    pictures = []
    for filling in (b"", b"\x55" * 64, b"\xaa" * 64):
        picture = Image.open(io.BytesIO(data + filling + b"\xff\xd9"), formats=["JPEG"])
        try:
            picture.load()
        except Exception:
            return None
        if pictures and ImageChops.difference(*pictures, picture).getbbox(alpha_only=False):
            return None
        pictures = [picture]
    return picture


def _tiff_tags(data: bytes, path: str | os.PathLike) -> TiffImagePlugin.ImageFileDirectory_v2:
    """The tags of a TIFF's first picture.

    Raises:
        PictureError: they cannot be read, or say what neither Pillow nor OpenCV decodes rightly.
    """
    try:
        tags = TiffImagePlugin.ImageFileDirectory_v2(data[:8])
        file = io.BytesIO(data)
        file.seek(tags.next)
        tags.load(file)
        planar, bits, samples = tags.get(_PLANAR, 1), tags.get(_BITS, (1,)), tags.get(_SAMPLES, 1)
        separate = planar == 2 and samples > 1 and max(bits) > 8
    except Exception as error:
        raise _damaged(path, error) from error
    if separate:
        raise PictureError(
            f"{path}: a TIFF of {max(bits)} bits whose colours lie in separate planes is not "
            "supported, save it as PNG"
        )
    return tags


def _decode_tiff(
    data: bytes,
    tags: TiffImagePlugin.ImageFileDirectory_v2,
    path: str | os.PathLike,
    error: UnidentifiedImageError,
) -> np.ndarray:
    """A TIFF that Pillow does not know, such as one of floats, by OpenCV."""
    width, height, bits = (tags.get(tag, 0) for tag in (_WIDTH, _HEIGHT, _BITS))
    try:
        sample = tags.get(_SAMPLES, 1) * max(bits or (8,)) / 8
        check_size(path, width, height, 2 * sample + 12)
        array = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except (cv2.error, TypeError, ValueError):
        array = None
    if array is None:
        raise PictureError(f"{path}: not a picture, or of an unknown format") from error
    return array if array.ndim == 2 else array[..., 2::-1]


def _damaged(path: str | os.PathLike, error: Exception) -> PictureError:
    return PictureError(f"{path}: damaged or truncated ({first_line(error)})")
