"""The transform network: paints an image in a style, in one pass.

After "Perceptual Losses for Real-Time Style Transfer" (Johnson et al., 1603.08155), with instance
normalisation (Ulyanov et al., 1607.08022), enlargement followed by a convolution instead of
transposed convolutions, which leave a checkerboard (Odena et al., 2016), and reflecting borders
instead of zeros, which leave a frame. With several styles, only the scale and shift after each
normalisation belong to a style (Dumoulin et al., "A Learned Representation for Artistic Style",
1610.07629); every mix of them is a style, too.
"""

from collections.abc import Sequence

import keras
import numpy as np

from portrait.models.layers import normalize

CHANNELS = {"big": (32, 64, 128), "small": (16, 32, 64)}
"""Channels at full, half and quarter size; "big" is the paper's network."""

RESIDUAL_BLOCKS = 5
STRIDE = 4
"""Heights and widths must be multiples of this number."""
LEAST_SIZE = 16
"""The smallest height and width, which mirroring at the borders requires."""

EPSILON = 1e-4
"""Added to variances: above float16's smallest normal number; phones flush smaller ones to 0."""
_KERNEL_NORM, _KERNEL_NORM_OF_SUMS = 1.0, 0.25  # see `fix_style`
_OF_SUMS = {f"conv_{4 + 2 * block}" for block in range(1, RESIDUAL_BLOCKS + 1)}
"""Convolutions whose input is a sum of several normalised maps, with larger values."""
_STEP = 10.0  # see `StyleAffine`


@keras.saving.register_keras_serializable("style_transfer")
class ReflectionPadding(keras.layers.Layer):
    """Adds `width` mirrored pixels on all four sides, without repeating the border."""

    def __init__(self, width: int, **kwargs):
        super().__init__(**kwargs)
        self.width = width

    def call(self, x):
        sides = (self.width, self.width)
        return keras.ops.pad(x, ((0, 0), sides, sides, (0, 0)), mode="reflect")

    def compute_output_shape(self, input_shape):
        n, height, width, channels = input_shape
        more = 2 * self.width
        return (n, height and height + more, width and width + more, channels)

    def get_config(self):
        return super().get_config() | {"width": self.width}


@keras.saving.register_keras_serializable("style_transfer")
class InstanceNormalization(keras.layers.Layer):
    """Mean 0 and variance 1 of every channel of every picture, over its pixels.

    All tensors have rank 4, the largest rank that phone GPUs support; Keras's GroupNormalization
    has tensors of rank 5. `StyleAffine` then scales and shifts.
    """

    def call(self, x):
        mean = keras.ops.mean(x, axis=(1, 2), keepdims=True)
        centred = x - mean
        variance = keras.ops.mean(keras.ops.square(centred), axis=(1, 2), keepdims=True)
        return centred * keras.ops.rsqrt(variance + EPSILON)

    def compute_output_shape(self, input_shape):
        return input_shape


@keras.saving.register_keras_serializable("style_transfer")
class StyleAffine(keras.layers.Layer):
    """A scale and a shift of every channel for each of several styles.

    Called with the features (N, H, W, C) and the share of each style (N, styles). The weights are a
    tenth of the shift and of the scale minus 1. Adam's steps have the same size for all weights,
    and without this factor it needs hundreds of batches to separate the styles.
    """

    def __init__(self, styles: int, **kwargs):
        super().__init__(**kwargs)
        self.styles = styles

    def build(self, x_shape, mix_shape):
        shape = (self.styles, x_shape[-1])
        self.gamma = self.add_weight(name="gamma", shape=shape, initializer="zeros")
        self.beta = self.add_weight(name="beta", shape=shape, initializer="zeros")

    def call(self, x, mix):
        scale = 1.0 + _STEP * keras.ops.matmul(mix, self.gamma)
        shift = _STEP * keras.ops.matmul(mix, self.beta)
        return x * scale[:, None, None, :] + shift[:, None, None, :]

    def compute_output_shape(self, x_shape, mix_shape):
        return x_shape

    def get_config(self):
        return super().get_config() | {"styles": self.styles}


