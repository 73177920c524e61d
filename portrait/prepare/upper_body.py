"""Crops portraits from pictures of whole bodies."""

from typing import NamedTuple

import cv2
import numpy as np

ASPECT = 3 / 4  # width by height, as the networks see portraits
_STANDING = 1.8  # a person whose height is this many times the width is visible as a whole
_EXTENT = (0.3, 0.7)  # the crop's height as a share of the body's: head and shoulders to knees
_HEADROOM = (-0.03, 0.25)  # above the head, as a share of the crop's height
_SIDEWAYS = 0.08  # standard deviation of the head's position, as a share of the crop's height
_HEAD = 0.12  # height of the head, as a share of the body's height
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
    """Draws random upper-body crops, of aspect 3/4, of a person who is visible from head to foot.

    Like selfies, crops reach from the head to the shoulders or as far as the knees, with the head
    near the middle and sometimes cut at the top. If there are several people, the largest is used.

    Args:
        matte: uint8 (H, W), 255 = person.
        count: the number of crops.
        random: the source of random numbers.

    Returns:
        At most `count` crops; none if nobody is visible as a whole, or the picture is too small.
    """
    _, labels, stats, _ = cv2.connectedComponentsWithStats((matte > 127).astype(np.uint8))
    if len(stats) == 1:
        return []
    largest = 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())
    _, top, width, height, _ = stats[largest]
    if height < _STANDING * width:
        return []
    head = labels[top : top + max(1, round(_HEAD * height))] == largest
    middle = float(np.nonzero(head)[1].mean())
    drawn = (_draw(matte.shape, top, height, middle, random) for _ in range(count * _ATTEMPTS))
    good = [crop for crop in drawn if crop and _shows_person(crop.of(matte))]
    return good[:count]


def _draw(
    shape: tuple[int, int], top: int, height: int, middle: float, random: np.random.Generator
) -> Crop | None:
    """A random crop for a body from row `top`, `height` high, whose head is at column `middle`."""
    extent, headroom = random.uniform(*_EXTENT), random.uniform(*_HEADROOM)
    shift = random.normal(0, _SIDEWAYS)
    rows = min(max(extent * height, _SMALLEST), shape[0], shape[1] / ASPECT)
    columns = rows * ASPECT
    if rows < _SMALLEST:
        return None
    y = np.clip(top - headroom * rows, 0, shape[0] - rows)
    x = np.clip(middle + shift * rows - columns / 2, 0, shape[1] - columns)
    return Crop(*(round(float(edge)) for edge in (y, y + rows, x, x + columns)))


def _shows_person(matte: np.ndarray) -> bool:
    return _PERSON_SHARE[0] < float((matte > 127).mean()) < _PERSON_SHARE[1]
