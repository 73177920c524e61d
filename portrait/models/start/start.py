"""Where the weights of a fresh network come from."""

import os
from pathlib import Path

import keras
import numpy as np

from portrait.errors import UserError
from portrait.models import vgg16
from portrait.models.build import build
from portrait.models.start import efficientnet_lite0, slimming
from portrait.models.weights import load_weights
from portrait.util import evenly

# How many pictures show what can be cut away of a network, or what its layers give.
_TO_START = 96


def start(
    model: keras.Model,
    pictures: np.ndarray,
    lite0_weights: str = "",
    vgg_weights: str = "",
    wide_weights: str | os.PathLike = "",
    selfie_weights: str | os.PathLike = "",
    exactly: bool = False,
) -> None:
    """Fills a fresh network with what its training starts from: ImageNet's weights, mostly.

    `vgg16.load_into` and `imagenet.load_into` say which layers these are. The small `lite_unet` is
    cut out of the big one (`slimming.py`).

    Args:
        model: as `build` makes it.
        pictures: uint8 (N, H, W, 3) of the network's size, such as it will be trained on.
        lite0_weights: as `imagenet.read_weights` takes it; "none": leave those layers.
        vgg_weights: as `vgg16.conv_weights` takes it; "none": leave those layers.
        wide_weights: weights of the big `lite_unet`. Empty: EfficientNet-Lite0's.
        selfie_weights: MediaPipe's file (`selfie_start.py`), or weights of the small `selfie_net`,
            or, for the deep one, of the big one. Empty: start from random weights.
        exactly: give MediaPipe's alphas as they are, where training goes on better from softer ones
            (`selfie_start.soften`).

    Raises:
        UserError: no such weights, or `wide_weights` or `selfie_weights` for another network.
    """
    if wide_weights:
        _check(model, "wide_weights", "lite_unet_small")
    if selfie_weights:
        _check(model, "selfie_weights", "selfie_net")
    if model.name == "lite_unet_small" and (wide_weights or lite0_weights != "none"):
        wide = build("lite_unet", model.input_shape[1:3], "big")
        if wide_weights:
            load_weights(wide, wide_weights)
        else:
            start(wide, pictures, lite0_weights)
        slimming.slim(wide, model, _few(pictures))
    elif efficientnet_lite0.uses_lite0(model) and lite0_weights != "none":
        efficientnet_lite0.load_into(model, efficientnet_lite0.read_weights(lite0_weights))
    if selfie_weights:
        _start_selfie_net(model, pictures, Path(selfie_weights), exactly)
    if vgg16.uses_vgg16(model) and vgg_weights != "none":
        vgg16.load_into(model, vgg16.conv_weights(vgg_weights))


def _check(model: keras.Model, flag: str, name: str) -> None:
    if not model.name.startswith(name):
        raise UserError(f"--{flag} is for {name}, not for {model.name}")


def _few(pictures: np.ndarray) -> np.ndarray:
    return np.stack(evenly(pictures, _TO_START))


def _start_selfie_net(model: keras.Model, pictures: np.ndarray, path: Path, exactly: bool) -> None:
    from portrait.models.start import mediapipe  # which needs LiteRT

    shape = model.input_shape[1:3]
    if path.suffix == ".tflite":
        narrow = build("selfie_net", shape, "small")
        mediapipe.load_into(narrow, mediapipe.read_weights(path), _few(pictures))
        if not exactly:
            mediapipe.soften(narrow)
    else:
        narrow = build("selfie_net", shape, "big" if model.name == "selfie_net_deep" else "small")
        load_weights(narrow, path)
    mediapipe.widen(narrow, model)
