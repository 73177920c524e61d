"""From scores to what the other networks give, and transposed convolutions to enlarge them."""

from collections.abc import Callable

import keras
import numpy as np
from keras import ops

from portrait.models import vgg16


def from_eighths(name: str, input_shape: tuple[int, int], scores: Callable) -> keras.Model:
    """A network that scores person and outline at an eighth of the picture, enlarged bilinearly.

    Args:
        name: of the model.
        input_shape: (height, width), multiples of 8.
        scores: from `vgg16.normalize`'s picture (N, H, W, 3) to scores (N, H / 8, W / 8, 2).

    Returns:
        A model from raw RGB (N, H, W, 3) in 0..255 to a dict: `output`, the alpha (N, H, W, 1) in
        0..1, and `boundary_attention`, the band along the outline (N, H, W, 1) in 0..1.
    """
    image = keras.Input((*input_shape, 3), name="image")
    found = scores(vgg16.normalize(image))
    enlarged = keras.layers.UpSampling2D(8, interpolation="bilinear")(found)
    return keras.Model(image, two_maps(enlarged), name=name)


def two_maps(scores) -> dict:
    """Scores (N, H, W, 2) as `output`, the alpha, and `boundary_attention`, each (N, H, W, 1)."""
    names = ("output", "boundary_attention")
    return {
        name: keras.layers.Activation("sigmoid", dtype="float32", name=name)(logits)
        for name, logits in zip(names, ops.split(scores, 2, axis=-1), strict=True)
    }


def upscore(x, factor: int, trainable: bool = True):
    """Enlarges score maps `factor` times by a transposed convolution.

    It starts as bilinear interpolation of each map, and may learn something else (Long et al.,
    1411.4038). Beyond the border scores are taken to be 0.

    Args:
        x: (N, H, W, C).
        factor: even.
        trainable: whether it learns.
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
    """How much a pixel counts at each of the 2 `factor` places around its centre, (2 factor,)."""
    distance = (np.arange(2 * factor) + 0.5) / factor - 1.0
    return 1.0 - np.abs(distance)
