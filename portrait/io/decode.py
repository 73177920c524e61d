"""Decodes picture files of known formats, within limits of size and memory.

Files are read as bytes and decoded from memory, because OpenCV's own file reading fails on some
names. Pillow decodes them, because OpenCV fills the missing part of a truncated JPEG with grey
without an error.
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
from portrait.io.shards import leads_through, read_member

# A small file may decode to more than the memory. The largest pictures of phones have 200
# megapixels. Pillow raises an error at twice its limit.
MOST_PIXELS = 250_000_000
_MOST_BYTES = 2_000_000_000
Image.MAX_IMAGE_PIXELS = MOST_PIXELS // 2
# Pillow's warnings are either followed by an error or harmless.
warnings.filterwarnings("ignore", module=r"PIL\.")

# Pillow's other formats run programs (EPS) or are not used for photographs.
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "AVIF", "JPEG2000", "ICO", "TGA")
# Bytes per pixel that decoders need in addition to the picture.
_DECODERS = {"WEBP": 4, "AVIF": 8, "HEIF": 8, "JPEG2000": 24, "GIF": 4}
_PROGRESSIVE = 6  # a JPEG's coefficients are kept until the last pass

_TIFF = (b"II*\0", b"MM\0*")
_WIDTH, _HEIGHT, _BITS, _SAMPLES, _STRIP_ROWS, _PLANAR = 256, 257, 258, 277, 278, 284
_COLOURS, _EXTRA = 262, 338
_KIND, _REDUCED, _DNG_VERSION = 254, 1, 50706  # the first has a bit for reduced pictures
_RGB, _OTHER, _PREMULTIPLIED, _ALPHA = 2, 0, 1, 2  # values of these two tags
_HEIC = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_ORIENTATION = 0x0112  # the EXIF tag
# For each EXIF orientation: whether to transpose, then whether to flip vertically and horizontally.
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
    """Reads a file, also one in a shard (`shards`).

    Raises:
        PictureError: the file is missing, empty or unreadable.
    """
    try:
        data = read_member(path) if leads_through(path) else Path(path).read_bytes()
    except OSError as error:
        raise PictureError(f"{path}: {error.strerror or error}") from error
    if not data:
        raise PictureError(f"{path}: the file is empty")
    return data


def decode(path: str | os.PathLike) -> tuple[Image.Image | np.ndarray, int]:
    """Decodes a picture file.

    Returns:
        The picture before its EXIF orientation is applied (a Pillow image, or a grey, RGB or RGBA
        array if only OpenCV can read the file), and the orientation for `oriented`.

    Raises:
        PictureError: the file is missing, truncated, not a picture, or too large.
    """
    data = read_bytes(path)
    if not data.startswith(_TIFF):
        return _loaded(open_picture(data, path), data, path)
    with stderr_kept_back(shown_on_error=False):  # libtiff and OpenCV print errors, too
        tags = _tiff_tags(data, path)
        try:
            picture = _open(data, path)
        except UnidentifiedImageError as error:
            return _decode_tiff(data, tags, path, error), 1
        return _loaded(picture, data, path)


def open_picture(data: bytes, path: str | os.PathLike) -> Image.Image:
    """Reads the header of a picture, and checks its size.

    Args:
        data: the contents of the file.
        path: the name of the file, for messages.

    Raises:
        PictureError: the file is not a picture, or the picture is too large.
    """
    try:
        return _open(data, path)
    except UnidentifiedImageError as error:
        raise PictureError(f"{path}: not a picture, or of an unknown format") from error


def orientation(picture: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 if there is none."""
    try:
        return picture.getexif().get(_ORIENTATION, 1)
    except Exception:  # damaged EXIF data
        return 1


def oriented(array: np.ndarray, orientation: int) -> np.ndarray:
    """Applies an EXIF orientation to an array (H, W) or (H, W, C)."""
    if orientation not in _TURNS:
        return array
    transposed, upside_down, mirrored = _TURNS[orientation]
    if transposed:
        array = array.swapaxes(0, 1)
    array = array[:: -1 if upside_down else 1, :: -1 if mirrored else 1]
    return np.ascontiguousarray(array)


def check_size(path: str | os.PathLike, width: int, height: int, pixel_bytes: float) -> None:
    """Checks that a picture is not too large to be decoded.

    Args:
        path: the name of the file, for the message.
        width, height: the size of the picture in pixels.
        pixel_bytes: the memory for decoding in bytes per pixel.

    Raises:
        PictureError: the picture has more than `MOST_PIXELS` or needs too much memory.
    """
    size = f"{path}: {width} x {height} pixels"
    if width * height > MOST_PIXELS:
        raise PictureError(f"{size}: the largest are {MOST_PIXELS // 10**6} megapixels")
    if width * height * pixel_bytes > _MOST_BYTES:
        most = f"{_MOST_BYTES / 1e9:.0f} GB of memory"
        raise PictureError(f"{size} in this format need more than {most}: make it smaller")


