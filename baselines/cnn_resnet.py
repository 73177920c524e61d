"""CNN + ResNet: the first three blocks of VGG16 and one residual block (He et al., 1512.03385).

A shallow network for comparison: a place in its last maps has seen 76 x 76 pixels.
"""

import keras

import vgg16
from baselines.heads import two_maps
from batch_norm import BatchNormalization

_WIDTH = 256


def _conv_norm(x, kernel: int):
    x = keras.layers.Conv2D(
        _WIDTH, kernel, padding="same", use_bias=False, kernel_initializer="he_normal"
    )(x)
    return BatchNormalization(momentum=0.9)(x)


def _residual(x):
    """The paper's block of two 3x3 convolutions, with a projection beside it.

    The projection is normalised, which brings VGG16's maps, of some hundreds, to the branch's size.
    """
    branch = keras.layers.ReLU()(_conv_norm(x, 3))
    branch = _conv_norm(branch, 3)
    return keras.layers.ReLU()(keras.layers.Add()([_conv_norm(x, 1), branch]))


def build(input_shape: tuple[int, int] = (256, 192)) -> keras.Model:
    """CNN + ResNet with scores for the person and for the outline.

    `vgg16.load_into` gives blocks 1 to 3 their start.

    Args:
        input_shape: (height, width), multiples of 8.

    Returns:
        A model from raw RGB (N, H, W, 3) in 0..255 to a dict: `output`, the alpha (N, H, W, 1) in
        0..1, and `boundary_attention`, the band along the outline (N, H, W, 1) in 0..1.
    """
    layers = keras.layers
    image = keras.Input((*input_shape, 3), name="image")
    x = vgg16.normalize(image)
    for number in range(1, 4):
        x = layers.MaxPooling2D(2, name=f"pool{number}")(vgg16.block(x, number))
    scores = layers.Conv2D(2, 1, name="score")(_residual(x))
    scores = layers.UpSampling2D(8, interpolation="bilinear")(scores)
    return keras.Model(image, two_maps(scores), name="cnn_resnet")
