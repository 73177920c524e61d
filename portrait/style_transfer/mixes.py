"""The names of styles, and mixes of them such as "udnie:2,great_wave:1"."""

import re
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np

from portrait.errors import UserError


def style_names(paintings: Sequence[str | Path]) -> list[str]:
    """The names of styles, which are the names of the paintings' files without suffix.

    Raises:
        UserError: two names are equal, or one contains ":" or ",", the separators of mixes.
    """
    names = [Path(path).stem for path in paintings]
    if len(set(names)) < len(names) or any(set(name) & set(":,") for name in names):
        raise UserError(f"styles have the names of their files, which must be renamed: {names}")
    return names


def parse_mix(text: str, names: Sequence[str]) -> np.ndarray:
    """The share of each style in a mix such as "udnie" or "udnie:2,great_wave:1".

    Args:
        text: names, each with a weight or the default 1; empty: the first style.
        names: the network's styles.

    Returns:
        float32 (styles,), with a sum of 1.

    Raises:
        UserError: an unknown name or a weight that is not a positive number.
    """
    shares = [Fraction(0)] * len(names)  # exact: a sum of large or tiny floats may be inf or 0
    for part in (text or names[0]).split(","):
        name, _, weight = part.strip().partition(":")
        if name not in names:
            raise UserError(f"there is no style {name!r}; the styles are {', '.join(names)}")
        try:
            share = float(weight or 1)
        except ValueError:
            share = -1.0
        if not 0 < share < float("inf"):
            raise UserError(f"--style={text}: write NAME:WEIGHT with a weight above 0")
        shares[names.index(name)] += Fraction(share)
    return np.float32([each / sum(shares) for each in shares])


def style_label(style: str) -> str:
    """A style or mix in the names of files: "udnie:2,great_wave" gives "udnie-2-great_wave"."""
    return re.sub(r"[^\w.]+", "-", style)
