"""Copies a trained Keras 3 network to tf_keras, the Keras 2 that tfmot supports, and back.

`twin` walks the graph of the network and rebuilds it layer by layer. Layers keep their names, and
weights are copied by name.
"""

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tf_keras

from portrait.errors import UserError

# Layers with the same name and options in Keras 3 and tf_keras.
_SHARED = (
    *("Conv2D", "Conv2DTranspose", "DepthwiseConv2D", "BatchNormalization", "Dropout", "Rescaling"),
    *("Activation", "PReLU", "ReLU", "Add", "Concatenate", "Multiply", "UpSampling2D"),
    *("AveragePooling2D", "GlobalAveragePooling2D", "MaxPooling2D", "Cropping2D", "ZeroPadding2D"),
)


@tf_keras.utils.register_keras_serializable("portrait_segmentation")
def hard_sigmoid(x: tf.Tensor) -> tf.Tensor:
    """relu6(x + 3) / 6, as in Keras 3; the function of this name in tf_keras differs."""
    return tf.nn.relu6(x + 3.0) / 6.0


@tf_keras.utils.register_keras_serializable("portrait_segmentation")
def hard_silu(x: tf.Tensor) -> tf.Tensor:
    """x relu6(x + 3) / 6, also called hard swish (Howard et al., 1905.02244)."""
    return x * hard_sigmoid(x)


OWN_ACTIVATIONS = {"hard_sigmoid": hard_sigmoid, "hard_silu": hard_silu}
"""Activations that tf_keras does not have, by their names in Keras 3."""


@tf_keras.utils.register_keras_serializable("portrait_segmentation")
class Channels(tf_keras.layers.Layer):
    """Selects the channels from `start` up to, but not including, `stop`."""

    def __init__(self, start: int, stop: int, **kwargs):
        super().__init__(**kwargs)
        self.start, self.stop = start, stop

    def call(self, x):
        return x[..., self.start : self.stop]

    def get_config(self):
        return {**super().get_config(), "start": self.start, "stop": self.stop}


def twin(model: keras.Model) -> tf_keras.Model:
    """Rebuilds a network in tf_keras, with the same weights and layer names.

    A separable convolution becomes two layers, NAME.depthwise and NAME.pointwise, so that tfmot can
    treat each of them. The copy computes in float32.

    Args:
        model: a network from `models.build`.

    Returns:
        A model from raw RGB (N, H, W, 3) in 0..255 to the list of `output` and
        `boundary_attention`, each (N, H, W, 1) in 0..1.

    Raises:
        UserError: a layer cannot be rebuilt; the message names it.
    """
    graph = model.get_config()
    operations = {each.name: each for each in model.operations}
    outputs: dict[str, list] = {}
    for entry in graph["layers"]:
        name = entry["name"]
        if entry["class_name"] == "InputLayer":
            shape = entry["config"]["batch_shape"][1:]
            outputs[name] = [tf_keras.Input(shape, name=name)]
        elif _splits(operations[name], entry):
            outputs[name] = _parts(_arguments(entry, outputs), entry["config"])
        else:
            layers = _counterparts(operations[name], entry)
            x = _arguments(entry, outputs)
            for layer in layers:
                x = layer(x)
            outputs[name] = [x]
    ends = [graph["output_layers"][name] for name in ("output", "boundary_attention")]
    network = tf_keras.Model(
        _tensor(graph["input_layers"], outputs),
        [_tensor(end, outputs) for end in ends],
        name=model.name,
    )
    for layer, copies in _pairs(model, network):
        weights = layer.get_weights()
        for copy in copies:
            count = len(copy.weights)
            copy.set_weights(weights[:count])
            weights = weights[count:]
    return network


def take_weights(model: keras.Model, network: tf_keras.Model) -> None:
    """Copies the weights of the twin `network` back to `model`."""
    for layer, copies in _pairs(model, network):
        layer.set_weights([weight for copy in copies for weight in copy.get_weights()])


def absorb_batch_norms(network: tf_keras.Model) -> None:
    """Folds the scale of each batch normalisation into the convolution before it, if there is one.

    Converters do the same. If it happened after clustering, equal weights of a kernel would become
    different values in each channel. The remaining normalisation only adds a constant.
    """
    for norm in network.layers:
        if not isinstance(norm, tf_keras.layers.BatchNormalization):
            continue
        before = norm.inbound_nodes[0].inbound_layers
        if not (norm.scale and norm.center and _absorbs(before)):
            continue
        kernel, *bias = before.get_weights()
        gamma, beta, mean, variance = norm.get_weights()
        scale = gamma / np.sqrt(variance + norm.epsilon)
        if isinstance(before, tf_keras.layers.DepthwiseConv2D):
            kernel = kernel * scale.reshape(kernel.shape[2:])
        elif isinstance(before, tf_keras.layers.Conv2DTranspose):
            kernel = kernel * scale[:, np.newaxis]
        else:
            kernel = kernel * scale
        before.set_weights([kernel, *(each * scale for each in bias)])
        ones = np.ones_like(gamma)
        norm.set_weights([ones, beta - mean * scale, 0 * ones, (1 - norm.epsilon) * ones])


