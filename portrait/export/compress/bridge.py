"""A trained Keras 3 network as a network of tf_keras, the older Keras that tfmot knows, and back.

The network's own builder makes both; the weights go over layer by layer. Names that Keras counts up
(`conv2d_17`) depend on how many layers were made before, so a layer is known by its kind and its
place among those of its kind.
"""

import itertools
import re
import types
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tf_keras

_COUNTED = re.compile(r"(.*?)(?:_(\d+))?")


def twin(model: keras.Model, build: Callable[..., Any]) -> tf_keras.Model:
    """The network in tf_keras, with the weights of `model`.

    Each separable convolution is two layers there, a depthwise and a pointwise one, which tfmot
    treats (and phones run) one by one.

    Args:
        model: the network as `build()` makes it.
        build: makes the network of the Keras that it is given, as `build(framework=tf_keras)`.

    Returns:
        A model from raw RGB (N, H, W, 3) in 0..255 to the list of `output` and
        `boundary_attention`, each (N, H, W, 1) in 0..1.

    Raises:
        UserError: the network cannot be built in tf_keras.
    """
    built = build(framework=_framework())
    outputs = [built.output[name] for name in ("output", "boundary_attention")]
    network = tf_keras.Model(built.input, outputs, name=model.name)
    weights = weights_by_layer(model)
    for name, layer in _layers(network).items():
        if layer.weights:
            layer.set_weights(weights.pop(name))
    if weights:
        raise ValueError(f"{model.name} has layers that its twin lacks: {', '.join(weights)}")
    return network


def take_weights(model: keras.Model, network: tf_keras.Model) -> None:
    """Gives `model` the weights of its twin `network`."""
    weights = weights_by_layer(network)
    for name, layer in _layers(model).items():
        if isinstance(layer, keras.layers.SeparableConv2D):
            layer.set_weights([*weights[f"{name}/depthwise"], *weights[f"{name}/pointwise"]])
        elif layer.weights:
            layer.set_weights(weights[name])


def absorb_batch_norms(network: tf_keras.Model) -> None:
    """Moves the scale of each batch normalisation into the convolution before it.

    Converters do so, too; but what was one value in many places of a kernel is a different one in
    each channel then. After this the normalisation only adds.
    """
    for norm in network.layers:
        if not isinstance(norm, tf_keras.layers.BatchNormalization):
            continue
        before = norm.inbound_nodes[0].inbound_layers
        kernel, *bias = before.get_weights()
        gamma, beta, mean, variance = norm.get_weights()
        scale = gamma / np.sqrt(variance + norm.epsilon)
        depthwise = isinstance(before, tf_keras.layers.DepthwiseConv2D)
        axes = (slice(None), np.newaxis) if depthwise else (np.newaxis, slice(None))
        before.set_weights([kernel * scale[axes], *(each * scale for each in bias)])
        ones = np.ones_like(gamma)
        norm.set_weights([ones, beta - mean * scale, 0 * ones, (1 - norm.epsilon) * ones])


def weights_by_layer(model: keras.Model | tf_keras.Model) -> dict[str, list[np.ndarray]]:
    """The weights of a network or of its twin, under the same names for both."""
    weights = {}
    for name, layer in _layers(model).items():
        if isinstance(layer, keras.layers.SeparableConv2D):
            depthwise, *pointwise = layer.get_weights()
            weights |= {f"{name}/depthwise": [depthwise], f"{name}/pointwise": pointwise}
        elif layer.weights:
            weights[name] = layer.get_weights()
    return weights


def _layers(model: Any) -> dict[str, Any]:
    """The layers under names that depend on the network alone: `conv2d:0`, `conv2d:1`, ..."""
    numbered = defaultdict(list)
    for layer in model.layers:
        whole, _, part = layer.name.partition(".")
        kind, number = _COUNTED.fullmatch(whole).groups()
        numbered[kind, part].append((int(number or 0), layer))
    return {
        f"{kind}:{place}{part and '/'}{part}": layer
        for (kind, part), group in numbered.items()
        for place, (_, layer) in enumerate(sorted(group, key=lambda each: each[0]))
    }


def _framework() -> types.SimpleNamespace:
    """tf_keras as builders want it, but with separable convolutions in two layers."""
    public = {
        name: getattr(tf_keras.layers, name) for name in dir(tf_keras.layers) if name[0] != "_"
    }
    numbers = itertools.count()

    def separable(
        filters: int,
        kernel_size: int,
        strides: int = 1,
        padding: str = "valid",
        activation: str | None = None,
        dtype: str | None = None,
        name: str | None = None,
        **initializers: Any,
    ) -> Callable[[Any], Any]:
        del initializers  # trained weights follow
        name = name or f"separable_conv2d_{next(numbers)}"
        depthwise = tf_keras.layers.DepthwiseConv2D(
            kernel_size,
            strides=strides,
            padding=padding,
            use_bias=False,
            dtype=dtype,
            name=f"{name}.depthwise",
        )
        pointwise = tf_keras.layers.Conv2D(
            filters, 1, activation=activation, dtype=dtype, name=f"{name}.pointwise"
        )
        return lambda x: pointwise(depthwise(x))

    return types.SimpleNamespace(
        layers=types.SimpleNamespace(**public | {"SeparableConv2D": separable}),
        initializers=tf_keras.initializers,
        Input=tf_keras.Input,
        Model=tf_keras.Model,
    )
