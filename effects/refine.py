"""Fits any network's alpha to its photograph, at the photograph's own size.

`METHODS` take the image, uint8 RGB (H, W, 3), and the alpha, float32 (H, W) in 0..1, and return
another such alpha. Nothing is trained.
"""

from collections.abc import Callable

import numpy as np

from effects.dense_crf import dense_crf
from effects.matting import refine_closed_form, refine_guided
from prediction import MatteFunction

METHODS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "guided": refine_guided,
    "crf": dense_crf,
    "closed_form": lambda image, alpha: refine_closed_form(image, refine_guided(image, alpha)),
}


def refined(matte_fn: MatteFunction, method: str) -> MatteFunction:
    """`matte_fn` with the step `method` after it.

    Args:
        matte_fn: from a photograph to its alpha.
        method: a key of `METHODS`; another raises KeyError.
    """
    step = METHODS[method]
    return lambda image: step(image, matte_fn(image))
