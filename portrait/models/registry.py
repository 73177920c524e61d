"""The registry of networks, `SPECS`: the only place that lists their names and properties.

Flags, help texts, defaults, checks and benchmarks read from it, and the table in docs/extending.md
is tested against it. The module of a network is imported only when the network is built.
"""

import functools
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from portrait.backend import start_keras
from portrait.errors import UserError


@dataclass(frozen=True)
class Spec:
    """The properties of one network.

    Attributes:
        name: the name on the command line.
        title: a short description for help texts and tables.
        builder: "module:function" of the builder, which is called with (height, width) and, if the
            network has sizes, with `size`; empty for a method without weights.
        sizes: the names of its sizes, the default first; empty if there is only one.
        input_shape: the default of --input_shape.
        learning_rate: the default of --lr for training from random weights.
        tuned_learning_rate: the default of --lr for training from pretrained weights.
        imagenet: whether training starts from ImageNet weights by default.
        start: "module:function" that loads other initial weights, called as function(model, path,
            pictures); a path of None means the ImageNet weights.
        takes: the files that --start accepts, for messages.
        complete: whether a file for --start contains all weights, so that the network can be used
            without training. `start` then has an argument `exactly`, see `mediapipe.start`.
        matte: "module:function" from a photograph to its alpha, for a method without weights.
        takes_alpha: "coarse" for a network that refines the alpha of another one and is trained on
            tiles (`training.refining`), "previous" for one that sees the alpha of the frame before
            (`training.previous`), or empty. `BESIDE` has the further channels of the input.
        unexportable: the reason why the network cannot be exported; empty if it can.
    """

    name: str
    title: str
    builder: str = ""
    sizes: tuple[str, ...] = ()
    input_shape: str = "256"
    learning_rate: float = 0.001
    tuned_learning_rate: float = 0.001
    imagenet: bool = False
    start: str = ""
    takes: str = ""
    complete: bool = False
    matte: str = ""
    takes_alpha: str = ""
    unexportable: str = ""

    @property
    def names(self) -> list[str]:
        """The names of its folders and files, one for each size."""
        return [f"{self.name}_{size}" for size in self.sizes] or [self.name]


_BASELINES = "portrait.models.baselines"
_VGG16 = {
    "imagenet": True,
    "start": "portrait.models.vgg16:start",
    "takes": "VGG16's weights (.npz)",
    "tuned_learning_rate": 0.0001,  # a higher rate destroys the ImageNet features
}
SPECS: dict[str, Spec] = {
    spec.name: spec
    for spec in (
        # On the sample, a learning rate of 0.003 gave IoU 0.919 and MAD 0.038; 0.001 gave 0.866
        # and 0.227.
        Spec(
            "mattingnet",
            "separable residual encoder-decoder with a boundary head",
            "network:build",
            sizes=("big", "small"),
            learning_rate=0.003,
        ),
        Spec("fast_scnn", "Fast-SCNN with a boundary head", "fast_scnn:build"),
        Spec(
            "fast_scnn_skips",
            "Fast-SCNN with a decoder and skip connections up to half size",
            "fast_scnn:build_skips",
            start="portrait.models.start.fast_scnn_skips:start",
            takes="weights of fast_scnn",
        ),
        Spec(
            "lite_unet",
            "U-Net on EfficientNet-Lite0",
            "portrait.models.lite_unet:build",
            imagenet=True,
            start="portrait.models.start.efficientnet_lite0:start",
            takes="EfficientNet-Lite0's weights (.npz)",
        ),
        Spec(
            "ensemble",
            "U-Net and SelfieNet, mean of their logits",
            "portrait.models.ensemble:build",
            input_shape="288x256",
            imagenet=True,
            start="portrait.models.start.ensemble:start",
            takes="a folder with lite_unet.weights.h5 and selfie_net_big.weights.h5",
            complete=True,
        ),
        # MediaPipe's weights were trained on portraits resized to a square.
        Spec(
            "selfie_net",
            "MediaPipe's selfie segmentation network",
            "portrait.models.selfie_net:build",
            sizes=("big", "small", "deep"),
            input_shape="256x256",
            start="portrait.models.start.mediapipe:start",
            takes="MediaPipe's selfie segmentation (.tflite) or weights of the next smaller size",
            complete=True,
        ),
        Spec(
            "selfie_net_video",
            "SelfieNet that also sees the alpha of the frame before",
            "portrait.models.selfie_net:build_video",
            sizes=("big", "small", "deep"),
            input_shape="256x256",
            start="portrait.models.start.selfie_net_video:start",
            takes="weights of selfie_net of the same size",
            takes_alpha="previous",
        ),
        Spec("portrait_fcn", "PortraitFCN (FCN-8s)", f"{_BASELINES}.portrait_fcn:build", **_VGG16),
        Spec(
            "portrait_fcn_plus",
            "PortraitFCN+ with the face's frame and the mean shape",
            f"{_BASELINES}.portrait_fcn:build_plus",
            unexportable="it needs the face's box, which a detector outside the network finds",
            **_VGG16,
        ),
        Spec("deeplab_lfov", "DeepLab-LFOV", f"{_BASELINES}.deeplab_lfov:build", **_VGG16),
        Spec("cnn_resnet", "CNN and residual head", f"{_BASELINES}.cnn_resnet:build", **_VGG16),
        Spec("refine_unet", "two-stage refining U-Net", f"{_BASELINES}.refine_unet:build"),
        Spec(
            "refiner",
            "second stage: the alpha of another network at full size",
            "portrait.models.refiner:build",
            input_shape="128x128",
            learning_rate=0.003,
            takes_alpha="coarse",
        ),
        Spec(
            "kmeans",
            "K-means in colour and position, without training",
            matte=f"{_BASELINES}.kmeans:matte",
        ),
    )
}
BESIDE = {"": (), "previous": ("previous",), "coarse": ("guided", "coarse")}
"""The alphas that follow the picture in the input of a network, by its `Spec.takes_alpha`."""

