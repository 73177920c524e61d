"""Crops portraits from pictures of people who are far away or seen as a whole."""

from typing import NamedTuple

import cv2
import numpy as np

ASPECT = 3 / 4  # width by height, as the networks see portraits
_STANDING = 1.8  # a person whose height is this many times the width is visible as a whole
_LYING = 1.3  # a person whose width is this many times the height lies
_EXTENT = (0.3, 0.7)  # the crop's height as a share of the body's: head and shoulders to knees
_EXTENT_OF_PART = (0.6, 1.05)  # the same of a person of whom only a part is visible
_HEADROOM = (-0.03, 0.25)  # above the head, as a share of the crop's height
_SIDEWAYS = 0.08  # standard deviation of the head's position, as a share of the crop's height
_HEAD = 0.12  # height of the head, as a share of the body's height
_HEAD_OF_PART = 0.3  # the same of a person of whom only a part is visible
_MOST = 0.9  # share of the picture; larger crops would show nothing new
_PERSON_SHARE = (0.12, 0.9)
_SMALLEST = 96  # height in pixels; smaller crops would be too blurred when they are enlarged
_ATTEMPTS = 20


class Crop(NamedTuple):
    """A box in a picture: `image[crop.top:crop.bottom, crop.left:crop.right]`."""

    top: int
    bottom: int
    left: int
    right: int

    def of(self, array: np.ndarray) -> np.ndarray:
        """The box's part of (H, W) or (H, W, C)."""
        return array[self.top : self.bottom, self.left : self.right]


def find_crops(matte: np.ndarray, count: int, random: np.random.Generator) -> list[Crop]:
    """Draws random portraits, of aspect 3/4, of the largest person.

    If the person is visible from head to foot, portraits reach from the head to the shoulders or
    as far as the knees. Otherwise they show at least 0.6 of the visible part. The head is near the
    middle, and sometimes cut at the top.

    Args:
        matte: uint8 (H, W), 255 = person.
        count: the number of crops.
        random: the source of random numbers.

    Returns:
        At most `count` crops; none if there is nobody, or the person lies, is too small, or fills
        most of the picture already.
    """
    _, labels, stats, _ = cv2.connectedComponentsWithStats((matte > 127).astype(np.uint8))
    if len(stats) == 1:
        return []
    largest = 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())
    _, top, width, height, _ = stats[largest]
    if width > _LYING * height:
        return []
    whole = height >= _STANDING * width
    head = round((_HEAD if whole else _HEAD_OF_PART) * height)
    middle = float(np.nonzero(labels[top : top + max(1, head)] == largest)[1].mean())
    drawn = (
        _draw(matte.shape, top, height, middle, _EXTENT if whole else _EXTENT_OF_PART, random)
        for _ in range(count * _ATTEMPTS)
    )
    return [crop for crop in drawn if crop and _is_portrait(crop.of(matte), matte)][:count]


def _draw(
    shape: tuple[int, int],
    top: int,
    height: int,
    middle: float,
    extents: tuple[float, float],
    random: np.random.Generator,
) -> Crop | None:
    """A random crop for a body from row `top`, `height` high, whose head is at column `middle`."""
    extent, headroom = random.uniform(*extents), random.uniform(*_HEADROOM)
    shift = random.normal(0, _SIDEWAYS)
    rows = min(max(extent * height, _SMALLEST), shape[0], shape[1] / ASPECT)
    columns = rows * ASPECT
    if rows < _SMALLEST:
        return None
    y = np.clip(top - headroom * rows, 0, shape[0] - rows)
    x = np.clip(middle + shift * rows - columns / 2, 0, shape[1] - columns)
    return Crop(*(round(float(edge)) for edge in (y, y + rows, x, x + columns)))


def _is_portrait(part: np.ndarray, matte: np.ndarray) -> bool:
    share = float((part > 127).mean())
    return part.size <= _MOST * matte.size and _PERSON_SHARE[0] < share < _PERSON_SHARE[1]
