"""Draws cases of segmentation side by side: photograph, true matte, alpha, errors."""

from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from portrait.io.sheets import PAPER, drawable, fitted

MISSED = (222, 45, 38)
FALSE = (33, 102, 235)

_PANELS = ("photo", "matte", "alpha")
_CELL_HEIGHT = 210
_MARGIN = 28
_GAP = 6
_HEAD = 74
_CAPTION = 30
_INK = (25, 25, 25)
_PALE_INK = (110, 110, 110)


class Case(NamedTuple):
    """One photograph with its mattes, a name, and its scores as text.

    Attributes:
        image: uint8 RGB (H, W, 3).
        matte: the truth, float (H, W), 0..1.
        alpha: the prediction, float (H, W), 0..1.
        name: written above the pictures, on the left.
        figures: written above the pictures, on the right.
    """

    image: np.ndarray
    matte: np.ndarray
    alpha: np.ndarray
    name: str
    figures: str


def error_overlay(case: Case) -> np.ndarray:
    """A pale grey photograph with missed person in red and false person in blue, uint8 RGB.

    The colour is as strong as the difference |matte - alpha|.
    """
    grey = cv2.cvtColor(case.image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    base = np.repeat((90 + 0.6 * grey)[..., None], 3, axis=2)
    difference = (case.matte - case.alpha)[..., None]
    colour = np.where(difference > 0, np.float32(MISSED), np.float32(FALSE))
    strength = np.abs(difference)
    return np.rint(base * (1 - strength) + colour * strength).astype(np.uint8)


def draw_cases(columns: dict[str, list[Case]]) -> np.ndarray:
    """A sheet with a column of cases for each title, each case a row of four pictures.

    Pictures are scaled to fit their cell and are never stretched.

    Returns:
        uint8 RGB (H, W, 3).
    """
    columns = {title: cases for title, cases in columns.items() if cases}
    cases = [case for column in columns.values() for case in column]
    aspect = np.median([case.image.shape[1] / case.image.shape[0] for case in cases])
    cell = (int(_CELL_HEIGHT * np.clip(aspect, 0.65, 1.6)), _CELL_HEIGHT)
    column_width = 4 * cell[0] + 3 * _GAP
    rows = max(map(len, columns.values()))
    sheet = Image.new(
        "RGB",
        (
            _MARGIN + len(columns) * (column_width + _MARGIN),
            _HEAD + rows * (_CAPTION + cell[1]) + _MARGIN,
        ),
        PAPER,
    )
    draw = ImageDraw.Draw(sheet)
    for number, (title, column) in enumerate(columns.items()):
        left = _MARGIN + number * (column_width + _MARGIN)
        _draw_head(draw, left, cell[0], title)
        for row, case in enumerate(column):
            top = _HEAD + row * (_CAPTION + cell[1])
            _draw_caption(draw, left, top, column_width, case)
            pictures = (case.image, case.matte, case.alpha, error_overlay(case))
            for place, picture in enumerate(pictures):
                corner = (left + place * (cell[0] + _GAP), top + _CAPTION)
                sheet.paste(Image.fromarray(fitted(picture, cell[::-1])), corner)
    return np.asarray(sheet)


def _draw_head(draw: ImageDraw.ImageDraw, left: int, cell_width: int, title: str) -> None:
    draw.text((left, 14), title, _INK, ImageFont.load_default(26))
    font = ImageFont.load_default(15)
    for place, label in enumerate(_PANELS):
        draw.text((left + place * (cell_width + _GAP), 52), label, _PALE_INK, font)
    x = left + len(_PANELS) * (cell_width + _GAP)
    for label, colour in ("missed", MISSED), ("false", FALSE):
        draw.text((x, 52), label, colour, font)
        x += font.getlength(label) + 10


def _draw_caption(draw: ImageDraw.ImageDraw, left: int, top: int, width: int, case: Case) -> None:
    font = ImageFont.load_default(15)
    figures_width = font.getlength(case.figures)
    draw.text((left + width - figures_width, top + 8), case.figures, _INK, font)
    name = shown = drawable(case.name)
    while font.getlength(shown) > width - figures_width - 20 and len(name) > 4:
        name = name[1:]
        shown = "..." + name
    draw.text((left, top + 8), shown, _INK, font)