class _Blocks:
    """The layers of the network; `mix` is None for the network of one fixed style."""

    def __init__(self, mix=None):
        self.mix = mix
        self.count = 0

    def conv(self, x, channels: int, kernel: int = 3, stride: int = 1, relu: bool = True):
        """Convolution with mirrored borders, instance normalisation and optionally ReLU."""
        self.count += 1
        x = ReflectionPadding(kernel // 2)(x)
        # No bias: the normalisation would remove it.
        x = keras.layers.Conv2D(
            channels, kernel, strides=stride, use_bias=False, name=f"conv_{self.count}"
        )(x)
        x = InstanceNormalization()(x)
        name = f"affine_{self.count}"
        if self.mix is None:
            # One operation with its ReLU on phone GPUs, and no constant to broadcast.
            x = keras.layers.DepthwiseConv2D(1, depthwise_initializer="ones", name=name)(x)
        else:
            x = StyleAffine(self.mix.shape[-1], name=name)(x, self.mix)
        return keras.layers.ReLU()(x) if relu else x

    def residual(self, x):
        branch = self.conv(self.conv(x, x.shape[-1]), x.shape[-1], relu=False)
        return keras.layers.Add()([x, branch])

    def up(self, x, channels: int):
        return self.conv(keras.layers.UpSampling2D(2, interpolation="bilinear")(x), channels)


def build(
    input_shape: tuple[int | None, int | None] = (None, None),
    size: str = "big",
    styles: int = 0,
) -> keras.Model:
    """The transform network with fresh weights.

    Args:
        input_shape: (height, width), multiples of 4; None: any.
        size: "big" (1.7 M parameters) or "small" (0.43 M, about four times as fast).
        styles: the number of styles; 0 makes the network of one fixed style, see `fix_style`.

    Returns:
        A model from raw RGB (N, H, W, 3) in 0..255 to the painted picture of the same shape and
        range. With several styles, the input is a dict: `image`, and `mix`, the share of each style
        (N, styles).
    """
    image = keras.Input((*input_shape, 3), name="image")
    mix = keras.Input((styles,), name="mix") if styles else None
    blocks, (full, half, quarter) = _Blocks(mix), CHANNELS[size]
    x = blocks.conv(normalize(image), full, kernel=9)
    x = blocks.conv(x, half, stride=2)
    x = blocks.conv(x, quarter, stride=2)
    for _ in range(RESIDUAL_BLOCKS):
        x = blocks.residual(x)
    x = blocks.up(x, half)
    x = blocks.up(x, full)
    x = ReflectionPadding(4)(x)
    x = keras.layers.Conv2D(3, 9, activation="sigmoid", dtype="float32", name="paint")(x)
    painted = keras.layers.Rescaling(255.0, name="painted")(x)
    inputs = image if mix is None else {"image": image, "mix": mix}
    return keras.Model(inputs, painted, name=f"style_{size}")


def fix_style(
    model: keras.Model,
    mix: Sequence[float],
    input_shape: tuple[int | None, int | None] = (None, None),
) -> keras.Model:
    """Makes the network of one style from a mix of the styles of `model`.

    Phone GPUs compute in float16, whose largest value is 65504, and the normalisation squares the
    results of the convolutions. It also removes the scale of a convolution's kernel, so each kernel
    gets a norm of 1, or of 1/4 after the residual blocks. The largest square of the shipped styles
    on portraits is then 3,800.

    Args:
        model: a trained model from `build`.
        mix: the share of each style.
        input_shape: (height, width) of the new network.

    Returns:
        A model with one input, as from `build(..., styles=0)`, with its own weights.
    """
    size = model.name.removeprefix("style_")
    fixed = build(input_shape, size)
    for layer in fixed.layers:
        weights = model.get_layer(layer.name).get_weights() if layer.weights else []
        if layer.name.startswith("affine_"):
            gamma, beta = (_STEP * np.tensordot(np.float32(mix), each, 1) for each in weights)
            weights = [(1.0 + gamma)[None, None, :, None], beta]
        elif layer.name.startswith("conv_"):
            (kernel,) = weights
            norm = np.sqrt(np.sum(np.square(kernel), axis=(0, 1, 2)))
            wanted = _KERNEL_NORM_OF_SUMS if layer.name in _OF_SUMS else _KERNEL_NORM
            weights = [kernel * (wanted / np.maximum(norm, 1e-12))]
        layer.set_weights(weights)
    return fixed
