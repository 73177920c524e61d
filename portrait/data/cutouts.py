"""Reads people with exact alpha (RGBA pictures), which are composed over photographs."""

import os

import cv2
import numpy as np
from PIL import Image

from portrait.io.colour_profiles import in_srgb
from portrait.io.decode import PictureError, oriented
from portrait.io.images import convert_mode, open_picture

_WHITE = 150  # levels from which a transparent colour belongs to white clothes
_DARK = 40  # levels up to which a transparent colour may be the black around the person
_EDGE = 5  # pixels on each side of the outline that may be soft


def read_cutout(path: str | os.PathLike) -> tuple[np.ndarray, np.ndarray]:
    """Reads the colours and the alpha of a person, made opaque inside.

    Cut-outs that were keyed from a white wall are transparent at white clothes and teeth, too.
    Their files keep the white there, and have black around the person.

    Args:
        path: an RGBA picture; its colours are converted to sRGB by its ICC profile.

    Returns:
        uint8 RGB (H, W, 3) and float32 (H, W), 0..1.

    Raises:
        PictureError: the file is not a picture, or has no transparency.
    """
    picture, orientation = open_picture(path)
    if isinstance(picture, np.ndarray):  # a TIFF of floats without alpha
        picture = Image.new("RGB", (1, 1))
    rgba = oriented(np.array(convert_mode(in_srgb(picture), "RGBA", path)), orientation)
    if rgba[..., 3].min() == 255:
        raise PictureError(f"{path}: it has no transparency, so it is no cut-out")
    colours, alpha = np.ascontiguousarray(rgba[..., :3]), rgba[..., 3]
    # Wide areas of any colour are clothes; thin ones of dark colours are the codec's at hair.
    wide = ((alpha < 8) & (colours.max(axis=2) > _DARK)).astype(np.uint8)
    wide = cv2.dilate(cv2.morphologyEx(wide, cv2.MORPH_OPEN, np.ones((7, 7))), np.ones((5, 5)))
    white = (alpha < 250) & ((colours.min(axis=2) >= _WHITE) | (wide > 0))
    empty = _without_specks(((alpha < 8) & ~white).astype(np.uint8))
    inner = cv2.distanceTransform(1 - empty, cv2.DIST_L2, 5) > _EDGE
    holes = white & (cv2.boxFilter(white.astype(np.float32), -1, (5, 5)) > 0.4)
    return colours, np.where(inner | holes, np.float32(1), alpha / np.float32(255))


def _without_specks(mask: np.ndarray) -> np.ndarray:
    """A mask without its parts of less than 20 pixels."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=4)
    large = stats[:, cv2.CC_STAT_AREA] >= 20
    large[0] = False
    return large[labels].astype(np.uint8)
