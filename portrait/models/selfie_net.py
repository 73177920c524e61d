"""SelfieNet: the network of MediaPipe's selfie segmentation, with a boundary head.

Google publishes the network as a `.tflite` file (Apache 2.0), and its layers are rebuilt here. The
encoder is like MobileNetV3 (Howard et al., 1905.02244): inverted residuals, some with
squeeze-and-excitation. Each decoder level weights the encoder's channels by global averages of the
encoder's and the decoder's maps. `start/mediapipe.py` loads the weights from the file, and widens
the small network to the big one.
"""

import keras

from portrait.models.layers import BatchNormalization, heads, normalize

# For each block: channels inside, kernel, stride, output channels, activation, and the number of
# squeezed channels of squeeze-and-excitation (0: none). The small network is MediaPipe's.
_FINE = ((16, 3, 2, 16, "relu", 8), (72, 3, 2, 24, "relu", 0), (88, 3, 1, 24, "relu", 0))
BLOCKS = {
    "small": (
        *_FINE,
        (96, 5, 2, 32, "hard_silu", 24),
        (128, 5, 1, 32, "hard_silu", 32),
        (128, 5, 1, 32, "hard_silu", 32),
        (96, 5, 1, 32, "hard_silu", 24),
        (96, 5, 1, 32, "hard_silu", 24),
    ),
    "big": (
        *_FINE,
        (192, 5, 2, 48, "hard_silu", 48),
        (256, 5, 1, 48, "hard_silu", 64),
        (256, 5, 1, 48, "hard_silu", 64),
        (192, 5, 1, 48, "hard_silu", 48),
        (192, 5, 1, 48, "hard_silu", 48),
    ),
}
BLOCKS["deep"] = BLOCKS["big"]
# The stage at 1/32 of the deep network; its output is added to the output of the blocks at 1/16.
DEEP = ((288, 5, 2, 96, "hard_silu", 72), (384, 5, 1, 96, "hard_silu", 96))
STEM = 16
CONTEXT = 128
# MediaPipe's network takes pixels in 0..1.
MEAN = (0, 0, 0)
STD = (255, 255, 255)


def _norm(x, name: str, activation: str = "linear", gamma: str = "ones"):
    x = BatchNormalization(
        epsilon=1e-3, momentum=0.95, gamma_initializer=gamma, name=f"{name}_norm"
    )(x)
    return x if activation == "linear" else keras.layers.Activation(activation)(x)


def _conv(
    x, channels: int, name: str, activation="linear", kernel: int = 1, stride: int = 1, gamma="ones"
):
    x = keras.layers.Conv2D(
        channels,
        kernel,
        strides=stride,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
        name=name,
    )(x)
    return _norm(x, name, activation, gamma)


def _depthwise(x, kernel: int, name: str, activation: str, stride: int = 1):
    x = keras.layers.DepthwiseConv2D(
        kernel, strides=stride, padding="same", use_bias=False, name=name
    )(x)
    return _norm(x, name, activation)


def _whole(x):
    """The mean of each channel over the picture, (N, 1, 1, C)."""
    return keras.layers.AveragePooling2D(x.shape[1:3])(x)


def _excitation(x, squeezed: int, channels: int, name: str):
    """Channel weights in 0..1, (N, 1, 1, channels), computed from the global average of `x`."""
    x = keras.layers.Conv2D(squeezed, 1, activation="relu", name=f"{name}_squeeze")(_whole(x))
    return keras.layers.Conv2D(channels, 1, activation="sigmoid", name=f"{name}_excite")(x)


def _block(x, name: str, inside: int, kernel: int, stride: int, out: int, activation, squeezed):
    """An inverted residual block; the arguments are an entry of `BLOCKS`."""
    y = _conv(x, inside, f"{name}_expand", activation)
    y = _depthwise(y, kernel, f"{name}_depthwise", activation, stride)
    if squeezed:
        y = keras.layers.Multiply()([y, _excitation(y, squeezed, inside, name)])
    y = _conv(y, out, f"{name}_project")
    return keras.layers.Add()([x, y]) if stride == 1 and x.shape[-1] == out else y


def _deep(x, prefix: str):
    """A stage at half the size of `x`, enlarged to the size of `x`; its output starts as zeros."""
    y = x
    for number, block in enumerate(DEEP, start=1):
        y = _block(y, f"{prefix}deep{number}", *block)
    y = _conv(y, x.shape[-1], f"{prefix}deep_narrow", gamma="zeros")
    return keras.layers.UpSampling2D(2, interpolation="bilinear")(y)


