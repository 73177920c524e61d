"""Feature maps: the activations of a network's layers for a picture."""

from typing import NamedTuple

import keras
import numpy as np


class Stage(NamedTuple):
    """The last features of one size in a network.

    Attributes:
        layer: the name of the layer.
        channels: the number of channels.
        maps: the channels that vary most over the picture, float32 (count, h, w), each stretched to
            0..1.
    """

    layer: str
    channels: int
    maps: np.ndarray


def feature_maps(model: keras.Model, image: np.ndarray, count: int = 6) -> list[Stage]:
    """Features of a picture at every size down to 1/32, in the order in which they are computed.

    Args:
        model: a functional network from RGB (N, H, W, 3) in 0..255.
        image: (H, W, 3), 0..255, of the network's size.
        count: the number of channels of each size.
    """
    layers = _last_of_each_size(model, count)
    outputs = {layer.name: layer.output for layer in layers}
    # A call, not `predict`, because tracing a graph takes longer than a single call.
    features = keras.Model(model.input, outputs)(image[np.newaxis], training=False)
    stages = []
    for layer in layers:
        channels = np.moveaxis(keras.ops.convert_to_numpy(features[layer.name])[0], 2, 0)
        chosen = np.sort(np.argsort(channels.std(axis=(1, 2)))[-count:])
        stages.append(Stage(layer.name, len(channels), _stretch(channels[chosen])))
    return stages


def _last_of_each_size(model: keras.Model, channels: int) -> list[keras.Layer]:
    """The last layer of each size with enough channels, without pooled contexts."""
    smallest = model.input_shape[1] // 32
    last: dict[tuple[int, int], keras.Layer] = {}
    for layer in model.layers:
        shape = getattr(layer.output, "shape", ())
        if len(shape) == 4 and shape[3] >= channels and shape[1] >= smallest:
            size = (shape[1], shape[2])
            last.pop(size, None)  # so that the order of the keys is the order of the last layers
            last[size] = layer
    return list(last.values())


def _stretch(maps: np.ndarray) -> np.ndarray:
    low = maps.min(axis=(1, 2), keepdims=True)
    high = maps.max(axis=(1, 2), keepdims=True)
    return (maps - low) / np.maximum(high - low, 1e-12)
