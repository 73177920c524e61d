"""The networks by name, and the form of a trained network that phones get."""

import functools
import inspect
import os
import warnings
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

import fast_scnn
import imagenet
import lite_unet
import network
import selfie_net
import slimming
import vgg16
import widening
from baselines import cnn_resnet, deeplab_lfov, portrait_fcn, refine_unet
from files import UserError, first_line
from pairs import evenly

MODELS: dict[str, Callable] = {
    "mattingnet": network.build,
    "fast_scnn": fast_scnn.build,
    "lite_unet": lite_unet.build,
    "selfie_net": selfie_net.build,
    "portrait_fcn": portrait_fcn.build,
    "portrait_fcn_plus": portrait_fcn.build_plus,
    "deeplab_lfov": deeplab_lfov.build,
    "cnn_resnet": cnn_resnet.build,
    "refine_unet": refine_unet.build,
}

# Those that come in sizes; the others have none.
SIZES = {
    "mattingnet": ("big", "small"),
    "lite_unet": ("big", "small"),
    "selfie_net": ("big", "small", "deep"),
}
VGG16_NETWORKS = ("portrait_fcn", "portrait_fcn_plus", "deeplab_lfov", "cnn_resnet")
# Beginnings of the full names of those that start from the weights of a flag.
_STARTS = {
    "vgg_weights": VGG16_NETWORKS,
    "lite0_weights": ("lite_unet",),
    "wide_weights": ("lite_unet_small",),
    "selfie_weights": ("selfie_net",),
}
# How many pictures show what can be cut away of a network, or what its layers give.
_TO_START = 96


def full_name(name: str, size: str) -> str:
    """The name of a network's folder and files: with the size, where it has sizes."""
    return f"{name}_{size}" if name in SIZES else name


def split_name(full: str) -> tuple[str, str]:
    """The name and the size of which `full_name` makes `full`."""
    name, _, size = full.rpartition("_")
    return (name, size) if size in SIZES.get(name, ()) else (full, "big")


def builds_in_tf_keras(build: Callable) -> bool:
    """Whether `build` makes its network in the Keras that it is given, such as tf_keras."""
    return "framework" in inspect.signature(build).parameters


def compressible(full: str) -> bool:
    """Whether the network of this full name can be built in tf_keras, too, as `compress` needs."""
    build = MODELS.get(split_name(full)[0])
    return build is not None and builds_in_tf_keras(build)


def check_compressible(full: str, build: Callable) -> None:
    """Raises UserError: `build`, of the network of this full name, makes it in Keras 3 only."""
    if not builds_in_tf_keras(build):
        raise UserError(f"{full} cannot be compressed: it is written for Keras 3 only")


def check_exportable(full: str) -> None:
    """Raises UserError: the network of this full name takes more than a picture.

    Told by the name, where the network is not built yet; `for_inference` looks at its inputs.
    """
    if full == "portrait_fcn_plus":
        raise _needs_face(full)


def check_start(full: str, flag: str) -> None:
    """Raises UserError: the network of this full name does not start from the weights of `flag`."""
    if not full.startswith(_STARTS[flag]):
        raise UserError(f"--{flag} is for {', '.join(_STARTS[flag])}, not for {full}")


def _needs_face(full: str) -> UserError:
    return UserError(
        f"{full} cannot be exported: it needs the face's box, which a detector outside the network "
        "finds"
    )


def builder(name: str, size: str = "big") -> Callable:
    """What builds the network `name` from (height, width).

    Args:
        name: a key of `MODELS`.
        size: one of its `SIZES`; of networks that have none any does.

    Raises:
        UserError: no such network, or not in this size.
    """
    if name not in MODELS:
        raise UserError(f"there is no model {name!r}; the models are {', '.join(MODELS)}")
    if name not in SIZES:
        return MODELS[name]
    if size not in SIZES[name]:
        raise UserError(f"--model_size={size}: {name} comes in {', '.join(SIZES[name])}")
    return functools.partial(MODELS[name], size=size)


