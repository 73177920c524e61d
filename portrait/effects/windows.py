"""Chooses the windows around people on which the network runs.

A network that was trained on portraits of aspect 3/4 finds little in a landscape that is resized to
this aspect, or if people are small. It therefore runs twice: on the whole picture, and on windows
around the people that were found. docs/effects.md has the scores.
"""

import math
from collections.abc import Sequence

import cv2
import numpy as np

from portrait.inference.network import Network
from portrait.io.images import Window, resize, shrunk

GRID = 640
"""The longer side in pixels of the grid on which the windows' alphas are merged."""

_PAD = (123.68, 116.779, 103.939)  # ImageNet's mean colour
_PLACED = 0.5  # alpha from which a pixel determines windows
_SQUEEZE = 1.4  # a picture whose aspect differs by more than this factor is padded, not resized
_MARGIN = 0.15  # around a person, as a share of the person's size
_LEAST_MARGIN = 0.056  # the same, as a share of the grid: of small people, only parts are found
_OVERLAP = 0.3  # people whose windows overlap by more than this share get one window
_SMALLEST = 0.05  # parts smaller than this share of the largest part are not people
_SPECK = 0.001  # the same of the picture; low, because small parts may be parts of people
WIDE = 1.35
"""Groups of people that are wider than the network's aspect by this factor get several windows."""
WIDE_IN_VIDEOS = 1.7
"""The same for videos: fewer windows take less time, and show less of the background alone."""
_WIDEST = 2.4  # factor by which a window around a group is squeezed at most: 16:9 to 3/4
MOST_TILES = 16
"""The largest number of windows side by side in a group of people; wider groups get wider ones."""
_RAMP = 0.2  # width of the blending ramp, as a share of a window's side
_LIMIT = 1e-3  # where alphas are merged, those this close to 0 and 1 count as this one
_SURER = 0.4  # share by which the mean of the logits of overlapping windows is enlarged


def grid_shape(shape: Sequence[int]) -> tuple[int, int]:
    """(height, width) of the grid of a picture of `shape`: at most GRID pixels, same aspect."""
    return shrunk(shape, GRID)


def coarse_alpha(network: Network, image: np.ndarray) -> np.ndarray:
    """The network's alpha of the whole picture, float32 (H, W) on its grid.

    A picture with other proportions is padded, not squeezed.
    """
    height, width = image.shape[:2]
    rows, columns = network.input_shape
    ratio = (width / height) / (columns / rows)
    if 1 / _SQUEEZE <= ratio <= _SQUEEZE:
        return look(network, image, [Window(0, 0, width, height)])
    inner = (
        (rows, max(1, round(columns * ratio)))
        if ratio < 1
        else (
            max(1, round(rows / ratio)),
            columns,
        )
    )
    top, left = (rows - inner[0]) // 2, (columns - inner[1]) // 2
    padded = np.full((rows, columns, 3), _PAD, np.float32)
    place = np.s_[top : top + inner[0], left : left + inner[1]]
    padded[place] = resize(image, inner)
    return resize(network.run(padded)[place], grid_shape(image.shape)).clip(0, 1)


