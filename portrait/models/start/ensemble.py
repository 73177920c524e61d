"""Starts the ensemble from trained weights of the U-Net and SelfieNet."""

from pathlib import Path

import keras
import numpy as np

from portrait.models.build import build
from portrait.models.ensemble import PREFIX, SCALES
from portrait.models.registry import split_name
from portrait.models.start import efficientnet_lite0
from portrait.models.weights import load_weights

_FIXED = ("normalize", "boundary_logits", "logits", "output")  # the layers that are not copied


def start(
    model: keras.Model, path: Path | None, pictures: np.ndarray, exactly: bool = False
) -> None:
    """Loads the initial weights of an `ensemble`, for `models.start.start`.

    The logits of the ensemble are then the mean of the limited logits of the two networks.

    Args:
        model: the network.
        path: a folder with `lite_unet.weights.h5` and `selfie_net_big.weights.h5`; None: ImageNet's
            weights for the encoder of the U-Net, and random weights for the rest.
        pictures: unused.
        exactly: unused, because the alphas are always those of the weights.

    Raises:
        UserError: a file does not exist, or contains the weights of another network.
    """
    if path is None:
        efficientnet_lite0.start(model, path, pictures)
        return
    unet, selfie = (
        _member(name, path, model.input_shape[1:3]) for name in ("lite_unet", "selfie_net_big")
    )
    for member, mine in zip((unet, selfie), _branches(model), strict=True):
        theirs = [layer for layer in member.layers if layer.weights and layer.name not in _FIXED]
        for old, new in zip(theirs, mine, strict=True):
            new.set_weights(old.get_weights())

    # Each of the two logits is computed from the maps of its own network.
    heads = [member.get_layer("output").get_weights() for member in (unet, selfie)]
    kernel, bias = (np.zeros_like(each) for each in model.get_layer("logits").get_weights())
    first = 0
    for number, ((their_kernel, their_bias), scale) in enumerate(zip(heads, SCALES, strict=True)):
        last = first + their_kernel.shape[-1]
        kernel[:, :, number, first:last] = their_kernel[:, :, 0] / scale
        bias[number] = their_bias[0] / scale + 3
        first = last
    model.get_layer("logits").set_weights([kernel, bias])
    # SelfieNet is trained without the boundary head, so the band is the U-Net's alone.
    kernel, bias = unet.get_layer("boundary_logits").get_weights()
    missing = model.get_layer("boundary_logits").get_weights()[0].shape[2] - kernel.shape[2]
    padded = np.pad(kernel, [(0, 0), (0, 0), (0, missing), (0, 0)])
    model.get_layer("boundary_logits").set_weights([padded, bias])


def _member(full: str, folder: Path, shape: tuple[int, int]) -> keras.Model:
    name, size = split_name(full)
    model = build(name, shape, size)
    load_weights(model, folder / f"{full}.weights.h5")
    return model


def _branches(model: keras.Model) -> tuple[list, list]:
    """The layers with weights of the U-Net and of SelfieNet, in the order of `Model.layers`."""
    layers = [
        layer
        for layer in model.layers
        if layer.weights and layer.name.removeprefix(PREFIX) not in _FIXED
    ]
    selfie = [layer for layer in layers if layer.name.startswith(PREFIX)]
    return [layer for layer in layers if layer not in selfie], selfie
