"""Fast-SCNN (Poudel, Liwicki, Cipolla: "Fast Semantic Segmentation Network", 1902.04502).

A stem of three strided convolutions feeds a deep branch at 1/32 of the picture's size and a shallow
branch at 1/8. Both are fused at 1/8. The output is one alpha instead of classes, and there is a
boundary head.

Two details differ from the paper: separable convolutions have a ReLU between their two parts, as in
MobileNet, and the depthwise convolution of the fusion is not dilated.

`build_skips` adds a decoder. The alpha of `build` is computed at 1/8 of the picture's size, too
coarse for hair, ears and fingers.
"""

import keras

from portrait.models.layers import BatchNormalization, heads, normalize

FEATURES = "features"
"""The name of the layer after which `build` and `build_skips` differ."""


def build(input_shape: tuple[int, int] = (256, 192)) -> keras.Model:
    """Builds Fast-SCNN with one alpha and a boundary head.

    Args:
        input_shape: (height, width), multiples of 32.

    Returns:
        A model from raw RGB (N, H, W, 3) in 0..255 to a dict: `output`, the alpha (N, H, W, 1) in
        0..1, and `boundary_attention`, the band along the outline (N, H, W, 1) in 0..1.
    """
    image = keras.Input((*input_shape, 3), name="image")
    x = _features(image)[0]
    # The matte is computed from 15 maps and the boundary's logits.
    edge = keras.layers.Conv2D(1, 1, name="boundary_logits")(x)
    boundary = keras.layers.Activation("sigmoid", dtype="float32", name="boundary_attention")(
        _up(edge, 8)
    )
    x = keras.layers.Concatenate()([_conv(x, 15), edge])
    alpha = keras.layers.SeparableConv2D(
        1, 3, padding="same", activation="sigmoid", dtype="float32", name="output"
    )(_up(x, 8))
    return keras.Model(image, {"output": alpha, "boundary_attention": boundary}, name="fast_scnn")


def build_skips(input_shape: tuple[int, int] = (256, 192)) -> keras.Model:
    """Builds Fast-SCNN with a decoder up to half size, which adds maps of the stem (skips).

    Args:
        input_shape: (height, width), multiples of 32.

    Returns:
        A model like that of `build`.
    """
    image = keras.Input((*input_shape, 3), name="image")
    x, quarter, half = _features(image)
    for skip, channels in ((quarter, 32), (half, 16)):
        x = _up(_conv(x, channels, relu=False), 2)
        x = keras.layers.Add()([x, _conv(skip, channels, relu=False)])
        x = _separable(keras.layers.ReLU()(x), channels)
    return keras.Model(image, heads(_separable(x, 16)), name="fast_scnn_skips")


def _features(image):
    """The maps at 1/8 from which the heads start, and the maps of the stem at 1/4 and 1/2."""
    # Learning to downsample: 1/8.
    half = _conv(normalize(image), 32, kernel=3, stride=2)
    quarter = _separable(half, 48, stride=2)
    shallow = _separable(quarter, 64, stride=2)

    # Global feature extractor: 1/32.
    x = _bottlenecks(shallow, 64, stride=2, count=3)
    x = _bottlenecks(x, 96, stride=2, count=3)
    x = _bottlenecks(x, 128, stride=1, count=3)
    x = _pyramid(x, 128)

    # Feature fusion: 1/8.
    deep = _conv(_depthwise(_up(x, 4)), 128, relu=False)
    x = keras.layers.Add()([deep, _conv(shallow, 128, relu=False)])
    x = keras.layers.ReLU()(x)
    x = _separable(_separable(x, 128), 128)
    return keras.layers.Activation("linear", name=FEATURES)(x), quarter, half


def _norm_relu(x, relu: bool = True):
    # With Keras's momentum of 0.99 the moving averages would need about a thousand steps.
    x = BatchNormalization(momentum=0.9)(x)
    return keras.layers.ReLU()(x) if relu else x


def _conv(x, channels: int, kernel: int = 1, stride: int = 1, relu: bool = True):
    x = keras.layers.Conv2D(
        channels,
        kernel,
        strides=stride,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
    )(x)
    return _norm_relu(x, relu)


def _depthwise(x, stride: int = 1):
    x = keras.layers.DepthwiseConv2D(3, strides=stride, padding="same", use_bias=False)(x)
    return _norm_relu(x)


def _separable(x, channels: int, stride: int = 1):
    return _conv(_depthwise(x, stride), channels)


def _bottlenecks(x, channels: int, stride: int, count: int, expansion: int = 6):
    """`count` inverted residuals of MobileNetV2; the first one has the stride."""
    for index in range(count):
        stride_here = stride if index == 0 else 1
        branch = _conv(x, x.shape[-1] * expansion)
        branch = _depthwise(branch, stride_here)
        branch = _conv(branch, channels, relu=False)
        keeps_shape = stride_here == 1 and x.shape[-1] == channels
        x = keras.layers.Add()([x, branch]) if keeps_shape else branch
    return x


def _pyramid(x, channels: int, bins: tuple[int, ...] = (1, 2, 3, 6)):
    """Pyramid pooling (Zhao et al., PSPNet, 1612.01105) into about `bins` x `bins` cells.

    The number of cells along an axis is the largest divisor of its length that is not above the
    wanted number. All cells then have the same size, so pooling sizes and upsampling factors are
    integers, as phone delegates and quantisation tools require.
    """
    height, width = x.shape[1:3]
    branches = [x]
    for wanted in bins:
        cell = tuple(
            side // max(n for n in range(1, min(wanted, side) + 1) if side % n == 0)
            for side in (height, width)
        )
        pooled = keras.layers.AveragePooling2D(cell)(x)
        pooled = _conv(pooled, channels // len(bins))
        branches.append(_up(pooled, cell))
    return _conv(keras.layers.Concatenate()(branches), channels)


def _up(x, factor: int | tuple[int, int]):
    return keras.layers.UpSampling2D(factor, interpolation="bilinear")(x)
