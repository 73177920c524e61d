"""MattingNet, big and small: encoder-decoder of separable residual blocks with a boundary head.

After "Towards Real-Time Automatic Portrait Matting on Mobile Devices" (Seo et al., 1904.03816) and
"Boundary-Aware Network for Fast and High-Accuracy Portrait Segmentation" (Chen et al., 1901.03814).
"""

import keras

from portrait.models.layers import PReLU, normalize


def build(input_shape: tuple[int, int] = (256, 192), size: str = "big") -> keras.Model:
    """Builds MattingNet.

    Args:
        input_shape: (height, width); multiples of 16 for "big", of 32 for "small".
        size: "big" (0.93 M parameters, full-size features) or "small" (half-size features).

    Returns:
        A model from raw RGB (N, H, W, 3) in 0..255 to a dict: `output`, the alpha (N, H, W, 1) in
        0..1, and `boundary_attention`, the band along the outline (N, H, W, 1) in 0..1.
    """
    image = keras.Input((*input_shape, 3), name="image")
    alpha, boundary = {"big": _big, "small": _small}[size](normalize(image))
    return keras.Model(
        image, {"output": alpha, "boundary_attention": boundary}, name=f"mattingnet_{size}"
    )


def _big(image):
    # Encoder.
    full = _residual(_conv(image, 8), blocks=1)
    half = _residual(_conv(full, 32, stride=2), blocks=1)
    quarter = _residual(_conv(half, 64, stride=2), blocks=1)
    eighth = _residual(_conv(quarter, 128, stride=2), blocks=2)
    x = _residual(_conv(eighth, 128, stride=2), blocks=6)

    # Decoder.
    x = _residual(_up(x, 128, skip=eighth), blocks=3)
    x = _residual(_up(x, 64, skip=quarter), blocks=3)
    x = _residual(_up(x, 32, skip=half), blocks=3)
    x = _residual(_up(x, 8, skip=full), blocks=3)

    # Heads.
    boundary = _head(x, activation="sigmoid", dtype="float32", name="boundary_attention")
    matte = _conv(x, 3, kernel=1, activation="tanh")
    matte = keras.layers.Concatenate()([matte, boundary])
    return _alpha(_refine(matte, hidden=3)), boundary


def _small(image):
    # Encoder.
    half = _residual(_conv(image, 8, stride=2), blocks=1)
    quarter = _residual(_conv(half, 16, stride=2), blocks=1)
    eighth = _residual(_conv(quarter, 32, stride=2), blocks=1)
    sixteenth = _residual(_conv(eighth, 64, stride=2), blocks=1)
    x = _residual(_conv(sixteenth, 128, stride=2), blocks=1)

    # Decoder.
    x = _residual(_up(x, 64, skip=sixteenth), blocks=1)
    x = _residual(_up(x, 32, skip=eighth), blocks=1)
    x = _residual(_up(x, 16, skip=quarter), blocks=1)
    x = _residual(_up(x, 8, skip=half), blocks=1)

    # Heads.
    boundary = keras.layers.UpSampling2D(2, interpolation="bilinear")(_head(x))
    boundary = keras.layers.Activation("sigmoid", dtype="float32", name="boundary_attention")(
        boundary
    )
    matte = keras.layers.Concatenate()([_up(x, 8), image, boundary])
    return _alpha(_refine(matte, hidden=8)), boundary


def _conv(x, channels: int, kernel: int = 3, stride: int = 1, gain: float = 1.0, **kwargs):
    """Convolution whose output starts with `gain` times the standard deviation of He's."""
    return keras.layers.Conv2D(
        channels,
        kernel,
        strides=stride,
        padding="same",
        kernel_initializer=keras.initializers.VarianceScaling(2 * gain**2),
        **kwargs,
    )(x)


def _separable(x, channels: int, gain: float = 1.0):
    """Separable 3x3 convolution, with `gain` as in `_conv`."""
    return keras.layers.SeparableConv2D(
        channels,
        3,
        padding="same",
        # Each filter sees 9 values. Keras's he_normal counts 9 x channels, which would start
        # the features of a block of 128 channels a hundred times too small.
        depthwise_initializer=keras.initializers.RandomNormal(stddev=1 / 3),
        pointwise_initializer=keras.initializers.VarianceScaling(2 * gain**2),
    )(x)


def _prelu(x):
    """PReLU with one slope per channel, which every phone GPU supports."""
    return PReLU(shared_axes=[1, 2])(x)


def _residual(x, blocks: int):
    """`blocks` residual blocks of PReLU, separable 3x3, PReLU, separable 3x3.

    The network has no normalisation layers. The branches start small, so that the sum of many
    blocks stays in range (Zhang et al., "Fixup Initialization", 1901.09321).
    """
    channels = x.shape[-1]
    for _ in range(blocks):
        branch = _separable(_prelu(x), channels)
        branch = _separable(_prelu(branch), channels, gain=0.1)
        x = keras.layers.Add()([x, branch])
    return x


def _up(x, channels: int, skip=None):
    """Transposed 3x3 convolution of stride 2, plus the encoder's map of that size, `skip`."""
    x = keras.layers.Conv2DTranspose(
        channels, 3, strides=2, padding="same", kernel_initializer="he_normal"
    )(x)
    return x if skip is None else keras.layers.Add()([x, skip])


def _refine(x, hidden: int):
    """One residual block without a leading activation, at full size just before the matte."""
    branch = _prelu(_separable(x, hidden))
    branch = _prelu(_separable(branch, x.shape[-1]))
    return keras.layers.Add()([x, branch])


def _head(x, **kwargs):
    """1x1 convolution to one channel, started small so that the sigmoid is not saturated."""
    return _conv(x, 1, kernel=1, gain=0.1, **kwargs)


def _alpha(x):
    return _head(x, activation="sigmoid", dtype="float32", name="output")
