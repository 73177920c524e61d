"""Draws cases of segmentation side by side: photograph, true matte, alpha, errors."""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from portrait.io.sheets import PAPER, drawable, fitted, shortened

MISSED = (222, 45, 38)
FALSE = (33, 102, 235)

_PANELS = ("photo", "matte", "alpha", "errors")
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


class Row(NamedTuple):
    """One row of a sheet.

    Attributes:
        pictures: uint8 RGB (H, W, 3), or float (H, W), 0..1; any sizes.
        name: written above the pictures, on the left.
        figures: written above the pictures, on the right.
    """

    pictures: Sequence[np.ndarray]
    name: str
    figures: str


def error_overlay(image: np.ndarray, matte: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """A pale grey photograph with missed person in red and false person in blue, uint8 RGB.

    The colour is as strong as the difference |matte - alpha|.

    Args:
        image: uint8 RGB (H, W, 3).
        matte: the truth, float (H, W), 0..1.
        alpha: the prediction, float (H, W), 0..1.
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    base = np.repeat((90 + 0.6 * grey)[..., None], 3, axis=2)
    difference = (matte - alpha)[..., None]
    colour = np.where(difference > 0, np.float32(MISSED), np.float32(FALSE))
    strength = np.abs(difference)
    return np.rint(base * (1 - strength) + colour * strength).astype(np.uint8)


def draw_cases(columns: dict[str, list[Case]]) -> np.ndarray:
    """A sheet with a column of cases for each title, each case a row of four pictures.

    Returns:
        As `draw_rows`.
    """
    return draw_rows({title: [_row(case) for case in columns[title]] for title in columns}, _PANELS)


def _row(case: Case) -> Row:
    errors = error_overlay(case.image, case.matte, case.alpha)
    return Row((case.image, case.matte, case.alpha, errors), case.name, case.figures)


def draw_rows(columns: dict[str, list[Row]], panels: Sequence[str]) -> np.ndarray:
    """A sheet with a column of rows for each title; columns without rows are left out.

    Pictures are scaled to fit their cell and are never stretched.

    Args:
        columns: by title; at least one row.
        panels: a word for each picture of a row.

    Returns:
        uint8 RGB (H, W, 3).
    """
    columns = {title: rows for title, rows in columns.items() if rows}
    firsts = [row.pictures[0] for column in columns.values() for row in column]
    aspect = np.median([first.shape[1] / first.shape[0] for first in firsts])
    cell = (int(_CELL_HEIGHT * np.clip(aspect, 0.65, 1.6)), _CELL_HEIGHT)
    column_width = len(panels) * (cell[0] + _GAP) - _GAP
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
        _draw_head(draw, left, cell[0], title, panels)
        for place, row in enumerate(column):
            top = _HEAD + place * (_CAPTION + cell[1])
            _draw_caption(draw, left, top, column_width, row)
            for panel, picture in enumerate(row.pictures):
                corner = (left + panel * (cell[0] + _GAP), top + _CAPTION)
                sheet.paste(Image.fromarray(fitted(picture, cell[::-1])), corner)
    return np.asarray(sheet)


def _draw_head(
    draw: ImageDraw.ImageDraw, left: int, cell_width: int, title: str, panels: Sequence[str]
) -> None:
    font = ImageFont.load_default(15)
    for place, label in enumerate(panels):
        shown = shortened(label, cell_width, font)
        draw.text((left + place * (cell_width + _GAP), 52), shown, _PALE_INK, font)
    right = left + len(panels) * (cell_width + _GAP) - _GAP
    for label, colour in ("false", FALSE), ("missed", MISSED):
        right -= font.getlength(label)
        draw.text((right, 24), label, colour, font)
        right -= 10
    font = ImageFont.load_default(26)
    draw.text((left, 14), shortened(title, right - left, font), _INK, font)


def _draw_caption(draw: ImageDraw.ImageDraw, left: int, top: int, width: int, row: Row) -> None:
    font = ImageFont.load_default(15)
    figures_width = font.getlength(row.figures)
    draw.text((left + width - figures_width, top + 8), row.figures, _INK, font)
    name = shown = drawable(row.name)
    while font.getlength(shown) > width - figures_width - 20 and len(name) > 4:
        name = name[1:]
        shown = "..." + name
    draw.text((left, top + 8), shown, _INK, font)
