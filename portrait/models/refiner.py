"""The refiner: from a photograph and its rough alphas to the alpha at the photograph's own size.

The second stage of the slides "Portrait Segmentation" (Y. Zhang, 2019): it sees the output of a
network and the original picture, with hybrid dilated convolutions (Wang et al., Understanding
Convolution for Semantic Segmentation, 1702.08502). It is fully convolutional and runs on tiles
along the outline (`matting.learned`), so it can be narrow: about 5,000 multiplications a pixel.
"""

import keras

from portrait.models.layers import MEAN, STD, BatchNormalization, normalize

_WIDTHS = (16, 32, 48)  # at 1/2, 1/4 and 1/8 of the size
_FULL = 8  # at the full size
_DILATIONS = (1, 2, 3)


def _conv(x, filters: int, size: int = 3, stride: int = 1, dilation: int = 1):
    x = keras.layers.Conv2D(
        filters,
        size,
        strides=stride,
        padding="same",
        dilation_rate=dilation,
        use_bias=False,
        kernel_initializer="he_normal",
    )(x)
    return keras.layers.ReLU()(BatchNormalization(momentum=0.95)(x))


def _up(x, filters: int):
    """Twice as large, with `filters` channels."""
    x = keras.layers.Conv2D(filters, 1, kernel_initializer="he_normal")(x)
    return keras.layers.UpSampling2D(2, interpolation="bilinear")(x)


def build(input_shape: tuple[int, int] = (160, 160)) -> keras.Model:
    """Builds the refiner.

    Args:
        input_shape: (height, width), multiples of 8.

    Returns:
        A model from raw RGB, the alpha of the guided filter and the enlarged coarse alpha
        (N, H, W, 5), all in 0..255, to a dict of maps (N, H, W, 1) in 0..1: `output`, the alpha,
        and `boundary_attention`, the band along the outline.
    """
    image = keras.Input((*input_shape, 5), name="image")
    pixels = normalize(image, (*MEAN, 127.5, 127.5), (*STD, 63.75, 63.75), range(5))
    full = _conv(pixels, _FULL)
    half = _conv(_conv(pixels, _WIDTHS[0], 5, stride=2), _WIDTHS[0])
    quarter = _conv(_conv(half, _WIDTHS[1], stride=2), _WIDTHS[1])
    x = _conv(quarter, _WIDTHS[2], stride=2)
    for dilation in _DILATIONS:
        x = _conv(x, _WIDTHS[2], dilation=dilation)
    x = _conv(keras.layers.Add()([_up(x, _WIDTHS[1]), quarter]), _WIDTHS[1])
    x = _conv(keras.layers.Add()([_up(x, _WIDTHS[0]), half]), _WIDTHS[0])
    x = keras.layers.Concatenate()([_up(x, _FULL), full])
    x = keras.layers.Concatenate()([_conv(x, _FULL), pixels])
    fine, boundary = (
        keras.layers.Conv2D(1, 1, activation="sigmoid", dtype="float32", name=name)(x)
        for name in ("fine", "boundary_attention")
    )
    # Both given alphas are among the maps that are mixed: the filter's is better at sharp edges,
    # the coarse one where the filter copies texture. Correct pixels of either stay unchanged.
    trust = keras.layers.Conv2D(3, 1, activation="softmax", dtype="float32", name="trust")(x)
    # In bfloat16, the given alphas would be off by up to half a level of 255.
    maps = keras.layers.Concatenate(dtype="float32")([image[..., 3:] * (1 / 255), fine])
    outputs = {
        "output": keras.ops.sum(maps * trust, axis=-1, keepdims=True),
        "boundary_attention": boundary,
    }
    return keras.Model(image, outputs, name="refiner")