def _absorbs(layer: tf_keras.layers.Layer) -> bool:
    """Whether a scale after `layer` can be folded into its kernel."""
    return (
        isinstance(layer, tf_keras.layers.Conv2D)  # including its subclasses
        and layer.activation is tf_keras.activations.linear
        and len(layer.outbound_nodes) == 1
    )


def _counterparts(operation: Any, entry: Mapping[str, Any]) -> list[tf_keras.layers.Layer]:
    """The layers of tf_keras that, in sequence, compute the same as `operation`."""
    kind, config = entry["class_name"], entry["config"]
    name = config["name"]
    if isinstance(operation, keras.layers.SeparableConv2D):
        depthwise = {**config, "use_bias": False, "activation": None}
        pointwise = {key: config[key] for key in ("filters", "use_bias", "activation", "trainable")}
        return [
            *_made("DepthwiseConv2D", {**depthwise, "name": f"{name}.depthwise"}),
            *_made("Conv2D", {**pointwise, "name": f"{name}.pointwise", "kernel_size": 1}),
        ]
    if kind in _SHARED and isinstance(operation, getattr(keras.layers, kind)):
        return _made(kind, config)
    raise _unknown(entry, "tf_keras has no such layer")


def _splits(operation: Any, entry: Mapping[str, Any]) -> bool:
    """Whether `operation` is `keras.ops.split` of the channels into equal parts."""
    return (
        entry["class_name"] == "Split"
        and not isinstance(operation, keras.layers.Layer)
        and entry["config"]["axis"] in (-1, 3)
        and isinstance(entry["config"]["indices_or_sections"], int)
    )


def _parts(x: Any, config: Mapping[str, Any]) -> list:
    """The parts of `keras.ops.split`."""
    count = config["indices_or_sections"]
    size = x.shape[-1] // count
    return [
        Channels(index * size, (index + 1) * size, name=f"{config['name']}.{index}")(x)
        for index in range(count)
    ]


def _made(kind: str, config: Mapping[str, Any]) -> list[tf_keras.layers.Layer]:
    """The layer of this kind, followed by its activation if that must be a separate layer."""
    layer = getattr(tf_keras.layers, kind)
    # Initializers and regularizers are not needed, because the weights are replaced.
    options = {
        key: config[key]
        for key in ("name", "trainable", *inspect.signature(layer).parameters)
        if key in config and not key.endswith(("_initializer", "_regularizer", "_constraint"))
    }
    own = OWN_ACTIVATIONS.get(config.get("activation"))
    if own is None:
        return [layer(**options)]
    if kind == "Activation":
        return [layer(**options | {"activation": own})]
    name = f"{config['name']}.activation"
    return [layer(**options | {"activation": None}), tf_keras.layers.Activation(own, name=name)]


def _arguments(entry: Mapping[str, Any], outputs: Mapping[str, list]) -> Any:
    """The input tensor of a layer, or a list of tensors."""
    if len(entry["inbound_nodes"]) > 1:
        raise _unknown(entry, "it is called more than once")
    (arguments,) = entry["inbound_nodes"][0]["args"]
    if isinstance(arguments, dict):
        return _tensor(arguments["config"]["keras_history"], outputs)
    return [_tensor(each["config"]["keras_history"], outputs) for each in arguments]


def _tensor(history: tuple[str, int, int], outputs: Mapping[str, list]) -> Any:
    """The tensor for (layer, number of the call, number of the output) in a configuration."""
    name, _, index = history
    return outputs[name][index]


def _unknown(entry: Mapping[str, Any], reason: str) -> UserError:
    return UserError(
        f"the network cannot be compressed because of its layer {entry['name']}"
        f" ({entry['class_name']}): {reason}"
    )


def _pairs(
    model: keras.Model, network: tf_keras.Model
) -> Iterator[tuple[keras.layers.Layer, list[tf_keras.layers.Layer]]]:
    """Yields each layer of `model` with weights, and the layers of the twin with its weights."""
    for layer in model.layers:
        if not layer.weights:
            continue
        names = [layer.name]
        if isinstance(layer, keras.layers.SeparableConv2D):
            names = [f"{layer.name}.depthwise", f"{layer.name}.pointwise"]
        yield layer, [network.get_layer(name) for name in names]
