"""Builds networks by name, and converts a trained network to the form that is exported."""

import keras
import numpy as np

from portrait.models.registry import SIZES, builder, check_exportable


def build(name: str, input_shape: tuple[int, int], size: str = SIZES[0]) -> keras.Model:
    """Builds the network `name` for pictures of (height, width); see `registry.builder`."""
    return builder(name, size)(input_shape)


def for_inference(model: keras.Model, channels: int = 3) -> keras.Model:
    """A network with the alpha as its only output, sharing the weights of `model`.

    Args:
        model: a network from `build`.
        channels: 3 for RGB, or 4 for RGBA, the layout of Android's bitmaps and GPU textures. The
            alpha channel of the input is ignored.

    Returns:
        A model from (N, H, W, channels) in 0..255 to the alpha (N, H, W, 1) in 0..1.

    Raises:
        UserError: the network has other inputs than the picture.
        ValueError: `channels` is neither 3 nor 4.
    """
    if channels not in (3, 4):
        raise ValueError(f"channels must be 3 (RGB) or 4 (RGBA), not {channels}")
    if len(model.inputs) > 1:
        check_exportable(model.name)
    if channels == 3:
        return keras.Model(model.input, model.output["output"], name=model.name)
    trained = model.get_layer("normalize")
    kernel, bias = trained.get_weights()
    image = keras.Input((*model.input_shape[1:3], channels), name="image")
    rgba = keras.layers.Conv2D(3, 1, dtype="float32", trainable=False, name="normalize")
    body = keras.Model(trained.output, model.output["output"])
    alpha = body(rgba(image))
    rgba.set_weights([np.pad(kernel, [(0, 0), (0, 0), (0, 1), (0, 0)]), bias])
    return keras.Model(image, alpha, name=f"{model.name}_rgba")