def _level(x, skip, name: str):
    """A level of the decoder: enlarges `x` twofold and adds the encoder's map `skip`."""
    channels = skip.shape[-1]
    # MediaPipe's network enlarges first. With the 1x1 convolution before it, the result is the same
    # for a quarter of the operations.
    x = keras.layers.UpSampling2D(2, interpolation="bilinear")(_conv(x, channels, f"{name}_narrow"))
    weights = _excitation(keras.layers.Add()([skip, x]), channels, channels, name)
    x = keras.layers.Add()([keras.layers.Multiply()([skip, weights]), x])
    x = _conv(x, channels, f"{name}_mix", "relu")
    return keras.layers.Add()([x, _depthwise(x, 3, f"{name}_depthwise", "relu")])


def build_video(input_shape: tuple[int, int] = (256, 256), size: str = "big") -> keras.Model:
    """Builds SelfieNet for videos: with the alpha of the frame before as the fourth input channel.

    Args:
        input_shape: (height, width), multiples of 32.
        size: as for `build`.

    Returns:
        A model from raw RGB and the previous alpha (N, H, W, 4), all in 0..255, to the outputs of
        `build`. A previous alpha that is 0 everywhere says that there is none: at the start, and
        after a cut.
    """
    return build(input_shape, size, previous=True)


def _with_previous(x, pixels):
    """Adds what the previous alpha in `pixels` (N, H, W, 4) tells to the last map of the decoder.

    The sum starts as zeros, so a network without this input can be trained further.
    """
    y = keras.layers.Concatenate()([x, keras.layers.AveragePooling2D(2)(pixels)])
    y = _conv(y, 2 * STEM, "previous_expand", "relu")
    y = _depthwise(y, 3, "previous_depthwise", "relu")
    return keras.layers.Add()([x, _conv(y, x.shape[-1], "previous_narrow", gamma="zeros")])


def build(
    input_shape: tuple[int, int] = (256, 192), size: str = "big", previous: bool = False
) -> keras.Model:
    """Builds SelfieNet.

    Args:
        input_shape: (height, width), multiples of 32.
        size: "small" is MediaPipe's network, "big" has more channels in its smallest maps, and
            "deep" is the big network with an additional stage at 1/32.
        previous: whether there is a fourth input channel, see `build_video`.

    Returns:
        A model from raw RGB (N, H, W, 3) in 0..255 to a dict: `output`, the alpha (N, H, W, 1) in
        0..1, and `boundary_attention`, the band along the outline (N, H, W, 1) in 0..1.
    """
    channels = 4 if previous else 3
    image = keras.Input((*input_shape, channels), name="image")
    pixels = normalize(image, (*MEAN, 0)[:channels], (*STD, 255)[:channels], range(channels))
    x = features(pixels, size)
    if previous:
        x = _with_previous(x, pixels)
    name = f"selfie_net_video_{size}" if previous else f"selfie_net_{size}"
    return keras.Model(image, heads(x), name=name)


def features(pixels, size: str = "big", prefix: str = ""):
    """The encoder and the decoder.

    Args:
        pixels: the picture (N, H, W, C), normalised with `MEAN` and `STD`.
        size: as for `build`.
        prefix: the first part of the names of all layers with weights.

    Returns:
        The last map of the decoder, (N, H / 2, W / 2, 16).
    """
    x = _conv(pixels, STEM, f"{prefix}stem", "hard_silu", kernel=3, stride=2)
    levels = [x]
    for number, block in enumerate(BLOCKS[size], start=1):
        y = _block(x, f"{prefix}block{number}", *block)
        if y.shape[1] == x.shape[1]:
            levels.pop()  # the decoder uses the last map of each resolution
        levels.append(x := y)

    x = levels.pop()
    if size == "deep":
        x = keras.layers.Add()([x, _deep(x, prefix)])
    weights = keras.layers.Conv2D(CONTEXT, 1, activation="sigmoid", name=f"{prefix}context_excite")(
        _whole(x)
    )
    x = keras.layers.Multiply()([_conv(x, CONTEXT, f"{prefix}context", "relu"), weights])
    for number in (3, 2, 1):
        x = _level(x, levels.pop(), f"{prefix}level{number}")
    return x
