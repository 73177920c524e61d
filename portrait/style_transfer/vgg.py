"""Activations of VGG16's convolutions for pictures."""

from collections.abc import Collection, Mapping

import keras
import numpy as np

from portrait.errors import UserError
from portrait.models import vgg16


def extractor(layers: Collection[str], weights: Mapping[str, np.ndarray]) -> keras.Model:
    """VGG16 up to the deepest of the wanted convolutions, frozen.

    Args:
        layers: names in `vgg16.LAYERS`.
        weights: of the convolutions, as `vgg16.conv_weights` gives them.

    Returns:
        A model from raw RGB (N, H, W, 3) in 0..255, of any size from 16, to a dict from each of
        `layers` to its activations after the ReLU, (N, h, w, C).

    Raises:
        UserError: VGG16 has no such layer.
    """
    for layer in layers:
        if layer not in vgg16.LAYERS:
            raise UserError(f"VGG16 has no layer {layer!r}; its layers: {', '.join(vgg16.LAYERS)}")
    image = keras.Input((None, None, 3), name="image")
    x = vgg16.block(vgg16.normalize(image), 1)
    deepest = max(int(layer[len("block")]) for layer in layers)
    for number in range(2, deepest + 1):
        x = vgg16.block(keras.layers.MaxPooling2D(name=f"block{number - 1}_pool")(x), number)
    whole = keras.Model(image, x)
    vgg16.load_into(whole, weights, trainable=False)
    # Only layers that these outputs need are computed.
    outputs = {layer: whole.get_layer(layer).output for layer in layers}
    return keras.Model(image, outputs, name="vgg16")
