"""Examines the mattes of data folders to find out what their values mean."""

import functools
import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from portrait.data.pairs import Pair
from portrait.errors import UserError
from portrait.io import matte_labels
from portrait.io.images import PictureError
from portrait.io.matte_labels import Form, Found
from portrait.io.mattes import read_values
from portrait.util import evenly

log = logging.getLogger(__name__)

_EXAMINED = 100  # mattes per folder; all others are compared with these when they are read
_FLOATS = "soft mattes, floating-point numbers or an alpha channel"


def examine(pairs: Sequence[Pair], person_label: Sequence[str] = ()) -> list[Pair]:
    """Determines the meaning of the values of mattes, and stores it in the pairs.

    For each folder of mattes, it logs a line that states the values and their meaning.

    Args:
        pairs: pairs of any folders. Pairs that were examined before are returned unchanged.
        person_label: numbers ("15") and colours ("#c08080") of the labels of people, for folders in
            which they cannot be determined.

    Returns:
        The pairs, with `readings` set.

    Raises:
        UserError: the label of the person or the meaning of the values cannot be determined, or
            `person_label` contains neither a number nor a colour.
    """
    matte_labels.parse(person_label)
    folders = defaultdict(list)
    for pair in pairs:
        if pair.matte and pair.readings is None:
            folders[pair.matte.parent].append(pair.matte)
    readings = {
        folder: _examine(folder, tuple(mattes), tuple(person_label))
        for folder, mattes in folders.items()
    }
    return [
        replace(pair, readings=readings[pair.matte.parent])
        if pair.matte and pair.readings is None
        else pair
        for pair in pairs
    ]


@functools.cache  # a command looks at its folders more than once
def _examine(folder: Path, mattes: tuple[Path, ...], person_label: tuple[str, ...]) -> Mapping:
    with ThreadPoolExecutor(2) as pool:
        found = [each for each in pool.map(_find, evenly(mattes, _EXAMINED)) if each]
    forms = defaultdict(list)
    for form, values in found:
        forms[form].append(values)
    readings, said = {}, [_FLOATS] if forms.pop(None, None) else []
    for form, of_form in forms.items():
        try:
            readings[form] = matte_labels.decide(matte_labels.together(of_form), person_label)
        except UserError as error:
            raise UserError(f"{folder}: {error}") from error
        said.append(readings[form].said)
    if said:
        log.info("%s: %s", folder, "; ".join(said))
    return readings


def _find(path: Path) -> tuple[Form | None, Found | None] | None:
    """The form and the values of a matte; None if it is unreadable, which is reported later."""
    try:
        raw, _ = read_values(path)
    except PictureError:
        return None
    return raw.form, raw.form and raw.find()