def build(name: str, input_shape: tuple[int, int], size: str = "big") -> keras.Model:
    """The network `name` for pictures of (height, width), with fresh weights; see `builder`."""
    return builder(name, size)(input_shape)


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
        check_start(model.name, "wide_weights")
    if selfie_weights:
        check_start(model.name, "selfie_weights")
    if model.name == "lite_unet_small" and (wide_weights or lite0_weights != "none"):
        wide = build("lite_unet", model.input_shape[1:3], "big")
        if wide_weights:
            load_weights(wide, wide_weights)
        else:
            start(wide, pictures, lite0_weights)
        slimming.slim(wide, model, _few(pictures))
    elif imagenet.uses_lite0(model) and lite0_weights != "none":
        imagenet.load_into(model, imagenet.read_weights(lite0_weights))
    if selfie_weights:
        _start_selfie_net(model, pictures, Path(selfie_weights), exactly)
    if vgg16.uses_vgg16(model) and vgg_weights != "none":
        vgg16.load_into(model, vgg16.conv_weights(vgg_weights))


def _few(pictures: np.ndarray) -> np.ndarray:
    return np.stack(evenly(pictures, _TO_START))


def _start_selfie_net(model: keras.Model, pictures: np.ndarray, path: Path, exactly: bool) -> None:
    import selfie_start  # which needs LiteRT

    shape = model.input_shape[1:3]
    if path.suffix == ".tflite":
        narrow = build("selfie_net", shape, "small")
        selfie_start.load_into(narrow, selfie_start.read_weights(path), _few(pictures))
        if not exactly:
            selfie_start.soften(narrow)
    else:
        narrow = build("selfie_net", shape, "big" if model.name == "selfie_net_deep" else "small")
        load_weights(narrow, path)
    widening.widen(narrow, model)


def for_inference(model: keras.Model, channels: int = 3) -> keras.Model:
    """The network with one output, the alpha, sharing the weights of `model`.

    Args:
        model: as `build` makes it.
        channels: 3 takes RGB; 4 takes RGBA and ignores its alpha, which is what Android's bitmaps
            and GPU textures hold.

    Returns:
        A model from (N, H, W, channels) in 0..255 to the alpha (N, H, W, 1) in 0..1.

    Raises:
        UserError: the network needs more than the picture.
    """
    if channels not in (3, 4):
        raise ValueError(f"channels must be 3 (RGB) or 4 (RGBA), not {channels}")
    if len(model.inputs) > 1:
        raise _needs_face(model.name)
    if channels == 3:
        return keras.Model(model.input, model.output["output"], name=model.name)
    trained = model.get_layer("normalize")
    kernel, bias = trained.get_weights()
    image = keras.Input((*model.input_shape[1:3], channels), name="image")
    rgba = keras.layers.Conv2D(3, 1, dtype="float32", trainable=False, name="normalize")
    body = keras.Model(trained.output, model.output["output"])
    alpha = body(rgba(image))
    rgba.set_weights([np.pad(kernel, [(0, 0), (0, 0), (0, 1), (0, 0)]), bias])
    return keras.Model(image, alpha, name=f"{model.name}_rgba")


def load_weights(model: keras.Model, path: str | os.PathLike) -> None:
    """Loads `.weights.h5` (or an older Keras's `.h5`) into `model`.

    Raises:
        UserError: no such file, not weights, or the weights of another network.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"there is no weights file {path}")
    try:
        with warnings.catch_warnings(action="ignore"):  # one for each layer of another network
            model.load_weights(path)
    except (OSError, ValueError, KeyError) as error:
        reason = first_line(error)[:200]
        reason = reason.partition(" Example error message")[0]  # which would follow on other lines
        raise UserError(f"{path} does not hold the weights of {model.name}: {reason}") from error
