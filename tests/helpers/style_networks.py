"""VGG16 with random weights and transform networks whose styles differ, for tests."""

import functools

import numpy as np

from portrait.models import vgg16
from portrait.style_transfer import transform_net


@functools.cache
def random_vgg() -> dict[str, np.ndarray]:
    """He-normal weights, of a scale at which activations neither vanish nor explode."""
    rng = np.random.default_rng(0)
    weights, inputs = {}, 3
    for layer in vgg16.LAYERS:
        filters = vgg16.BLOCKS[int(layer[5]) - 1][0]
        scale = np.float32(np.sqrt(2 / (9 * inputs)))
        kernel = rng.standard_normal((3, 3, inputs, filters), np.float32) * scale
        weights |= {f"{layer}/kernel": kernel, f"{layer}/bias": np.zeros(filters, np.float32)}
        inputs = filters
    return weights


def random_network(styles: int, input_shape=(None, None)):
    """A small transform network whose styles differ."""
    rng = np.random.default_rng(1)
    network = transform_net.build(input_shape, "small", styles)
    for layer in network.layers:
        if layer.name.startswith("affine_"):
            layer.set_weights([rng.normal(0, 0.03, each.shape) for each in layer.get_weights()])
    return network


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Uint8 (height, width, 3): noise over a gradient, so that no two areas are alike."""
    rng = np.random.default_rng(seed)
    ramp = np.add.outer(np.linspace(0, 100, height), np.linspace(0, 100, width))
    return (ramp[..., None] + rng.uniform(0, 55, (height, width, 3))).astype(np.uint8)
