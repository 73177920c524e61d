"""Determines whether the values of mattes are opacities or class labels, and which is the person.

Data sets store masks of 0 and 255, masks of 0 and 1, soft mattes, numbers of classes (with 255 for
void pixels, which are not labelled), and colours of classes. A single file may be ambiguous, so the
files of a folder are examined together.
"""

import math
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from portrait.errors import UserError

Form = Literal["grey", "palette", "colour"]

_VOID = 255
_VOID_COLOUR = 0xE0E0C0  # the void colour of Pascal VOC
_MOST_LABELS = 40  # more values than this are opacities, unless they form plateaus
_MOST_COLOURS = 256
_MOST_LEVEL = 65535
_COUNTED = 1_000_000  # pixels that are counted in one step
_RARE = 1e-4  # values with a smaller share of the pixels are ignored
_NUMBER_END = 64  # numbers of classes are below this in the most common data sets
_MIDDLE = range(100, 156)  # the unknown value of trimaps
_FLAT, _VERY_FLAT = 0.5, 0.8  # thresholds for the share of pixels that equal their neighbours
_PLATEAU = 0.75  # the share of flat pixels that makes a level a plateau


@dataclass(frozen=True)
class Labels:
    """The labels of the person in label masks.

    Attributes:
        person: the person's labels, as numbers or as colours 0xRRGGBB.
        void: the label of void pixels, if there is one.
        colours: whether labels are colours.
        known: all labels of the set; empty: any label is allowed.
    """

    person: tuple[int, ...]
    void: int | None = None
    colours: bool = False
    known: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Found:
    """Statistics of the values of one or more mattes.

    Attributes:
        form: how the files store the values.
        pixels: the number of pixels of each value, for "grey" and "palette".
        flat: the number of pixels between the extreme values that are equal to their neighbours,
            and the number of all pixels between the extreme values.
        binary: whether each file has only the values 0 and 1, or only 0 and 255.
        tops: the highest values of binary files.
        shades: the number of pixels of each colour, 0xRRGGBB, for "palette" and "colour".
    """

    form: Form
    pixels: Counter
    flat: tuple[int, int]
    binary: bool
    tops: frozenset[int]
    shades: Counter


@dataclass(frozen=True)
class Reading:
    """The meaning of the values of mattes of one form.

    Attributes:
        labels: the labels; None if the values are opacities.
        soft: whether there are opacities between the extremes.
        said: a description of the values and their meaning, for messages.
        top: the level of an opacity of 1 in soft mattes: 255, or 65535 in a set of 16 bits.
    """

    labels: Labels | None
    soft: bool
    said: str
    top: int = _VOID


def find(form: Form, values: np.ndarray, palette: Sequence[int] = ()) -> Found:
    """Counts the values of a matte.

    Args:
        form: the form of the values.
        values: integers (H, W), at least 0; colours are 0xRRGGBB.
        palette: for "palette", the colour 0xRRGGBB of each number.
    """
    if form == "colour":
        step = math.ceil(math.sqrt(values.size / _COUNTED))
        return Found(form, Counter(), (0, 0), False, frozenset(), _count(values[::step, ::step]))
    pixels, shades = _count(values), Counter()
    for number, count in pixels.items() if palette else ():
        shades[palette[number]] += count
    used = set(pixels)
    binary = used <= {0, 1} or used <= {0, _VOID}
    tops = frozenset({max(used)} - {0}) if binary else frozenset()
    return Found(form, pixels, _flat(values, pixels), binary, tops, shades)


def together(found: Iterable[Found]) -> Found:
    """Adds the statistics of several mattes of one form."""
    found = list(found)
    total, shades = Counter(), Counter()
    for each in found:
        total.update(each.pixels)
        shades.update(each.shades)
    flat = (sum(each.flat[0] for each in found), sum(each.flat[1] for each in found))
    tops = frozenset().union(*(each.tops for each in found))
    binary = all(each.binary for each in found)
    return Found(found[0].form, total, flat, binary, tops, shades)