def look(
    network: Network,
    image: np.ndarray,
    windows: Sequence[Window],
    before: np.ndarray | None = None,
    mirror: bool = False,
) -> np.ndarray:
    """The network's alphas of some windows, merged on the picture's grid.

    Where windows overlap, the logit of the result is a weighted mean of their logits, so windows
    that are certain count more. Their weights fall towards their sides along a ramp. The mean is
    enlarged, because windows that differ a little make it less certain than each of them. The two
    alphas of a window and its mirror image differ less, and their mean is not enlarged: it keeps
    the width of soft edges, which the refinement needs. Outside all windows, alpha is 0.

    Args:
        network: the network, which runs on each window, resized to the network's input.
        image: uint8 RGB (H, W, 3).
        windows: in the picture's pixels.
        before: the alpha of the frame before for a network that takes it, float32 (h, w) of
            `grid_shape(image.shape)`; each run sees the part in its window. None: there is none.
        mirror: the network also runs on the mirror image of each window.

    Returns:
        float32 (h, w) of `grid_shape(image.shape)`, 0..1.
    """
    shape = grid_shape(image.shape)
    total, weight, most = (np.zeros(shape, np.float32) for _ in range(3))
    for window in windows:
        place = _scaled(window, image.shape, shape)
        part = resize(image[window.slices], network.input_shape)
        if before is not None and network.takes_previous:
            part = np.dstack([part, 255 * resize(before[place.slices], network.input_shape)])
        alphas = [network.run(part)]
        if mirror:
            alphas.append(network.run(np.ascontiguousarray(part[:, ::-1]))[:, ::-1])
        alphas = [resize(alpha, place.size).clip(0, 1) for alpha in alphas]
        if len(windows) == len(alphas) == 1:  # usual in videos; needs no logits
            total[place.slices] = alphas[0]
            return total
        ramp = np.outer(
            _ramp(place.top, place.bottom, shape[0]), _ramp(place.left, place.right, shape[1])
        )
        total[place.slices] += np.mean([_logit(alpha) for alpha in alphas], axis=0) * ramp
        weight[place.slices] += ramp
        most[place.slices] = np.maximum(most[place.slices], ramp)
    others = np.minimum(1, (weight - most) / np.maximum(most, 1e-6))
    logit = (1 + np.float32(_SURER) * others) * total / np.maximum(weight, 1e-6)
    alpha = (1 / (1 + np.exp(-logit)) - _LIMIT) / (1 - 2 * _LIMIT)
    return np.where(weight > 0, alpha, 0).clip(0, 1).astype(np.float32)


def windows_around(
    alpha: np.ndarray, shape: Sequence[int], input_shape: tuple[int, int], wide: float = WIDE
) -> list[Window]:
    """Windows around the people in a coarse alpha; empty if there are none.

    Each person gets a window of the network's proportions with a margin, and people beside each
    other share one. A wider group gets several windows that overlap by half, and one around all of
    it: in a window that shows little of the people, the background may look like a person.

    Args:
        alpha: float32 (h, w), 0..1.
        shape: the shape (H, W, ...) of the picture; windows are in its pixels.
        input_shape: (height, width) of the network.
        wide: the width, relative to the network's aspect, from which a group is wider.
    """
    height, width = shape[:2]
    aspect = input_shape[1] / input_shape[0]
    boxes = [_grown(box, alpha.shape) for box in people(alpha)]
    merged = True
    while merged:
        fitted = [_fitted(box, aspect, alpha.shape) for box in boxes]
        merged = False
        for i in range(len(boxes)):
            for j in range(i):
                if not merged and _shared(fitted[i], fitted[j]) > _OVERLAP:
                    boxes[j], merged = _union(boxes[i], boxes[j]), True
                    del boxes[i]
                    break
            if merged:
                break
    tiles = [tile for box in boxes for tile in _tiles(box, aspect, alpha.shape, wide)]
    return [_scaled(tile, alpha.shape, (height, width)) for tile in tiles]


def still_hold(
    windows: Sequence[Window], found: Sequence[Window], alpha: np.ndarray, shape: Sequence[int]
) -> bool:
    """Whether the windows of the previous frame also suit this one.

    Args:
        windows: the windows of the previous frame.
        found: the result of `windows_around` for this frame.
        alpha: the alpha of this frame, float32 (h, w).
        shape: the shape (H, W, ...) of the picture.

    Returns:
        True if the number of windows is the same, and each person is within a window, with a third
        of the usual margin, and fills about as much of it as of a new window.
    """
    if len(windows) != len(found):
        return False
    for before, now in zip(windows, found, strict=True):
        if not 0.6 < math.prod(before.size) / math.prod(now.size) < 1.6:
            return False
    inner = [_grown(box, alpha.shape, 1 / 3) for box in people(alpha)]
    boxes = [_scaled(_cut(box, alpha.shape), alpha.shape, shape) for box in inner]
    return all(_shared_by_all(box, windows) > 0.98 for box in boxes)


def people(alpha: np.ndarray) -> list[Window]:
    """Boxes around the connected parts with alpha >= 0.5 that may be people or parts of them."""
    mask = (alpha >= _PLACED).astype(np.uint8)
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask)
    stats = stats[1:]
    if not len(stats):
        return []
    smallest = max(_SPECK * mask.size, _SMALLEST * stats[:, cv2.CC_STAT_AREA].max())
    return [
        Window(int(x), int(y), int(x + w), int(y + h))
        for x, y, w, h, area in stats
        if area >= smallest
    ]