SIZES = tuple(dict.fromkeys(size for spec in SPECS.values() for size in spec.sizes))
"""All values of --model_size."""

DEFAULT = "ensemble"
"""The shipped network that apply.py uses by default, see `inference.network.shipped_files`."""


def find(name: str) -> Spec:
    """Returns the network called `name`.

    Raises:
        UserError: there is no such network.
    """
    if name not in SPECS:
        raise UserError(f"there is no model {name!r}; the models are {', '.join(SPECS)}")
    return SPECS[name]


def full_name(name: str, size: str) -> str:
    """The name of a network's folder and files: NAME_SIZE, or NAME if it has one size."""
    return f"{name}_{size}" if find(name).sizes else name


def split_name(full: str) -> tuple[str, str]:
    """The inverse of `full_name`: (name, size), with the default size for all other names."""
    name, _, size = full.rpartition("_")
    return (name, size) if name in SPECS and size in SPECS[name].sizes else (full, SIZES[0])


def imported(place: str) -> Any:
    """Imports the function that "module:function" names."""
    module, _, function = place.partition(":")
    return getattr(importlib.import_module(module), function)


def builder(name: str, size: str = SIZES[0]) -> Callable:
    """Returns the function that builds the network `name` from (height, width).

    Args:
        name: a key of `SPECS`.
        size: one of its sizes; ignored if the network has only one.

    Raises:
        UserError: there is no such network or size, the method has no weights, or Keras's backend
            is not installed.
    """
    spec = find(name)
    if not spec.builder:
        raise UserError(f"{name} is not a network: it has no weights")
    start_keras()  # gives a short error message if the backend is missing
    if not spec.sizes:
        return imported(spec.builder)
    if size not in spec.sizes:
        raise UserError(f"--model_size={size}: {name} comes in {', '.join(spec.sizes)}")
    return functools.partial(imported(spec.builder), size=size)


def takes_alpha(full: str) -> str:
    """`Spec.takes_alpha` of a network by its full name; empty if it is unknown."""
    name = split_name(full)[0]
    return SPECS[name].takes_alpha if name in SPECS else ""


def check_exportable(name: str) -> None:
    """Raises UserError if the network `name` cannot be exported."""
    spec = find(split_name(name)[0])
    if spec.unexportable:
        raise UserError(f"{name} cannot be exported: {spec.unexportable}")


def parse_input_shape(text: str) -> tuple[int, int]:
    """Parses `--input_shape`.

    "256" is (256, 192), because a width that is left out is 3/4 of the height. "320x240" is
    (320, 240).

    Returns:
        (height, width) in pixels.

    Raises:
        UserError: `text` does not have this form, or a side is not a multiple of 32 (the networks
            halve the picture five times).
    """
    parts = str(text).lower().split("x")
    if not 1 <= len(parts) <= 2 or not all(part.strip().isdecimal() for part in parts):
        raise UserError(
            f"--input_shape={text}: write HEIGHT or HEIGHTxWIDTH, such as 256 or 256x192"
        )
    height = int(parts[0])
    width = int(parts[1]) if len(parts) == 2 else height * 3 // 4
    if height % 32 or width % 32 or not height or not width:
        raise UserError(
            f"--input_shape={text}: height {height} and width {width} must be multiples of 32"
            " (128 is 128x96, 256 is 256x192, 384 is 384x288)"
        )
    return height, width
