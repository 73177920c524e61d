"""Estimates the alpha of the people in a photograph, at its full size."""

import functools
import logging
from collections.abc import Callable

import numpy as np

from portrait.effects.false_people import only_people
from portrait.effects.windows import coarse_alpha, look, windows_around
from portrait.errors import UserError
from portrait.inference import network as networks
from portrait.io.images import resize
from portrait.matting.refine import METHODS

log = logging.getLogger(__name__)

REFINEMENTS = ("guided", "learned", "closed_form", "none")
AUTO = "auto"
"""The name of the refinement that suits the input: see `matte`."""


def matte(
    image: np.ndarray, network: networks.Network | None = None, refine: str = AUTO
) -> np.ndarray:
    """Estimates the alpha of the people in a photograph.

    Args:
        image: uint8 RGB (H, W, 3), of any size and proportions.
        network: from `inference.network.load`; None: the shipped network that it loads by default.
        refine: "guided" follows the photograph's edges with a guided filter, "learned" runs a small
            network on tiles along the outline, "closed_form" solves closed-form matting (Levin et
            al., 2008) in a band there, which takes seconds, "none" stretches the network's alpha.
            "auto" is "learned" for photographs and "guided" for videos, whose alphas would take up
            to three times as long.

    Returns:
        float32 (H, W), person = 1. All 0 if there is nobody.

    Raises:
        UserError: no such network or refinement.
    """
    step = refinement(refine)
    network = network or default_network()
    coarse = two_passes(network, image)
    return step(image, coarse) if coarse.any() else np.zeros(image.shape[:2], np.float32)


def refinement(name: str, moving: bool = False) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """The function from a picture and its coarse alpha to the fine alpha; see `matte`.

    Args:
        name: one of `REFINEMENTS`, or `AUTO`.
        moving: whether the pictures are the frames of a video.

    Raises:
        UserError: there is no such refinement.
    """
    if name == AUTO:
        name = "guided" if moving else "learned"
    if name not in REFINEMENTS:
        raise UserError(f"--refine={name}: give one of {', '.join((AUTO, *REFINEMENTS))}")
    return METHODS.get(name) or (lambda image, coarse: resize(coarse, image.shape[:2]))


@functools.cache
def default_network() -> networks.Network:
    """The shipped network, loaded once."""
    return networks.load()


def two_passes(network: networks.Network, image: np.ndarray) -> np.ndarray:
    """The network's alpha on the picture's grid, from a pass over the whole picture and a pass
    over windows around the people and their mirror images.

    Returns:
        float32 (h, w) of `windows.grid_shape(image.shape)`, 0..1.
    """
    coarse = coarse_alpha(network, image)
    windows = windows_around(coarse, image.shape, network.input_shape)
    return only_people(look(network, image, windows, mirror=True) if windows else coarse)
