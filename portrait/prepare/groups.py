"""Composes pictures of several people from pictures of single people.

Most portraits show one person, and a network that is trained on them finds only one person of a
group. For training, people who are copied into other pictures are as useful as new pictures (Ghiasi
et al., 2012.07177).
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from tqdm import tqdm

from portrait.data.backgrounds import random_light, random_scenery
from portrait.data.pairs import DERIVED, Pair, is_dim, origin, place, read_pair, warn_dim
from portrait.errors import UserError, warn_skipped
from portrait.io.images import write_png
from portrait.io.photos import leaving_out
from portrait.matting.foreground import person_colours
from portrait.prepare.datasets import claim, digest_of, release, seed_of, write_jpeg

HEIGHT = 320  # height of the composed pictures in pixels
_ASPECT = (0.75, 1.5)  # width by height
LARGEST = (HEIGHT, round(HEIGHT * _ASPECT[1]))
_THREE = 0.3  # the share of groups of three people; all others have two
_TALLEST = (0.5, 0.95)  # height of the tallest person, as a share of the picture's height
_OTHERS = (0.75, 1.05)  # heights of the people, as shares of the tallest person's height
_FEET = (0.0, 0.12)  # distance of visible feet from the lower edge, as a share of the height
_SIDEWAYS = 0.06  # standard deviation of a position, as a share of the picture's width
_ENLARGED = 1.5  # the largest enlargement of a person; a larger one would be too blurred
_TOUCH = 0.02  # a person who touches an edge for this share of the height is cut by it
_MARGIN = 4  # pixels around a mask for its soft edge


class _Figure(NamedTuple):
    """A person without background: colours 0..255 and alpha 0..1, float32, and the cut sides."""

    colours: np.ndarray
    alpha: np.ndarray
    cut_below: bool
    cut_left: bool
    cut_right: bool


def write(
    pairs: Sequence[Pair], backgrounds: Sequence[np.ndarray], output: Path, count: int, seed: int
) -> list[Path]:
    """Writes groups as `output/SET/training/NAME@g.jpg` with `NAME@g_matte.png`.

    A group is named after the pair of its hindmost person. The other people are from the next pairs
    in the order in which `pairs.split` divides, so a group has people from one subset only. At the
    border between the subsets, two or three training groups contain a person from the validation
    subset.

    Args:
        pairs: pictures of people, with each person once. Several pairs may belong to one picture.
        backgrounds: uint8 (h, w, 3), without people.
        output: a new folder, or the folder of a stopped run with the same arguments.
        count: the number of groups.
        seed: the seed of all random choices.

    Returns:
        The pictures in `output`, possibly fewer than `count`.

    Raises:
        UserError: fewer than three pictures, two with the same name, none that can be composed, or
            `output` holds other files or cannot be written.
    """
    people = sorted(
        (pair for pair in pairs if pair.matte), key=lambda pair: (place(pair), pair.name)
    )
    if len({origin(pair) for pair in people}) < 3:
        raise UserError("groups need pictures of at least three people")
    settings = {"groups": count, "seed": seed, "backgrounds": digest_of(backgrounds)}
    claim(output, pairs, settings)
    written, unreadable, dim = [], [], []
    order = np.random.default_rng(seed).permutation(len(people))
    with tqdm(total=count, desc="composing", unit=" pictures", disable=None) as bar:
        for first in order:
            set_name, _, stem = people[first].name.rpartition("/")
            path = output / set_name / "training" / f"{stem}{DERIVED}g.jpg"
            if not path.exists():
                random = np.random.default_rng(seed_of(seed, people[first].name))
                size = 3 if random.random() < _THREE else 2
                group = None
                with leaving_out(people[first].image, unreadable):
                    together = list(neighbours(people, first, size))
                    chosen = [read_pair(pair) for pair in together]
                    dim += [
                        str(pair.matte)
                        for pair, (_, matte) in zip(together, chosen, strict=True)
                        if is_dim(matte)
                    ]
                    behind = backgrounds[random.integers(len(backgrounds))]
                    group = compose(chosen, behind, random)
                if group is None:
                    continue
                # Before the photograph, which must never be without its matte.
                write_png(path.with_name(f"{path.stem}_matte.png"), group[1])
                write_jpeg(path, group[0])
            written.append(path)
            bar.update()
            if len(written) == count:
                break
    warn_skipped(list(dict.fromkeys(unreadable)), "{count} left out: {names}")
    warn_dim(list(dict.fromkeys(dim)))
    if not written:
        release(output)
        raise UserError("no group could be composed: all people are cut at the top or both sides")
    return written


def neighbours(people: Sequence[Pair], first: int, count: int) -> Iterator[Pair]:
    """Yields `count` pairs of different pictures, starting with the pair at `first`."""
    seen = set()
    for index in range(first, first + len(people)):
        pair = people[index % len(people)]
        if origin(pair) not in seen:
            seen.add(origin(pair))
            yield pair
            if len(seen) == count:
                return


def compose(
    people: Sequence[tuple[np.ndarray, np.ndarray]],
    background: np.ndarray,
    random: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray] | None:
    """Puts people beside and in front of each other on a photograph.

    A person who is cut by the lower edge or a side of a picture is placed at the same edge of the
    new picture, so that nobody floats or is cut inside the picture.

    Args:
        people: uint8 pictures (H, W, 3) with mattes (H, W), 255 = person, the hindmost first.
        background: uint8 (h, w, 3) of any size, without people.
        random: the source of random sizes, positions, light and parts of the background.

    Returns:
        The picture (h, w, 3), `HEIGHT` high, and the matte (h, w) of all people, uint8. None if a
        matte is empty, or if a person is cut by the top or by both sides and fits nowhere.
    """
    width = round(HEIGHT * random.uniform(*_ASPECT))
    picture = random_scenery(background, HEIGHT, width, random)
    matte = np.zeros((HEIGHT, width), np.float32)
    tallest = HEIGHT * random.uniform(*_TALLEST)
    places = random.permutation(np.arange(len(people)) + 0.5) / len(people)
    for (image, alpha), middle in zip(people, places, strict=True):
        figure = _cut_out(image, alpha, tallest * random.uniform(*_OTHERS))
        if figure is None:
            return None
        rows, columns = figure.alpha.shape
        middle = np.clip(middle + random.normal(0, _SIDEWAYS), 0, 1)
        left = round(float(middle * width - columns / 2))
        if figure.cut_left:
            left = 0
        elif figure.cut_right:
            left = width - columns
        above = 0 if figure.cut_below else round(random.uniform(*_FEET) * HEIGHT)
        colours = (figure.colours * random_light(random)).clip(0, 255)
        _paste(picture, matte, colours, figure.alpha, HEIGHT - above - rows, left)
    return picture, np.rint(matte * 255).astype(np.uint8)


def _cut_out(image: np.ndarray, matte: np.ndarray, height: float) -> _Figure | None:
    """Cuts out the person, at most `height` pixels high; None if `compose` cannot place it."""
    inside = matte > 127
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    edges = (inside[:2].T, inside[-2:].T, inside[:, :2], inside[:, -2:])
    cut = [edge.any(1).sum() > _TOUCH * matte.shape[0] for edge in edges]
    cut_above, cut_below, cut_left, cut_right = map(bool, cut)
    if not len(rows) or cut_above or (cut_left and cut_right):
        return None
    box = np.s_[
        max(rows[0] - _MARGIN, 0) : rows[-1] + 1 + _MARGIN,
        max(columns[0] - _MARGIN, 0) : columns[-1] + 1 + _MARGIN,
    ]
    alpha = matte[box]
    scale = min(height / alpha.shape[0], _ENLARGED)
    size = [max(1, round(side * scale)) for side in alpha.shape[::-1]]
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    colours = cv2.resize(person_colours(image, matte)[box], size, interpolation=how)
    alpha = cv2.resize(alpha, size, interpolation=how) / np.float32(255)
    return _Figure(colours.astype(np.float32), alpha, cut_below, cut_left, cut_right)


def _paste(
    picture: np.ndarray,
    matte: np.ndarray,
    colours: np.ndarray,
    alpha: np.ndarray,
    top: int,
    left: int,
) -> None:
    """Puts a figure into `picture` and into the common `matte`, at (top, left)."""
    rows = slice(max(top, 0), min(top + alpha.shape[0], picture.shape[0]))
    columns = slice(max(left, 0), min(left + alpha.shape[1], picture.shape[1]))
    part = np.s_[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    share = alpha[part][..., np.newaxis]
    mixed = share * colours[part] + (1 - share) * picture[rows, columns]
    picture[rows, columns] = np.rint(mixed).astype(np.uint8)
    matte[rows, columns] = 1 - (1 - share[..., 0]) * (1 - matte[rows, columns])
