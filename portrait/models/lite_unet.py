"""A U-Net on EfficientNet-Lite0: the fast network that starts from ImageNet.

EfficientNet-Lite (Liu et al., 2020; EfficientNet: Tan, Le, 1905.11946) is EfficientNet for phones:
ReLU6 for swish and no squeeze-and-excitation, so that GPUs and int8 take it as it is. Its first
stages are the encoder; `start/efficientnet_lite0.py` fills them. The decoder is narrow, because its
two finest levels take most of the time, and ends at half size: one transposed convolution returns
the alpha.
"""

import types

import keras

from portrait.models.layers import batch_normalization, normalize

# Of each stage: channels, kernel, stride, number of blocks.
STAGES = (
    *((16, 3, 1, 1), (24, 3, 2, 2), (40, 5, 2, 2)),
    *((80, 3, 2, 3), (112, 5, 1, 3), (192, 5, 2, 4)),
)
# The expansion of each stage: channels inside a block, relative to its input. The big network has
# EfficientNet's. `start/slimming.py` keeps half of them for the small network, and a third where
# the maps are largest.
EXPANSIONS = {"big": (1, 6, 6, 6, 6, 6), "small": (1, 2, 3, 3, 3, 3)}
# What EfficientNet-Lite's pictures were normalized with, on each channel of RGB in 0..255.
MEAN = (127, 127, 127)
STD = (128, 128, 128)
# The decoder's channels from the coarsest level, 1/32, to 1/2.
DECODER = (96, 64, 40, 24, 8)


class _Blocks:
    """The pieces of the network in one framework (keras or tf_keras)."""

    def __init__(self, framework: types.ModuleType):
        self.layers = framework.layers
        self.batch_norm = batch_normalization(framework)

    def norm(self, x, name: str | None = None, relu: bool = True):
        # Keras's momentum of 0.99 would need a thousand steps to forget its start.
        x = self.batch_norm(epsilon=1e-3, momentum=0.9, name=name and f"{name}_norm")(x)
        return self.layers.ReLU(6.0)(x) if relu else x

    def conv(
        self, x, channels: int, kernel: int = 1, stride: int = 1, relu: bool = True, name=None
    ):
        x = self.layers.Conv2D(
            channels,
            kernel,
            strides=stride,
            padding="same",
            use_bias=False,
            kernel_initializer="he_normal",
            name=name,
        )(x)
        return self.norm(x, name, relu)

    def depthwise(self, x, kernel: int, stride: int = 1, name=None):
        x = self.layers.DepthwiseConv2D(
            kernel, strides=stride, padding="same", use_bias=False, name=name
        )(x)
        return self.norm(x, name)

    def separable(self, x, channels: int, kernel: int = 3):
        return self.conv(self.depthwise(x, kernel), channels)

    def stage(self, x, number: int, expansion: int):
        """EfficientNet's inverted residuals; the first block carries the stride."""
        channels, kernel, stride, count = STAGES[number - 1]
        for index in range(count):
            name = f"stage{number}_block{index + 1}"
            stride_here = stride if index == 0 else 1
            branch = x
            if expansion > 1:
                branch = self.conv(x, x.shape[-1] * expansion, name=f"{name}_expand")
            branch = self.depthwise(branch, kernel, stride_here, f"{name}_depthwise")
            branch = self.conv(branch, channels, relu=False, name=f"{name}_project")
            keeps_shape = stride_here == 1 and x.shape[-1] == channels
            x = self.layers.Add()([x, branch]) if keeps_shape else branch
        return x

    def context(self, x):
        """Weighs the channels by what is in the whole picture, as LR-ASPP does (1905.02244)."""
        whole = self.layers.AveragePooling2D(x.shape[1:3])(x)
        weights = self.layers.Conv2D(x.shape[-1], 1, activation="sigmoid")(whole)
        return self.layers.Multiply()([x, weights])

    def up(self, x):
        return self.layers.UpSampling2D(2, interpolation="bilinear")(x)


def build(
    input_shape: tuple[int, int] = (256, 192),
    size: str = "big",
    framework: types.ModuleType = keras,
):
    """The U-Net with one alpha and a boundary head, which costs nothing in exported files.

    Args:
        input_shape: (height, width), multiples of 32.
        size: "big", or "small", the same with about half the channels inside each block.
        framework: `keras`, or `tf_keras` for tools that know only the older Keras.

    Returns:
        A model from raw RGB (N, H, W, 3) in 0..255 to a dict: `output`, the alpha (N, H, W, 1) in
        0..1, and `boundary_attention`, the band along the outline (N, H, W, 1) in 0..1.
    """
    blocks = _Blocks(framework)
    layers = framework.layers
    image = framework.Input((*input_shape, 3), name="image")

    x = blocks.conv(normalize(image, framework, MEAN, STD), 32, kernel=3, stride=2, name="stem")
    levels = []
    for number, expansion in enumerate(EXPANSIONS[size], start=1):
        x = blocks.stage(x, number, expansion)
        if levels and levels[-1].shape[1] == x.shape[1]:
            levels.pop()  # of each resolution the decoder gets the last
        levels.append(x)

    coarsest, *finer = DECODER
    x = blocks.separable(blocks.context(blocks.conv(levels.pop(), coarsest)), coarsest, kernel=5)
    for channels in finer:
        coarse = blocks.up(blocks.conv(x, channels, relu=False))
        x = layers.Add()([coarse, blocks.conv(levels.pop(), channels, relu=False)])
        x = blocks.separable(x, channels)

    boundary = blocks.up(layers.Conv2D(1, 1, name="boundary_logits")(x))
    boundary = layers.Activation("sigmoid", dtype="float32", name="boundary_attention")(boundary)
    alpha = layers.Conv2DTranspose(
        1, 2, strides=2, activation="sigmoid", dtype="float32", name="output"
    )(x)
    return framework.Model(
        image, {"output": alpha, "boundary_attention": boundary}, name=f"lite_unet_{size}"
    )
