"""An ensemble in one network: the U-Net and SelfieNet, whose logits are averaged.

The two networks have learned from different pictures (ImageNet and our training sets, and Google's
selfies) and make different errors. Their mean is better than each of them
(docs/experiments/ensemble.md). Before the mean, the logits are limited. SelfieNet's are up to
twenty times those of the U-Net, and it would otherwise decide where the networks disagree.
"""

import keras
import numpy as np

from portrait.models import lite_unet, selfie_net
from portrait.models.layers import band, normalize

_constant = keras.initializers.Constant

PREFIX = "selfie_"
"""The first part of the names of SelfieNet's layers; the U-Net's layers keep their names."""
LIMITS = (16.0, 6.0)
"""The largest absolute logits of the U-Net and of SelfieNet in the mean. Where the networks
disagree, a U-Net with a logit beyond 6, an alpha of 0.998, always decides."""
# ReLU6 is the only activation with two limits that all phone GPUs support.
SCALES = tuple(2 * limit / 6 for limit in LIMITS)


def build(input_shape: tuple[int, int] = (288, 256)) -> keras.Model:
    """Builds the ensemble of `lite_unet` and the big `selfie_net`.

    Args:
        input_shape: (height, width), multiples of 32.

    Returns:
        A model from raw RGB (N, H, W, 3) in 0..255 to a dict: `output`, the alpha (N, H, W, 1) in
        0..1, and `boundary_attention`, the band along the outline (N, H, W, 1) in 0..1.
    """
    image = keras.Input((*input_shape, 3), name="image")
    pixels = normalize(image, lite_unet.MEAN, lite_unet.STD)
    # From (RGB - 127) / 128 to SelfieNet's RGB / 255.
    mean = np.subtract(selfie_net.MEAN, lite_unet.MEAN) / lite_unet.STD
    std = np.divide(selfie_net.STD, lite_unet.STD)
    again = normalize(pixels, mean, std, name=f"{PREFIX}normalize")
    maps = lite_unet.features(pixels), selfie_net.features(again, "big", PREFIX)
    x = keras.layers.Concatenate()(maps)

    boundary = band(x)
    # The logits of both networks, divided by SCALES and moved from -3..3 to 0..6.
    logits = keras.layers.Conv2DTranspose(
        2,
        2,
        strides=2,
        activation="relu6",
        bias_initializer=_constant(3),
        dtype="float32",
        name="logits",
    )(x)
    alpha = keras.layers.Conv2D(
        1,
        1,
        activation="sigmoid",
        kernel_initializer=_constant([[[[scale / 2] for scale in SCALES]]]),
        bias_initializer=_constant(-sum(LIMITS) / 2),
        dtype="float32",
        name="output",
    )(logits)
    return keras.Model(image, {"output": alpha, "boundary_attention": boundary}, name="ensemble")
