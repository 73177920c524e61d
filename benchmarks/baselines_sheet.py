"""Pictures in columns under their titles."""

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

_CELL = (150, 200)  # width, height
_GAP = 6
_HEAD = 30


def draw(columns: dict[str, list[np.ndarray]]) -> np.ndarray:
    """Draws a column of pictures for each title, all scaled to fit one cell, never stretched.

    Args:
        columns: uint8 pictures, (H, W) or (H, W, 3) RGB; as many under each title.

    Returns:
        uint8 RGB (H, W, 3).
    """
    rows = len(next(iter(columns.values())))
    width, height = _CELL
    size = (len(columns) * (width + _GAP) + _GAP, _HEAD + rows * (height + _GAP))
    sheet = Image.new("RGB", size, (238, 238, 238))
    pen = ImageDraw.Draw(sheet)
    for column, (title, pictures) in enumerate(columns.items()):
        left = _GAP + column * (width + _GAP)
        pen.text((left, 8), title, (25, 25, 25), ImageFont.load_default(14))
        for row, picture in enumerate(pictures):
            scale = min(width / picture.shape[1], height / picture.shape[0])
            shape = [max(1, round(side * scale)) for side in picture.shape[1::-1]]
            scaled = cv2.resize(picture, shape, interpolation=cv2.INTER_AREA)
            top = _HEAD + row * (height + _GAP) + (height - shape[1]) // 2
            sheet.paste(Image.fromarray(scaled), (left + (width - shape[0]) // 2, top))
    return np.asarray(sheet)
