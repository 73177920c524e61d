"""Draws contact sheets of pictures: cells, titles, and cut-outs on green."""

from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from portrait.io.images import resize

PAPER = (238, 238, 238)  # grey, to be distinguishable from white mattes
INK = (40, 40, 40)
GREEN = (0, 177, 64)  # the green of film studios, on which errors of a matte are easy to see
_GAP = 4
_HEAD = 24


def grid(
    rows: Sequence[Sequence[np.ndarray]], titles: Sequence[str], repeat: int = 1
) -> np.ndarray:
    """Draws a sheet of pictures of one size, with a title above each column.

    Args:
        rows: rows of pictures, uint8 (H, W, 3) or float (H, W) 0..1, one for each title.
        titles: a word for each column.
        repeat: the number of rows that are put side by side, for wider sheets.

    Returns:
        uint8 (h, w, 3) RGB.
    """
    height, width = rows[0][0].shape[:2]
    columns = len(titles) * repeat
    lines = -(-len(rows) // repeat)
    sheet = Image.new(
        "RGB",
        (columns * (width + _GAP) + _GAP, lines * (height + _GAP) + _GAP + _HEAD),
        PAPER,
    )
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    for column in range(columns):
        title = shortened(titles[column % len(titles)], width, font)
        draw.text((_GAP + column * (width + _GAP), 4), title, INK, font)
    for index, row in enumerate(rows):
        for place, picture in enumerate(row):
            column = (index % repeat) * len(titles) + place
            corner = (_GAP + column * (width + _GAP), _HEAD + (index // repeat) * (height + _GAP))
            sheet.paste(Image.fromarray(as_rgb(picture)), corner)
    return np.asarray(sheet)


def before_green(image: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Composites a uint8 picture (H, W, 3) on green, with alpha (H, W) in 0..1."""
    alpha = alpha[..., None].astype(np.float32)
    return np.rint(image * alpha + np.float32(GREEN) * (1 - alpha)).astype(np.uint8)


def drawable(name: str) -> str:
    """A file name without undecodable bytes, which Pillow cannot draw."""
    return name.encode("utf-8", "replace").decode("utf-8")


def shortened(text: str, width: float, font: ImageFont.FreeTypeFont) -> str:
    """Shortens a text so that it is drawn on at most `width` pixels."""
    text = shown = drawable(text)
    while font.getlength(shown) > width and text:
        text = text[:-1]
        shown = f"{text}..."
    return shown


def fitted(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Scales a picture or matte to fit into a cell, at the cell's top and without distortion.

    Args:
        picture: uint8 (H, W, 3), or float (H, W) 0..1.
        size: (height, width) of the cell.

    Returns:
        uint8 (height, width, 3) RGB.
    """
    picture, (height, width) = as_rgb(picture), size
    scale = min(height / picture.shape[0], width / picture.shape[1])
    inner = [max(1, round(side * scale)) for side in picture.shape[:2]]
    left = (width - inner[1]) // 2
    cell = np.full((height, width, 3), PAPER, np.uint8)
    cell[: inner[0], left : left + inner[1]] = resize(picture, inner)
    return cell


def as_rgb(picture: np.ndarray) -> np.ndarray:
    """Converts a picture uint8 (H, W, 3) or a matte float (H, W) 0..1 to uint8 (H, W, 3) RGB."""
    if picture.dtype != np.uint8:
        picture = np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8)
    return cv2.cvtColor(picture, cv2.COLOR_GRAY2RGB) if picture.ndim == 2 else picture
