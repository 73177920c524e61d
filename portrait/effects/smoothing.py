"""Smooths the alphas of a video by their neighbours, without a lag behind movement.

Each alpha is mixed with the alphas of the frames before and after, which optical flow moves to its
place. What only one of the three frames shows, such as a hole or a blob, goes: an alpha that is far
from the median of the three does not count, except where much moves. Where nothing moves, the
smoothed alpha of the frame before, which is a mean of many frames, can be mixed in as well.
"""

import dataclasses
import functools
from collections.abc import Iterable, Iterator, Sequence

import cv2
import numpy as np

from metrics import flow_sources
from portrait.io.images import resize

# docs/effects.md has the scores.
_FLOW_SCALE = 2  # the grid is larger than the pictures for the optical flow by this factor
_COLOUR = 12.0  # scale of the flow's error, in grey levels
_BELIEVED = 0.5  # trust in the flow from which an alpha is one of the three
_OUTLIER = 0.8  # distance from the median at which an alpha does not count
# Where much moves, three frames often differ at the outline, and none of them is wrong.
_FAST_OUTLIER = 2.0  # the same where it moves by _FAST pixels or more, for each frame
_SLOW, _FAST = 4.0, 12.0
_KEEP = 0.85  # weight of the smoothed alpha before where nothing moves
_STILL = 0.15  # scale of movement that counts as none, in pixels for each frame
_JUMP = 1.2  # difference from the smoothed alpha before at which it does not count
_EXPOSURE = 0.12  # time to each side over which alphas are blurred, in frames
_SPREAD = 31  # the movement of a pixel is the mean of people's movement in this square
_VISIBLE = 0.05  # pixels of blur below which none is applied


