"""CNN + ResNet: the first three blocks of VGG16 and one residual block (He et al., 1512.03385).

A shallow network for comparison: the receptive field of its last maps is 76 x 76 pixels.
"""

import keras

from portrait.models import vgg16
from portrait.models.baselines.heads import from_eighths
from portrait.models.layers import BatchNormalization

_WIDTH = 256


def _conv_norm(x, kernel: int):
    x = keras.layers.Conv2D(
        _WIDTH, kernel, padding="same", use_bias=False, kernel_initializer="he_normal"
    )(x)
    return BatchNormalization(momentum=0.9)(x)


def _residual(x):
    """The paper's block of two 3x3 convolutions with a projection shortcut.

    The values of VGG16's maps are in the hundreds. Batch normalisation of the projection brings
    them to the range of the branch.
    """
    branch = keras.layers.ReLU()(_conv_norm(x, 3))
    branch = _conv_norm(branch, 3)
    return keras.layers.ReLU()(keras.layers.Add()([_conv_norm(x, 1), branch]))


def _scores(x):
    for number in range(1, 4):
        x = keras.layers.MaxPooling2D(2, name=f"pool{number}")(vgg16.block(x, number))
    return keras.layers.Conv2D(2, 1, name="score")(_residual(x))


def build(input_shape: tuple[int, int] = (256, 192)) -> keras.Model:
    """Builds CNN + ResNet, see `heads.from_eighths`; `vgg16.load_into` fills blocks 1 to 3."""
    return from_eighths("cnn_resnet", input_shape, _scores)
