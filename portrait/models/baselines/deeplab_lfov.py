"""DeepLab-LFOV (Chen et al., 1412.7062), simplified: VGG16 with atrous convolutions.

The last two pooling layers of VGG16 have stride 1, so the maps stay at 1/8 of the picture's size.
Dilated kernels keep the receptive field: rate 2 in block 5, and rate 12 in the first layer of block
6, which replaces the classifier. Rate 12 gives the network its large field of view (LFOV).
"""

import keras

from portrait.models import vgg16
from portrait.models.baselines.heads import from_eighths

_WIDTH = 1024


def _scores(x):
    layers = keras.layers
    for number in range(1, 6):
        x = vgg16.block(x, number, dilation=2 if number == 5 else 1)
        stride = 2 if number <= 3 else 1
        x = layers.MaxPooling2D(3, strides=stride, padding="same", name=f"pool{number}")(x)
    for name, kernel, dilation in ("fc6", 3, 12), ("fc7", 1, 1):
        x = layers.Conv2D(
            _WIDTH,
            kernel,
            padding="same",
            dilation_rate=dilation,
            activation="relu",
            kernel_initializer="he_normal",
            name=name,
        )(x)
        x = layers.Dropout(0.5)(x)
    return layers.Conv2D(2, 1, kernel_initializer="zeros", name="fc8")(x)


def build(input_shape: tuple[int, int] = (256, 192)) -> keras.Model:
    """Builds DeepLab-LFOV, see `heads.from_eighths`; `vgg16.load_into` fills blocks 1 to 5."""
    return from_eighths("deeplab_lfov", input_shape, _scores)