@dataclasses.dataclass(frozen=True)
class _Way:
    """Where the pixels of a frame are in a neighbouring frame.

    Attributes:
        moved: their movement to there in pixels, right and down, float32 (h, w, 2).
        trust: how well it explains the frame, float32 (h, w), 0..1.
        still: the trust where nothing moves, 0 where much does, float32 (h, w).
    """

    moved: np.ndarray
    trust: np.ndarray
    still: np.ndarray

    def carried(self, alpha: np.ndarray, box: tuple[slice, slice]) -> np.ndarray:
        """The alpha (h, w) of the neighbouring frame, moved to this frame, within a box."""
        rows, columns = box
        x = self.moved[(*box, 0)] + np.arange(columns.start, columns.stop, dtype=np.float32)
        y = self.moved[(*box, 1)] + np.arange(rows.start, rows.stop, dtype=np.float32)[:, None]
        return cv2.remap(alpha, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


@dataclasses.dataclass(frozen=True)
class Moment:
    """A frame of a video with its alpha.

    Attributes:
        image: uint8 RGB (H, W, 3).
        alpha: float32 of any size, 0..1.
        grey: the picture in grey for the optical flow, uint8, smaller than the grid.
        grid: the size (h, w) at which alphas are mixed.
        starts: whether a new scene starts here.
        before, after: the ways to the neighbouring frames. None: the scene starts or ends, or the
            way was not found yet.
    """

    image: np.ndarray
    alpha: np.ndarray
    grey: np.ndarray
    grid: tuple[int, int]
    starts: bool = False
    before: _Way | None = None
    after: _Way | None = None

    @classmethod
    def of(cls, image: np.ndarray, alpha: np.ndarray, starts: bool) -> "Moment":
        """A frame whose alpha's size is that of the grid."""
        size = tuple(max(1, side // _FLOW_SCALE) for side in alpha.shape)
        grey = cv2.cvtColor(resize(image, size), cv2.COLOR_RGB2GRAY)
        return cls(image, alpha, grey, alpha.shape, starts)


def smooth(moments: Iterable[Moment], hold: bool = False) -> Iterator[Moment]:
    """Smooths the alphas of successive frames, one frame late.

    The ways are found where they are missing, and stay: smoothing again, after a refinement, needs
    no more optical flow. Alphas that are larger than the grid keep their details: only their
    difference to the smoothed alpha is as coarse as the grid. An exception of `moments` is raised
    after the frames before it.

    Args:
        moments: the frames.
        hold: mix in the smoothed alpha of the frame before where nothing moves. What changes there
            fades over some frames.
    """
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
    last: Moment | None = None
    alphas: list[np.ndarray | None] = [None, None]  # of the frame before `last` and of `last`
    kept: np.ndarray | None = None  # the smoothed alpha before `last`
    failures: list[Exception] = []
    for moment in _until_failure(moments, failures):
        alpha = resize(moment.alpha, moment.grid)
        if last is not None:
            if not moment.starts and moment.before is None:
                last = dataclasses.replace(last, after=_way(flow, last, moment))
                moment = dataclasses.replace(moment, before=_way(flow, moment, last))
            kept = _mixed(last, *alphas, alpha, kept if hold else None)
            yield _changed(last, kept - alphas[1])
        last, alphas = moment, [alphas[1], alpha]
    if last is not None:
        mixed = _mixed(last, *alphas, None, kept if hold else None)
        yield _changed(last, mixed - alphas[1])
    for failure in failures:
        raise failure


def blur_by_motion(moment: Moment) -> Moment:
    """Blurs the alpha of a smoothed moment along its movement, as the exposure blurs the picture.

    Networks, and the refinement even more, find outlines that are too sharp where people move fast.
    """
    ways = [(way, sign) for way, sign in ((moment.before, -1), (moment.after, 1)) if way]
    alpha = resize(moment.alpha, moment.grid)
    box = _padded(_box_of([alpha]), _SPREAD // 2, moment.grid)
    here = alpha[box]
    if not ways or not here.size:
        return moment
    # The movement of the person counts, also beside it, and not that of the background.
    weight = here + np.float32(0.01)
    spread = (_SPREAD, _SPREAD)
    total = cv2.blur(weight, spread) * np.float32(len(ways) / _EXPOSURE)
    x, y = (
        cv2.blur(sum(sign * way.moved[(*box, axis)] for way, sign in ways) * weight, spread) / total
        for axis in (0, 1)
    )
    if max(np.abs(x).max(), np.abs(y).max()) < _VISIBLE:
        return moment
    rows, columns = (np.arange(side, dtype=np.float32) for side in here.shape)
    blurred = here / 3
    for sign in (-1, 1):
        places = sign * x + columns, sign * y + rows[:, None]
        blurred += cv2.remap(here, *places, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE) / 3
    change = np.zeros_like(alpha)
    change[box] = blurred - here
    return _changed(moment, change)


def _until_failure(moments: Iterable[Moment], failures: list[Exception]) -> Iterator[Moment]:
    """Ends at an exception and keeps it."""
    try:
        yield from moments
    except Exception as error:
        failures.append(error)


def _way(flow: cv2.DISOpticalFlow, moment: Moment, neighbour: Moment) -> _Way:
    grey = moment.grey
    places = flow_sources(flow, grey, neighbour.grey, scale=1)
    there = cv2.remap(neighbour.grey, *places, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    missed = cv2.blur(cv2.absdiff(there, grey).astype(np.float32), (5, 5))
    trust = np.exp(-np.square(missed / np.float32(_COLOUR)))
    (height, width), (rows, columns) = moment.grid, grey.shape
    right = (places[0] - np.arange(columns, dtype=np.float32)) * np.float32(width / columns)
    down = (places[1] - np.arange(rows, dtype=np.float32)[:, None]) * np.float32(height / rows)
    still = trust * np.exp((right * right + down * down) / np.float32(-(_STILL**2)))
    return _Way(*(resize(each, moment.grid) for each in (cv2.merge([right, down]), trust, still)))


def _mixed(
    moment: Moment,
    before: np.ndarray | None,
    alpha: np.ndarray,
    after: np.ndarray | None,
    kept: np.ndarray | None,
) -> np.ndarray:
    """The smoothed alpha on the grid, from the alphas of three frames and the smoothed one before.

    `before`, `after` and `kept` are not used across the start of a scene.
    """
    ways = ((moment.before, before), (moment.after, after))
    known = [(way, other) for way, other in ways if way is not None]
    box = _box_of([alpha, *(other for _, other in known)])
    result = np.zeros_like(alpha)
    if not result[box].size:
        return result
    here = alpha[box]
    neighbours = [(way.trust[box], way.carried(other, box)) for way, other in known]
    usual = here
    if len(neighbours) == 2:
        usual = _median(
            here, *(np.where(trust > _BELIEVED, other, here) for trust, other in neighbours)
        )
    tolerance = _tolerance([way.moved[box] for way, _ in known])
    # The small weight is for the case that none of the three counts.
    weight = _agreement(here, usual, tolerance) + np.float32(1e-3)
    total, mixed = weight, weight * here
    for trust, other in neighbours:
        weight = trust * _agreement(other, usual, tolerance)
        total, mixed = total + weight, mixed + weight * other
    mixed /= total
    if moment.before is not None and kept is not None:
        keep, held = np.float32(_KEEP) * moment.before.still[box], kept[box]
        mixed += keep * _agreement(held, mixed, _JUMP) * (held - mixed)
    result[box] = mixed
    return result


def _box_of(alphas: Sequence[np.ndarray]) -> tuple[slice, slice]:
    """The rows and columns in which any of the alphas is not 0."""
    most = functools.reduce(cv2.max, alphas)
    left, top, width, height = cv2.boundingRect((most > 0).astype(np.uint8))
    return slice(top, top + height), slice(left, left + width)


def _padded(box: tuple[slice, slice], margin: int, shape: tuple[int, int]) -> tuple[slice, slice]:
    """A box with a margin, as far as the picture reaches; an empty box stays empty."""
    if not all(side.stop > side.start for side in box):
        return box
    return tuple(
        slice(max(0, side.start - margin), min(length, side.stop + margin))
        for side, length in zip(box, shape, strict=True)
    )


def _median(first: np.ndarray, second: np.ndarray, third: np.ndarray) -> np.ndarray:
    low, high = np.minimum(first, second), np.maximum(first, second)
    return np.maximum(low, np.minimum(high, third))


def _tolerance(movements: Sequence[np.ndarray]) -> np.ndarray | float:
    """The distance from the median at which an alpha does not count, by its movements (h, w, 2)."""
    if not movements:
        return _OUTLIER
    most = functools.reduce(
        cv2.max, (cv2.max(*cv2.split(cv2.absdiff(way, 0))) for way in movements)
    )
    share = np.clip(most - np.float32(_SLOW), 0, _FAST - _SLOW)
    return share * np.float32((_FAST_OUTLIER - _OUTLIER) / (_FAST - _SLOW)) + np.float32(_OUTLIER)


def _agreement(alpha: np.ndarray, other: np.ndarray, scale: np.ndarray | float) -> np.ndarray:
    """1 where two alphas are equal, falling to 0 where they differ by `scale` or more."""
    return np.maximum(0, 1 - np.square((alpha - other) / np.float32(scale)))


def _changed(moment: Moment, change: np.ndarray) -> Moment:
    """The moment with an alpha that is changed by `change`, which is on the grid."""
    alpha = moment.alpha + resize(change, moment.alpha.shape)
    return dataclasses.replace(moment, alpha=alpha.clip(0, 1))
