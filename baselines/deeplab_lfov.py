"""DeepLab-LFOV (Chen et al., 1412.7062), simplified: VGG16 with atrous convolutions.

The two last poolings of VGG16 do not shrink, so that its maps stay at an eighth of the picture.
What follows sees as far as before, because its kernels are spread: block 5 by 2 and the first layer
of block 6, which stands for the classifier, by 12: hence the large field of view.
"""

import keras

import vgg16
from baselines.heads import two_maps

_WIDTH = 1024


def build(input_shape: tuple[int, int] = (256, 192)) -> keras.Model:
    """DeepLab-LFOV with scores for the person and for the outline.

    `vgg16.load_into` gives blocks 1 to 5 their start.

    Args:
        input_shape: (height, width), multiples of 8.

    Returns:
        A model from raw RGB (N, H, W, 3) in 0..255 to a dict: `output`, the alpha (N, H, W, 1) in
        0..1, and `boundary_attention`, the band along the outline (N, H, W, 1) in 0..1.
    """
    layers = keras.layers
    image = keras.Input((*input_shape, 3), name="image")
    x = vgg16.normalize(image)
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
    scores = layers.Conv2D(2, 1, kernel_initializer="zeros", name="fc8")(x)
    scores = layers.UpSampling2D(8, interpolation="bilinear")(scores)
    return keras.Model(image, two_maps(scores), name="deeplab_lfov")
