"""Turns score maps into the outputs that all networks share, and enlarges them."""

from collections.abc import Callable

import keras
import numpy as np
from keras import ops

from portrait.models import vgg16


def from_eighths(name: str, input_shape: tuple[int, int], scores: Callable) -> keras.Model:
    """Builds a network from score maps at 1/8 of the picture's size, enlarged bilinearly.

    Args:
        name: the name of the model.
        input_shape: (height, width), multiples of 8.
        scores: a function from the output of `vgg16.normalize`, (N, H, W, 3), to the scores of the
            person and of the outline, (N, H / 8, W / 8, 2).

    Returns:
        A model from raw RGB (N, H, W, 3) in 0..255 to a dict: `output`, the alpha (N, H, W, 1) in
        0..1, and `boundary_attention`, the band along the outline (N, H, W, 1) in 0..1.
    """
    image = keras.Input((*input_shape, 3), name="image")
    found = scores(vgg16.normalize(image))
    enlarged = keras.layers.UpSampling2D(8, interpolation="bilinear")(found)
    return keras.Model(image, two_maps(enlarged), name=name)


def two_maps(scores) -> dict:
    """From scores (N, H, W, 2) to `output` and `boundary_attention`, each (N, H, W, 1)."""
    names = ("output", "boundary_attention")
    return {
        name: keras.layers.Activation("sigmoid", dtype="float32", name=name)(logits)
        for name, logits in zip(names, ops.split(scores, 2, axis=-1), strict=True)
    }


def upscore(x, factor: int, trainable: bool = True):
    """Enlarges score maps `factor` times by a transposed convolution.

    The weights start as bilinear interpolation of each map (Long et al., 1411.4038). Scores beyond
    the border count as 0.

    Args:
        x: (N, H, W, C).
        factor: an even number.
        trainable: whether training may change the weights.
    """
    maps = x.shape[-1]
    kernel = np.zeros((2 * factor, 2 * factor, maps, maps), np.float32)
    kernel[:, :, range(maps), range(maps)] = np.outer(_tent(factor), _tent(factor))[..., None]
    return keras.layers.Conv2DTranspose(
        maps,
        2 * factor,
        strides=factor,
        padding="same",
        use_bias=False,
        kernel_initializer=keras.initializers.Constant(kernel.tolist()),
        trainable=trainable,
    )(x)


def _tent(factor: int) -> np.ndarray:
    """The weights of linear interpolation at the 2 `factor` samples around a pixel's centre."""
    distance = (np.arange(2 * factor) + 0.5) / factor - 1.0
    return 1.0 - np.abs(distance)
