"""A minimal network with the parts of the real ones and with varied alphas, and pictures for it."""

import keras
import numpy as np
from skimage import data

from data_generator import PortraitSequence
from portrait.io.images import resize
from portrait.models.layers import normalize

SIZE = (48, 32)


def build(size: tuple[int, int] = SIZE, seed: int = 0, tail=None) -> keras.Model:
    """Builds the network, from raw RGB to `output` and `boundary_attention`.

    Args:
        size: (height, width), even.
        seed: of the weights.
        tail: applied to the last features, to add what tests need.
    """
    keras.utils.set_random_seed(seed)
    layers = keras.layers
    image = keras.Input((*size, 3), name="image")
    x = normalize(image)
    skip = layers.Conv2D(8, 3, padding="same", name="stem")(x)
    x = layers.Conv2D(32, 3, strides=2, padding="same", use_bias=False, name="down")(skip)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.PReLU(shared_axes=[1, 2], alpha_initializer="random_uniform", name="prelu")(x)
    x = layers.SeparableConv2D(80, 3, padding="same", activation="relu", name="separable")(x)
    x = layers.Conv2DTranspose(8, 3, strides=2, padding="same", name="up")(x)
    x = layers.Add(name="add")([x, skip])
    boundary = layers.Conv2D(1, 1, activation="sigmoid", name="boundary_attention")(x)
    x = layers.Concatenate(name="concatenate")([x, boundary])
    if tail is not None:
        x = tail(x)
    alpha = layers.Conv2D(1, 3, padding="same", activation="sigmoid", name="output")(x)
    model = keras.Model(image, {"output": alpha, "boundary_attention": boundary}, name="tiny")
    random = np.random.default_rng(seed)
    scale, offset, mean, variance = model.get_layer("norm").get_weights()
    model.get_layer("norm").set_weights(
        [random.uniform(0.5, 1.5, each.shape) for each in (scale, offset, mean, variance)]
    )
    return model


def pictures(count: int = 4, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Crops of a portrait that scikit-image ships, uint8 RGB (N, H, W, 3)."""
    portrait = data.astronaut()
    crops = [portrait[8 * i : 300 + 8 * i, 80 + 16 * i : 280 + 16 * i] for i in range(count)]
    return np.stack([resize(crop, size) for crop in crops])


def own_alphas(images: np.ndarray) -> PortraitSequence:
    """Batches of pictures with the network's own alphas as mattes, so that the loss is minimal."""
    alphas = np.asarray(build()(images.astype(np.float32))["output"])[..., 0]
    return PortraitSequence(images, np.where(alphas > 0.5, 255, 0).astype(np.uint8), 3)
