"""MattingNet, big and small: encoder-decoder of separable residual blocks with a boundary head.

After "Towards Real-Time Automatic Portrait Matting on Mobile Devices" (Seo et al., 1904.03816) and
"Boundary-Aware Network for Fast and High-Accuracy Portrait Segmentation" (Chen et al., 1901.03814).
"""

import types

import keras

from portrait.models.layers import normalize


class _Blocks:
    """The pieces that both sizes are made of, in one framework (keras or tf_keras)."""

    def __init__(self, framework: types.ModuleType):
        self.layers = framework.layers
        self.initializers = framework.initializers

    def prelu(self, x):
        """PReLU with one slope a channel, which every phone GPU takes."""
        return self.layers.PReLU(shared_axes=[1, 2])(x)

    def separable(self, x, channels: int, gain: float = 1.0):
        """Separable 3x3 convolution whose output starts with `gain` times He's deviation."""
        return self.layers.SeparableConv2D(
            channels,
            3,
            padding="same",
            # Each filter sees 9 values. Keras's he_normal counts 9 x channels, which would start
            # the features of a block of 128 channels a hundred times too small.
            depthwise_initializer=self.initializers.RandomNormal(stddev=1 / 3),
            pointwise_initializer=self.initializers.VarianceScaling(2 * gain**2),
        )(x)

    def residual(self, x, count: int):
        """`count` blocks of PReLU, separable 3x3, PReLU, separable 3x3, plus the input.

        Without normalisation layers, branches that start small keep a deep sum of them in range
        (Zhang et al., "Fixup Initialization", 1901.09321).
        """
        channels = x.shape[-1]
        for _ in range(count):
            branch = self.separable(self.prelu(x), channels)
            branch = self.separable(self.prelu(branch), channels, gain=0.1)
            x = self.layers.Add()([x, branch])
        return x

    def conv(self, x, channels: int, kernel: int = 3, stride: int = 1, gain: float = 1.0, **kwargs):
        return self.layers.Conv2D(
            channels,
            kernel,
            strides=stride,
            padding="same",
            kernel_initializer=self.initializers.VarianceScaling(2 * gain**2),
            **kwargs,
        )(x)

    def head(self, x, **kwargs):
        """1x1 convolution to one channel; it starts small, so that no sigmoid starts saturated."""
        return self.conv(x, 1, kernel=1, gain=0.1, **kwargs)

    def up(self, x, skip, channels: int):
        """Transposed 3x3 convolution of stride 2, plus the encoder's map of that size."""
        x = self.layers.Conv2DTranspose(
            channels, 3, strides=2, padding="same", kernel_initializer="he_normal"
        )(x)
        return x if skip is None else self.layers.Add()([x, skip])

    def refine(self, x, hidden: int):
        """One residual block without a leading activation, at full size just before the matte."""
        branch = self.prelu(self.separable(x, hidden))
        branch = self.prelu(self.separable(branch, x.shape[-1]))
        return self.layers.Add()([x, branch])

    def alpha(self, x):
        return self.head(x, activation="sigmoid", dtype="float32", name="output")


def _big(image, blocks: _Blocks):
    x = blocks.residual(blocks.conv(image, 8), 1)
    skips = [x]
    for channels, count in ((32, 1), (64, 1), (128, 2), (128, 6)):
        x = blocks.residual(blocks.conv(x, channels, stride=2), count)
        skips.append(x)
    for channels, skip in zip((128, 64, 32, 8), reversed(skips[:-1]), strict=True):
        x = blocks.residual(blocks.up(x, skip, channels), 3)
    boundary = blocks.head(x, activation="sigmoid", dtype="float32", name="boundary_attention")
    features = blocks.conv(x, 3, kernel=1, activation="tanh")
    features = blocks.layers.Concatenate()([features, boundary])
    return blocks.alpha(blocks.refine(features, hidden=3)), boundary


def _small(image, blocks: _Blocks):
    x, skips = image, []
    for channels in (8, 16, 32, 64, 128):
        x = blocks.residual(blocks.conv(x, channels, stride=2), 1)
        skips.append(x)
    for channels, skip in zip((64, 32, 16, 8), reversed(skips[:-1]), strict=True):
        x = blocks.residual(blocks.up(x, skip, channels), 1)
    boundary = blocks.layers.UpSampling2D(2, interpolation="bilinear")(blocks.head(x))
    boundary = blocks.layers.Activation("sigmoid", dtype="float32", name="boundary_attention")(
        boundary
    )
    features = blocks.up(x, None, 8)
    features = blocks.layers.Concatenate()([features, image, boundary])
    return blocks.alpha(blocks.refine(features, hidden=8)), boundary


SIZES = {"big": _big, "small": _small}


def build(
    input_shape: tuple[int, int] = (256, 192),
    size: str = "big",
    framework: types.ModuleType = keras,
):
    """MattingNet.

    Args:
        input_shape: (height, width); multiples of 16 for "big", of 32 for "small".
        size: "big" (0.93 M parameters, full-size features) or "small" (half-size features).
        framework: `keras`, or `tf_keras` for tools that know only the older Keras.

    Returns:
        A model from raw RGB (N, H, W, 3) in 0..255 to a dict: `output`, the alpha (N, H, W, 1) in
        0..1, and `boundary_attention`, the band along the outline (N, H, W, 1) in 0..1.
    """
    image = framework.Input((*input_shape, 3), name="image")
    alpha, boundary = SIZES[size](normalize(image, framework), _Blocks(framework))
    return framework.Model(
        image, {"output": alpha, "boundary_attention": boundary}, name=f"mattingnet_{size}"
    )