def decide(found: Found, person: Sequence[str] = ()) -> Reading:
    """Determines the meaning of the values of mattes.

    Args:
        found: the statistics of all mattes of a set that have the same form.
        person: the labels of people, if the user states them, see `parse`.

    Raises:
        UserError: the meaning of the values or the person's label cannot be determined; the message
            states the values.
    """
    colours, numbers = parse(person)
    if found.form == "grey" or (found.form == "palette" and numbers & set(found.pixels)):
        return _decide_numbers(found, numbers)
    return _decide_colours(found.shades, colours)


def parse(person: Sequence[str]) -> tuple[set[int], set[int]]:
    """Parses labels such as "15" and "#c08080" into a set of colours (0xRRGGBB) and of numbers.

    Raises:
        UserError: a label is neither a number nor a colour.
    """
    colours, numbers = set(), set()
    for text in person:
        try:
            if text.startswith("#") and len(text) == 7:
                colours.add(int(text[1:], 16))
            elif text.isascii() and text.isdecimal():
                numbers.add(int(text))
            else:
                raise ValueError
        except ValueError as error:
            raise UserError(
                f"--person_label={text}: write a number, such as 15, or a colour, such as #c08080"
            ) from error
    return colours, numbers


def alpha(labels: Labels, values: np.ndarray) -> np.ndarray:
    """Converts labels (H, W) to a matte: uint8, 255 for the person, 0 elsewhere.

    Void pixels get the label of the nearest labelled pixel.

    Raises:
        UserError: all pixels are void, or there is a label that is not in the set.
    """
    if labels.known:
        strange = ~_among(labels.known, values)
        if strange.mean() > _RARE:
            label = int(values[strange][0])
            raise UserError(f"label {_named(label, labels.colours)} is not in the examined mattes")
    matte = _among(labels.person, values).astype(np.uint8) * 255
    if labels.void is None or not (void := values == labels.void).any():
        return matte
    if void.all():
        raise UserError("all of its pixels are void")
    _, nearest = cv2.distanceTransformWithLabels(
        void.astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    of_nearest = np.zeros(nearest.max() + 1, np.uint8)
    of_nearest[nearest[~void]] = matte[~void]
    return of_nearest[nearest]


def _decide_numbers(found: Found, given: set[int]) -> Reading:
    few = len(found.pixels) <= _MOST_LABELS
    common = _common(found.pixels) if few else set(found.pixels)
    if not found.binary and not _are_labels(found, common):
        top = _VOID if max(found.pixels) <= _VOID else _MOST_LEVEL
        return Reading(None, True, f"soft mattes, {len(found.pixels)} levels of 0 to {top}", top)
    said = "label numbers " + _listed(found.pixels, common)
    if person := tuple(sorted(given & common)):
        other = common - {_VOID, *person}
        void = _VOID if _VOID in common - {*person} and other else None
        return Reading(Labels(person, void), False, f"{said}: {_meaning(person, void)}")
    if found.binary:
        kinds = [f"masks of 0 and {top}" for top in sorted(found.tops or {_VOID})]
        return Reading(None, False, " beside ".join(kinds))
    person, void = (None, None) if given else _guess_number(found.pixels, common)
    if person is None:
        raise UserError(f"{said}: {_question(given, 'N')}")
    labels = Labels((person,), void, known=frozenset(found.pixels))
    return Reading(labels, False, f"{said}: {_meaning((person,), void)}")


def _are_labels(found: Found, common: set[int]) -> bool:
    """Whether the numbers are labels rather than opacities."""
    flat, middle = found.flat
    if len(found.pixels) > _MOST_LABELS:
        return flat > _VERY_FLAT * middle
    top = _VOID if max(common) <= _VOID else _MOST_LEVEL
    between = common - {0, top}
    if len(between) == 1 and min(between) * _VOID // top in _MIDDLE and {0, top} <= common:
        return False  # a trimap
    if top == _MOST_LEVEL:
        return flat > _VERY_FLAT * middle
    if not any(13 <= each < 240 for each in between) and any(each >= 240 for each in between):
        return False  # 0 and 255 with the noise of a JPEG
    return flat > _FLAT * middle or max(common - {_VOID}) < _NUMBER_END


def _guess_number(pixels: Counter, common: set[int]) -> tuple[int | None, int | None]:
    labels = sorted(common - {0})
    if 0 in common and len(labels) == 1:
        return labels[0], None
    if 0 in common and len(labels) == 2 and labels[1] == _VOID and labels[0] < _NUMBER_END:
        # If 255 covers more than a seam along outlines, it may also be the person.
        return (labels[0], _VOID) if pixels[_VOID] < pixels[labels[0]] else (None, None)
    return None, None


def _decide_colours(pixels: Counter, given: set[int]) -> Reading:
    if len(pixels) > _MOST_COLOURS:
        raise UserError(
            f"{len(pixels)} colours, too many for labels (is it a JPEG file, or a photograph?)"
        )
    common = _common(pixels)
    said = "label colours " + _listed(pixels, common, colours=True)
    if person := tuple(sorted(given & set(pixels))):
        void = _VOID_COLOUR if _VOID_COLOUR in common - {*person} else None
        known = frozenset()
    else:
        labels = common - {0, _VOID_COLOUR}
        if given or 0 not in common or len(labels) != 1:
            raise UserError(f"{said}: {_question(given, '#RRGGBB')}")
        person, known = tuple(labels), frozenset(pixels)
        void = _VOID_COLOUR if _VOID_COLOUR in common else None
    meaning = _meaning(person, void, colours=True)
    return Reading(Labels(person, void, True, known), False, f"{said}: {meaning}")


def _common(pixels: Counter) -> set[int]:
    least = _RARE * pixels.total()
    return {value for value, count in pixels.items() if count >= least}


def _listed(pixels: Counter, common: set[int], colours: bool = False) -> str:
    total = pixels.total()
    parts = [f"{_named(each, colours)} ({pixels[each] / total:.1%})" for each in sorted(common)]
    return ", ".join(parts[:12]) + (f", ... ({len(parts)})" if len(parts) > 12 else "")


def _meaning(person: Collection[int], void: int | None, colours: bool = False) -> str:
    named = " and ".join(_named(each, colours) for each in person)
    meaning = f"{named} {'is' if len(person) == 1 else 'are'} the person"
    return meaning + (f", {_named(void, colours)} is void" if void is not None else "")


def _question(given: set[int], example: str) -> str:
    if given:
        return "--person_label names none of them"
    return f"say which is the person: --person_label={example}"


def _named(label: int, colours: bool) -> str:
    return f"#{label:06x}" if colours else str(label)


def _among(labels: Collection[int], values: np.ndarray) -> np.ndarray:
    """Whether each value is one of the labels: bool, of the shape of `values`."""
    top = int(values.max())
    if top > _MOST_LEVEL:
        return np.isin(values, list(labels))
    table = np.zeros(top + 1, bool)
    table[[each for each in labels if each <= top]] = True
    return table[values]


def _count(values: np.ndarray) -> Counter:
    """The number of pixels of each value."""
    if values.max() > _MOST_LEVEL:
        used, counts = np.unique(values, return_counts=True)
    else:
        rows = max(1, _COUNTED // values.shape[1])  # counting takes eight bytes per pixel
        bands = (values[top : top + rows] for top in range(0, len(values), rows))
        counts = sum(np.bincount(band.ravel(), minlength=_MOST_LEVEL + 1) for band in bands)
        used = np.flatnonzero(counts)
        counts = counts[used]
    return Counter(dict(zip(used.tolist(), counts.tolist(), strict=True)))


def _flat(values: np.ndarray, pixels: Counter) -> tuple[int, int]:
    """Counts the pixels between the extremes: those equal to their upper and left neighbours, and
    all."""
    top = max(pixels)
    if len(pixels) <= 2 or min(values.shape) < 2:
        return 0, 0
    inner = values[1:, 1:]
    middle = (inner >= 1) & (inner <= top - (top in (_VOID, _MOST_LEVEL)))
    same = middle & (inner == values[:-1, 1:]) & (inner == values[1:, :-1])
    if len(pixels) <= _MOST_LABELS or not middle.any():
        return int(np.count_nonzero(same)), int(np.count_nonzero(middle))
    # A soft matte may have large plateaus, but only at a few levels, so all levels weigh the same.
    levels, equal = _count(inner[middle][None]), Counter()
    if same.any():
        equal = _count(inner[same][None])
    plateaus = sum(equal[level] > _PLATEAU * count for level, count in levels.items())
    return levels.total() * plateaus // len(levels), levels.total()
