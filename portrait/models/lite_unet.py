"""A U-Net with EfficientNet-Lite0 as its encoder: a fast network with ImageNet weights.

EfficientNet-Lite (Liu et al., 2020; EfficientNet: Tan, Le, 1905.11946) is EfficientNet for phones,
with ReLU6 in place of swish and without squeeze-and-excitation, so that GPU delegates and int8
quantisation support all of it. `start/efficientnet_lite0.py` loads the encoder's weights. The
decoder has few channels, because its two finest levels take most of the time. It ends at half size,
and one transposed convolution computes the alpha.
"""

import keras

from portrait.models.layers import BatchNormalization, heads, normalize

# For each stage: channels, kernel, stride, number of blocks.
STAGES = (
    *((16, 3, 1, 1), (24, 3, 2, 2), (40, 5, 2, 2)),
    *((80, 3, 2, 3), (112, 5, 1, 3), (192, 5, 2, 4)),
)
# The expansion of each stage: channels inside a block relative to its input.
EXPANSIONS = (1, 6, 6, 6, 6, 6)
# EfficientNet-Lite was trained on (RGB - 127) / 128, RGB in 0..255.
MEAN = (127, 127, 127)
STD = (128, 128, 128)
# The decoder's channels from the coarsest level, 1/32, to 1/2.
DECODER = (96, 64, 40, 24, 8)


def build(input_shape: tuple[int, int] = (256, 192)) -> keras.Model:
    """Builds the U-Net with one alpha and a boundary head; exported files have no boundary head.

    Args:
        input_shape: (height, width), multiples of 32.

    Returns:
        A model from raw RGB (N, H, W, 3) in 0..255 to a dict: `output`, the alpha (N, H, W, 1) in
        0..1, and `boundary_attention`, the band along the outline (N, H, W, 1) in 0..1.
    """
    image = keras.Input((*input_shape, 3), name="image")
    return keras.Model(image, heads(features(normalize(image, MEAN, STD))), name="lite_unet")


def features(pixels):
    """The encoder and the decoder.

    Args:
        pixels: the picture (N, H, W, 3), normalised with `MEAN` and `STD`.

    Returns:
        The last map of the decoder, (N, H / 2, W / 2, 8).
    """
    # The decoder uses the last map of each resolution.
    x = _conv(pixels, 32, kernel=3, stride=2, name="stem")
    levels = []
    for number, expansion in enumerate(EXPANSIONS, start=1):
        x = _stage(x, number, expansion)
        if levels and levels[-1].shape[1] == x.shape[1]:
            levels.pop()
        levels.append(x)

    coarsest, *finer = DECODER
    x = _separable(_context(_conv(levels.pop(), coarsest)), coarsest, kernel=5)
    for channels in finer:
        coarse = _up(_conv(x, channels, relu=False))
        x = keras.layers.Add()([coarse, _conv(levels.pop(), channels, relu=False)])
        x = _separable(x, channels)
    return x


def _conv(
    x,
    channels: int,
    kernel: int = 1,
    stride: int = 1,
    relu: bool = True,
    name: str | None = None,
):
    """Convolution, batch normalisation (`NAME_norm`) and, if `relu`, ReLU6."""
    x = keras.layers.Conv2D(
        channels,
        kernel,
        strides=stride,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
        name=name,
    )(x)
    return _norm(x, name, relu)


def _stage(x, number: int, expansion: int):
    """A stage of EfficientNet's inverted residuals; the first block has the stride."""
    channels, kernel, stride, count = STAGES[number - 1]
    for index in range(count):
        name = f"stage{number}_block{index + 1}"
        stride_here = stride if index == 0 else 1
        branch = x
        if expansion > 1:
            branch = _conv(x, x.shape[-1] * expansion, name=f"{name}_expand")
        branch = _depthwise(branch, kernel, stride_here, f"{name}_depthwise")
        branch = _conv(branch, channels, relu=False, name=f"{name}_project")
        keeps_shape = stride_here == 1 and x.shape[-1] == channels
        x = keras.layers.Add()([x, branch]) if keeps_shape else branch
    return x


def _norm(x, name: str | None = None, relu: bool = True):
    # With Keras's momentum of 0.99 the moving averages would need about a thousand steps.
    x = BatchNormalization(epsilon=1e-3, momentum=0.9, name=name and f"{name}_norm")(x)
    return keras.layers.ReLU(6.0)(x) if relu else x


def _depthwise(x, kernel: int, stride: int = 1, name: str | None = None):
    x = keras.layers.DepthwiseConv2D(
        kernel, strides=stride, padding="same", use_bias=False, name=name
    )(x)
    return _norm(x, name)


def _separable(x, channels: int, kernel: int = 3):
    return _conv(_depthwise(x, kernel), channels)


def _context(x):
    """Weights the channels by a global average of the picture, as LR-ASPP does (1905.02244)."""
    whole = keras.layers.AveragePooling2D(x.shape[1:3])(x)
    weights = keras.layers.Conv2D(x.shape[-1], 1, activation="sigmoid")(whole)
    return keras.layers.Multiply()([x, weights])


def _up(x):
    return keras.layers.UpSampling2D(2, interpolation="bilinear")(x)