def _open(data: bytes, path: str | os.PathLike) -> Image.Image:
    formats = _FORMATS
    if data[4:8] == b"ftyp" and data[8:12] in _HEIC:
        import pillow_heif  # takes 0.25 s, and only HEIC needs it

        pillow_heif.register_heif_opener()
        formats = (*_FORMATS, "HEIF")
    try:
        picture = Image.open(io.BytesIO(data), formats=formats)
    except UnidentifiedImageError:
        raise
    except Image.DecompressionBombError as error:
        most = f"{MOST_PIXELS // 10**6} megapixels"
        raise PictureError(f"{path}: the picture has more than {most}") from error
    except Exception as error:
        raise _damaged(path, error) from error
    check_size(path, *picture.size, _pixel_bytes(picture))
    return picture


def _pixel_bytes(picture: Image.Image) -> float:
    """Memory in bytes per pixel: the picture, the decoder, and the result."""
    stored = {"1": 1, "L": 1, "P": 1}.get(picture.mode, 2 if picture.mode.startswith("I;") else 4)
    decoder = _DECODERS.get(picture.format, 0)
    if picture.info.get("progressive"):
        decoder = _PROGRESSIVE
    if picture.format == "TIFF":  # a strip or a row of tiles is decoded in one piece
        tags = picture.tag_v2
        share = min(tags.get(_STRIP_ROWS, picture.height) / max(picture.height, 1), 1)
        decoder = share * len(tags.get(_BITS, (8,))) * max(tags.get(_BITS, (8,))) / 8
    return stored + decoder + max(3, stored + 1)


def _loaded(picture: Image.Image, data: bytes, path: str | os.PathLike) -> tuple[Image.Image, int]:
    # Pillow's decoders raise many types of exceptions (OSError, SyntaxError, struct.error,
    # zlib.error, ...) for damaged files.
    try:
        picture.load()
    except MemoryError as error:
        raise PictureError(f"{path}: there is not enough memory for it") from error
    except Exception as error:
        whole = _with_end_marker(data) if picture.format == "JPEG" else None
        if whole is None:
            raise _damaged(path, error) from error
        picture = whole
    if picture.mode == "P" and picture.palette is None:
        raise PictureError(f"{path}: damaged or truncated (its palette is missing)")
    return picture, orientation(picture)


def _with_end_marker(data: bytes) -> Image.Image | None:
    """Opens a JPEG if only its end marker is missing; returns None if pixels are missing, too.

    The JPEG is decoded with different bits appended. If pixels are missing, they are decoded from
    the appended bits, and the results differ.
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
        PictureError: the tags cannot be read, neither Pillow nor OpenCV decodes such pictures
            correctly, or it is a thumbnail, as in the raw files of cameras (NEF, DNG, CR2, ARW).
    """
    try:
        tags = TiffImagePlugin.ImageFileDirectory_v2(data[:8])
        file = io.BytesIO(data)
        file.seek(tags.next)
        tags.load(file)
        planar, bits, samples = tags.get(_PLANAR, 1), tags.get(_BITS, (1,)), tags.get(_SAMPLES, 1)
        separate = planar == 2 and samples > 1 and max(bits) > 8
        raw = tags.get(_KIND, 0) & _REDUCED or _DNG_VERSION in tags or data[8:10] == b"CR"
    except Exception as error:
        raise _damaged(path, error) from error
    if raw:
        raise PictureError(
            f"{path}: a raw photograph, or a TIFF that begins with a thumbnail: convert it to JPEG "
            "or PNG first"
        )
    if separate:
        raise PictureError(
            f"{path}: TIFFs of {max(bits)} bits with separate colour planes are not supported: "
            "save it as PNG"
        )
    return tags


def _decode_tiff(
    data: bytes,
    tags: TiffImagePlugin.ImageFileDirectory_v2,
    path: str | os.PathLike,
    error: UnidentifiedImageError,
) -> np.ndarray:
    """Decodes a TIFF that Pillow does not support, such as one of floats, with OpenCV."""
    width, height, bits = (tags.get(tag, 0) for tag in (_WIDTH, _HEIGHT, _BITS))
    try:
        sample = tags.get(_SAMPLES, 1) * max(bits or (8,)) / 8
        check_size(path, width, height, 2 * sample + 12)
        extra = (*tags.get(_EXTRA, ()), _ALPHA)[0] if tags.get(_COLOURS) == _RGB else _OTHER
        array = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except (cv2.error, TypeError, ValueError):
        array = None
    if array is None:
        raise PictureError(f"{path}: not a picture, or of an unknown format") from error
    if array.ndim == 2:
        return array
    if array.shape[2] < 4 or extra == _OTHER:
        return array[..., 2::-1]
    if extra == _PREMULTIPLIED and array.dtype.kind == "f":
        alpha = array[..., 3:]
        top = 1 if alpha.max() <= 1 else 255
        array[..., :3] = top * array[..., :3].clip(0, alpha) / np.maximum(alpha, 1e-6)
    return array[..., [2, 1, 0, 3]]


def _damaged(path: str | os.PathLike, error: Exception) -> PictureError:
    return PictureError(f"{path}: damaged or truncated ({first_line(error)})")
