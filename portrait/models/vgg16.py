"""VGG16 without its classifier (Simonyan, Zisserman, 1409.1556): its input, layers and weights.

Networks that start from it are made of `block`, whose layers are called as `keras.applications`
calls them, `block1_conv1` to `block5_conv3`; `load_into` fills them by these names.
"""

from collections.abc import Mapping
from pathlib import Path

import keras
import numpy as np

from portrait.errors import UserError, first_line
from portrait.models import layers
from portrait.models.weights import read_arrays

# It was trained by Caffe: blue, green, red from 0 to 255, less their means, not scaled.
MEAN_BGR = (103.939, 116.779, 123.68)
# Filters and number of the convolutions of each block.
BLOCKS = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
LAYERS = tuple(
    f"block{block}_conv{number}"
    for block, (_, count) in enumerate(BLOCKS, start=1)
    for number in range(1, count + 1)
)


def normalize(image):
    """Raw RGB 0..255 to what VGG16 was trained on, as a frozen 1x1 convolution.

    Args:
        image: (N, H, W, 3).

    Returns:
        (N, H, W, 3): BGR less `MEAN_BGR`.
    """
    return layers.normalize(image, mean=MEAN_BGR, std=(1, 1, 1), order=(2, 1, 0))


def block(x, number: int, dilation: int = 1):
    """The 3x3 convolutions with ReLU of block `number`, 1 to 5, without the pooling after them.

    Args:
        x: (N, H, W, C).
        number: of the block.
        dilation: distance between the taps of its kernels, whose weights fit any distance.

    Returns:
        (N, H, W, filters of that block), with fresh weights: see `load_into`.
    """
    filters, count = BLOCKS[number - 1]
    for index in range(1, count + 1):
        x = keras.layers.Conv2D(
            filters,
            3,
            padding="same",
            dilation_rate=dilation,
            activation="relu",
            kernel_initializer="he_normal",
            name=f"block{number}_conv{index}",
        )(x)
    return x


def conv_weights(path: str = "") -> dict[str, np.ndarray]:
    """The weights of all 13 convolutions, trained on ImageNet.

    Args:
        path: an .npz file with the keys that are returned; empty: `keras.applications`' weights,
            which it downloads once (59 MB).

    Returns:
        For each name in `LAYERS` float32 arrays `NAME/kernel`, (3, 3, inputs, filters), and
        `NAME/bias`, (filters,). They expect what `normalize` gives.

    Raises:
        UserError: no such file, it holds something else, or the download fails.
    """
    weights = read_arrays(path) if path else _from_keras()
    for name, shape in _shapes().items():
        if name not in weights or weights[name].shape != shape:
            found = f"is {weights[name].shape}" if name in weights else "is not there"
            raise UserError(f"{path} does not hold VGG16: {name} {found}, it should be {shape}")
    return {name: np.asarray(weights[name], np.float32) for name in _shapes()}


def load_into(
    model: keras.Model, weights: Mapping[str, np.ndarray], trainable: bool = True
) -> None:
    """Fills those layers of `model` that are called as VGG16's.

    A layer that takes more channels than VGG16's gets zeros for those beyond: at first it sees
    what VGG16 sees, and can learn to see more.

    Args:
        model: has at least one such layer (see `uses_vgg16`).
        weights: as `conv_weights` gives them.
        trainable: whether training may change these layers from now on.

    Raises:
        ValueError: it has none, or one that is not of VGG16's shape.
    """
    if not uses_vgg16(model):
        raise ValueError(f"{model.name} has no layer of VGG16")
    for layer in model.layers:
        if layer.name not in LAYERS:
            continue
        kernel, bias = weights[f"{layer.name}/kernel"], weights[f"{layer.name}/bias"]
        more = layer.kernel.shape[2] - kernel.shape[2]
        if more > 0:
            kernel = np.pad(kernel, [(0, 0), (0, 0), (0, more), (0, 0)])
        layer.set_weights([kernel, bias])
        layer.trainable = trainable


def start(model: keras.Model, path: Path | None, pictures: np.ndarray) -> None:
    """Fills the layers of VGG16 in a fresh network, for `models.start.start`.

    Args:
        model: a network that contains layers of VGG16.
        path: as `conv_weights` takes it; None: `keras.applications`' weights.
        pictures: not needed.

    Raises:
        UserError: as `conv_weights`.
    """
    load_into(model, conv_weights(str(path) if path else ""))


def uses_vgg16(model: keras.Model) -> bool:
    """Whether `model` has layers that are called as VGG16's."""
    return any(layer.name in LAYERS for layer in model.layers)


def _shapes() -> dict[str, tuple[int, ...]]:
    """The shape of every array that `conv_weights` returns."""
    shapes: dict[str, tuple[int, ...]] = {}
    inputs = 3
    for name in LAYERS:
        filters = BLOCKS[int(name[5]) - 1][0]
        shapes[f"{name}/kernel"] = (3, 3, inputs, filters)
        shapes[f"{name}/bias"] = (filters,)
        inputs = filters
    return shapes


def _from_keras() -> dict[str, np.ndarray]:
    try:
        model = keras.applications.VGG16(include_top=False, weights="imagenet")
    except Exception as error:  # Keras raises a bare Exception where the download fails
        reason = first_line(error)
        raise UserError(
            f"VGG16's weights cannot be downloaded ({reason}): give an .npz file of them"
        ) from error
    weights = {}
    for name in LAYERS:
        kernel, bias = model.get_layer(name).get_weights()
        weights |= {f"{name}/kernel": kernel, f"{name}/bias": bias}
    return weights
