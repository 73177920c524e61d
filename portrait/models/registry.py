"""What is known of each network, in one place: `SPECS`.

Flags and their help, defaults, checks, benchmarks and the table in docs/extending.md read from
here. Nothing is imported before a network is built.
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
    """One network.

    Attributes:
        name: on the command line.
        title: what it is, for help texts and tables.
        builder: "module:function" of the function that builds it from (height, width), and from
            `size` where there are sizes; empty for a method that has no weights.
        sizes: the sizes it comes in, the default first; empty where there is only one.
        input_shape: the default of --input_shape.
        learning_rate: the default of --lr for a training that starts from random weights.
        tuned_learning_rate: the same for one that starts from trained weights.
        imagenet: whether there are weights of ImageNet that it starts from by default.
        start: "module:function" that fills it with other weights, called as function(model, path,
            pictures); a path of None means ImageNet's.
        takes: what --start takes for this network beside `imagenet` and `none`, for messages.
        complete: whether a file for --start holds a whole network, which can be used without a
            training. Its `start` has an argument `exactly`, which keeps the alphas as they are.
        matte: "module:function" from a photograph to its alpha, of a method without weights.
        unexportable: why it cannot be exported; empty where it can.
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
    unexportable: str = ""

    @property
    def names(self) -> list[str]:
        """The names of its folders and files: with the size, where it has sizes."""
        return [f"{self.name}_{size}" for size in self.sizes] or [self.name]


_BASELINES = "portrait.models.baselines"
_VGG16 = {
    "imagenet": True,
    "start": "portrait.models.vgg16:start",
    "takes": "VGG16's weights (.npz)",
    "tuned_learning_rate": 0.0001,  # a higher rate destroys what they have learned from ImageNet
}
SPECS: dict[str, Spec] = {
    spec.name: spec
    for spec in (
        # With 0.003 MattingNet ended at IoU 0.919, MAD 0.038 on the sample; with 0.001 at 0.866
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
            "lite_unet",
            "U-Net on EfficientNet-Lite0",
            "portrait.models.lite_unet:build",
            sizes=("big", "small"),
            imagenet=True,
            start="portrait.models.start.efficientnet_lite0:start",
            takes="EfficientNet-Lite0's weights (.npz), or for the small network the big one's",
        ),
        # MediaPipe's weights were trained on portraits that were squeezed into a square.
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
            "kmeans",
            "K-means in colour and position, without training",
            matte=f"{_BASELINES}.kmeans:matte",
        ),
    )
}
SIZES = tuple(dict.fromkeys(size for spec in SPECS.values() for size in spec.sizes))
"""All values of --model_size."""


def find(name: str) -> Spec:
    """The network called `name`.

    Raises:
        UserError: there is none.
    """
    if name not in SPECS:
        raise UserError(f"there is no model {name!r}; the models are {', '.join(SPECS)}")
    return SPECS[name]


def full_name(name: str, size: str) -> str:
    """The name of a network's folder and files: with the size, where it has sizes."""
    return f"{name}_{size}" if find(name).sizes else name


def split_name(full: str) -> tuple[str, str]:
    """The name and the size of which `full_name` makes `full`; the name itself if it makes none."""
    name, _, size = full.rpartition("_")
    return (name, size) if name in SPECS and size in SPECS[name].sizes else (full, SIZES[0])


def imported(place: str) -> Any:
    """The function that "module:function" names."""
    module, _, function = place.partition(":")
    return getattr(importlib.import_module(module), function)


def builder(name: str, size: str = SIZES[0]) -> Callable:
    """The function that builds the network `name` from (height, width).

    Args:
        name: a key of `SPECS`.
        size: one of its sizes; ignored for networks that have none.

    Raises:
        UserError: no such network, not in this size, or a method without weights; Keras's backend
            is not installed.
    """
    spec = find(name)
    if not spec.builder:
        raise UserError(f"{name} is not a network: it has no weights")
    start_keras()  # which says in one line what the import would say in many
    if not spec.sizes:
        return imported(spec.builder)
    if size not in spec.sizes:
        raise UserError(f"--model_size={size}: {name} comes in {', '.join(spec.sizes)}")
    return functools.partial(imported(spec.builder), size=size)


def check_exportable(name: str) -> None:
    """Raises UserError if the network `name` cannot be exported."""
    spec = find(split_name(name)[0])
    if spec.unexportable:
        raise UserError(f"{name} cannot be exported: {spec.unexportable}")


def parse_input_shape(text: str) -> tuple[int, int]:
    """Reads `--input_shape`: "256" is (256, 192), a portrait of 3/4; "320x240" is (320, 240).

    Returns:
        (height, width) in pixels.

    Raises:
        UserError: not numbers, or not multiples of 32 (the networks halve a picture five times).
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