def _logit(alpha: np.ndarray) -> np.ndarray:
    alpha = alpha.clip(_LIMIT, 1 - _LIMIT)
    return np.log(alpha / (1 - alpha))


def _ramp(start: int, end: int, length: int) -> np.ndarray:
    """Blending weights along one axis of a window, falling towards sides inside the picture."""
    places = np.arange(start, end, dtype=np.float32) + 0.5
    width = _RAMP * (end - start)
    weights = np.ones(end - start, np.float32)
    if start > 0:
        weights = np.minimum(weights, (places - start) / width)
    if end < length:
        weights = np.minimum(weights, (end - places) / width)
    return np.maximum(weights, 1e-3)


def _scaled(window: Window, shape: Sequence[int], other: Sequence[int]) -> Window:
    """Scales a window from a picture of `shape` to one of `other`, to at least one pixel."""
    down, right = other[0] / shape[0], other[1] / shape[1]
    left, top = round(window.left * right), round(window.top * down)
    left, top = min(left, other[1] - 1), min(top, other[0] - 1)
    bottom = max(top + 1, min(other[0], round(window.bottom * down)))
    return Window(left, top, max(left + 1, min(other[1], round(window.right * right))), bottom)


def _grown(box: Window, shape: Sequence[int], share: float = 1.0) -> Window:
    """Adds a share of the usual margin to a box in a grid of `shape`."""
    least = share * _LEAST_MARGIN * max(shape)
    across = max(share * _MARGIN * box.size[1], least)
    down = max(share * _MARGIN * box.size[0], least)
    return Window(
        math.floor(box.left - across),
        math.floor(box.top - down),
        math.ceil(box.right + across),
        math.ceil(box.bottom + down),
    )


def _fitted(box: Window, aspect: float, shape: Sequence[int]) -> Window:
    """Enlarges the box to `aspect`, moves it into the picture, and crops it to the picture."""
    box = _cut(box, shape)
    height, width = box.size
    height, width = max(height, round(width / aspect)), max(width, round(height * aspect))
    top = _moved((box.top + box.bottom - height) // 2, height, shape[0])
    left = _moved((box.left + box.right - width) // 2, width, shape[1])
    return _cut(Window(left, top, left + width, top + height), shape)


def _moved(start: int, length: int, room: int) -> int:
    return (room - length) // 2 if length > room else min(max(start, 0), room - length)


def _cut(box: Window, shape: Sequence[int]) -> Window:
    return Window(
        max(0, box.left), max(0, box.top), min(shape[1], box.right), min(shape[0], box.bottom)
    )


def _tiles(box: Window, aspect: float, shape: Sequence[int], wide: float) -> list[Window]:
    box = _cut(box, shape)
    height, width = box.size
    if width <= wide * aspect * height:
        return [_fitted(box, aspect, shape)]
    tile = max(round(height * aspect), math.ceil(2 * width / (MOST_TILES + 1)))
    count = math.ceil((width - tile) / (tile / 2)) + 1
    lefts = np.linspace(box.left, box.right - tile, count).round().astype(int).tolist()
    tiles = [Window(left, box.top, left + tile, box.bottom) for left in lefts]
    whole = _fitted(box, aspect, shape)
    return [*tiles, whole] if whole.size[1] <= _WIDEST * aspect * whole.size[0] else tiles


def _union(a: Window, b: Window) -> Window:
    return Window(
        min(a.left, b.left), min(a.top, b.top), max(a.right, b.right), max(a.bottom, b.bottom)
    )


def _shared(a: Window, b: Window) -> float:
    """The common part as a share of the smaller window."""
    width = min(a.right, b.right) - max(a.left, b.left)
    height = min(a.bottom, b.bottom) - max(a.top, b.top)
    if width <= 0 or height <= 0:
        return 0.0
    return width * height / min(math.prod(a.size), math.prod(b.size))


def _shared_by_all(box: Window, windows: Sequence[Window]) -> float:
    """The share of a box that lies within windows, which may overlap."""
    within = np.zeros(box.size, bool)
    for window in windows:
        rows = slice(max(0, window.top - box.top), max(0, window.bottom - box.top))
        within[rows, max(0, window.left - box.left) : max(0, window.right - box.left)] = True
    return float(within.mean())
