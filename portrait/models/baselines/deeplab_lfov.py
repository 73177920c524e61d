"""DeepLab-LFOV (Chen et al., 1412.7062), simplified: VGG16 with atrous convolutions.

The two last poolings of VGG16 do not shrink, so that its maps stay at an eighth of the picture.
What follows sees as far as before, because its kernels are spread: block 5 by 2 and the first layer
of block 6, which stands for the classifier, by 12: hence the large field of view.
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
    """DeepLab-LFOV: `heads.from_eighths`. `vgg16.load_into` gives blocks 1 to 5 their start."""
    return from_eighths("deeplab_lfov", input_shape, _scores)
