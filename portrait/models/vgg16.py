"""VGG16 without its classifier (Simonyan, Zisserman, 1409.1556): its input, layers and weights.

Networks that use VGG16's weights are built with `block`. Its layers have the names of
`keras.applications`, `block1_conv1` to `block5_conv3`, and `load_into` finds them by name.
"""

from collections.abc import Mapping
from pathlib import Path

import keras
import numpy as np

from portrait.errors import UserError, first_line
from portrait.models import layers
from portrait.models.weights import read_arrays

# VGG16 was trained with Caffe on BGR pictures in 0..255 minus this mean, without scaling.
MEAN_BGR = (103.939, 116.779, 123.68)
# For each block: filters and number of convolutions.
BLOCKS = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
LAYERS = tuple(
    f"block{block}_conv{number}"
    for block, (_, count) in enumerate(BLOCKS, start=1)
    for number in range(1, count + 1)
)


def normalize(image):
    """Converts RGB to the input of VGG16 with a frozen 1x1 convolution.

    Args:
        image: (N, H, W, 3), RGB in 0..255.

    Returns:
        (N, H, W, 3): BGR minus `MEAN_BGR`.
    """
    return layers.normalize(image, mean=MEAN_BGR, std=(1, 1, 1), order=(2, 1, 0))


def block(x, number: int, dilation: int = 1):
    """The 3x3 convolutions with ReLU of a block, without the pooling layer after them.

    Args:
        x: (N, H, W, C).
        number: the number of the block, 1 to 5.
        dilation: the dilation rate of its kernels. VGG16's weights can be used with any rate.

    Returns:
        (N, H, W, filters of the block). `load_into` loads the weights.
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
    """Reads the weights of all 13 convolutions, trained on ImageNet.

    Args:
        path: an .npz file with the keys that are returned. If it is empty, `keras.applications`
            downloads the weights once (59 MB).

    Returns:
        For each name in `LAYERS` the float32 arrays `NAME/kernel`, (3, 3, inputs, filters), and
        `NAME/bias`, (filters,). They expect the output of `normalize` as their input.

    Raises:
        UserError: the file does not exist or does not contain these arrays, or the download fails.
    """
    weights = read_arrays(path) if path else _from_keras()
    for name, shape in _shapes().items():
        if name not in weights or weights[name].shape != shape:
            found = f"is {weights[name].shape}" if name in weights else "is not there"
            raise UserError(f"{path} does not contain VGG16: {name} {found}, it should be {shape}")
    return {name: np.asarray(weights[name], np.float32) for name in _shapes()}


def load_into(
    model: keras.Model, weights: Mapping[str, np.ndarray], trainable: bool = True
) -> None:
    """Loads VGG16's weights into the layers of `model` that have the names of VGG16's layers.

    If a layer has more input channels than the layer of VGG16, the weights of the additional
    channels are zeros. The layer then computes the same as in VGG16 until it is trained.

    Args:
        model: a network with at least one such layer (see `uses_vgg16`).
        weights: the result of `conv_weights`.
        trainable: whether training may change these layers.

    Raises:
        ValueError: `model` has no such layer, or a layer of another shape.
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
    """Loads VGG16's weights into a network, for `models.start.start`.

    Args:
        model: a network that contains layers of VGG16.
        path: an `.npz` file, see `conv_weights`; None: the weights of `keras.applications`.
        pictures: not used.

    Raises:
        UserError: see `conv_weights`.
    """
    load_into(model, conv_weights(str(path) if path else ""))


def uses_vgg16(model: keras.Model) -> bool:
    """Whether `model` has layers with the names of VGG16's layers."""
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
            f"VGG16's weights cannot be downloaded ({reason}): give them as an .npz file"
        ) from error
    weights = {}
    for name in LAYERS:
        kernel, bias = model.get_layer(name).get_weights()
        weights |= {f"{name}/kernel": kernel, f"{name}/bias": bias}
    return weights
