"""Quantisation-aware training with tfmot.

During training, activations and weights are rounded to 256 levels as in the int8 file.
"""

import numpy as np
import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras

from portrait.errors import UserError, first_line
from portrait.export.compress.bridge import Channels, hard_sigmoid, hard_silu

_quantisation = tfmot.quantization.keras
_BATCH = 8
# The input range, -x..x, of saturating activations. Beyond it the output of the sigmoid changes by
# less than 1/256 of its range, and the output of tanh by less than 1/127.
_SATURATED = {"sigmoid": 8.0, "tanh": 4.0}


class _OutputOnly(_quantisation.QuantizeConfig):
    """Rounds only the output of a layer that tfmot does not support, or nothing.

    Args:
        rounds: whether to round the output; False if it has the same levels as the input.
    """

    def __init__(self, rounds: bool):
        self.rounds = rounds

    def get_weights_and_quantizers(self, layer):
        return []

    def set_quantize_weights(self, layer, quantize_weights):
        pass

    def get_activations_and_quantizers(self, layer):
        return []

    def set_quantize_activations(self, layer, quantize_activations):
        pass

    def get_output_quantizers(self, layer):
        if not self.rounds:
            return []
        return [
            _quantisation.quantizers.MovingAverageQuantizer(
                num_bits=8, per_axis=False, symmetric=False, narrow_range=False
            )
        ]

    def get_config(self):
        return {"rounds": self.rounds}


def quantisation_aware(network: tf_keras.Model, pictures: np.ndarray) -> tf_keras.Model:
    """Adds rounding to a network, ready for fine-tuning.

    tfmot initialises all ranges to -6..6 and updates them by a factor of 0.001 per step, which is
    too slow for a short fine-tuning. Here they are initialised with the trained network's ranges.

    Args:
        network: from `bridge.twin`; it is not changed.
        pictures: uint8 RGB (N, H, W, 3), of the network's size, to measure the ranges.

    Returns:
        A model with the inputs and outputs of `network`. Batch normalisation is frozen, because
        ranges would vary with the statistics of the batches.

    Raises:
        UserError: tfmot cannot quantise a layer; the message names it.
    """
    annotated = tf_keras.models.clone_model(network, clone_function=_annotated)
    try:
        with _quantisation.quantize_scope({"_OutputOnly": _OutputOnly}):
            rounding = _quantisation.quantize_apply(annotated)
    except (RuntimeError, ValueError) as error:
        raise UserError(
            f"{network.name} cannot be trained in 8 bits: {first_line(error)}"
        ) from error
    _equalise(rounding, network)
    _set_ranges(rounding, network, pictures)
    for layer in rounding.layers:
        inner = getattr(layer, "layer", None)
        if isinstance(inner, tf_keras.layers.BatchNormalization):
            layer.trainable = False
    return rounding


def _annotated(layer: tf_keras.layers.Layer) -> tf_keras.layers.Layer:
    kinds = tf_keras.layers
    activation = getattr(layer, "activation", None)
    if activation is hard_sigmoid:  # several ops in TFLite, with rounding after each of them
        raise UserError(f"the layer {layer.name} (hard_sigmoid) cannot be trained in 8 bits")
    # TFLite's converter quantises a PReLU's slopes itself; rounded slopes would keep it in float.
    if isinstance(layer, kinds.PReLU | kinds.Multiply | kinds.Rescaling | Channels):
        return _quantisation.quantize_annotate_layer(layer, _OutputOnly(True))
    if activation is hard_silu:
        return _quantisation.quantize_annotate_layer(layer, _OutputOnly(True))
    if isinstance(layer, kinds.UpSampling2D):
        return _quantisation.quantize_annotate_layer(layer, _OutputOnly(False))
    return _quantisation.quantize_annotate_layer(layer)


def _equalise(rounding: tf_keras.Model, network: tf_keras.Model) -> None:
    """Gives all channels of a depthwise kernel the same largest value, 1.

    tfmot rounds these kernels with one step for all channels. Without this, a channel with values
    a hundred times smaller than the largest is rounded to 0. The batch normalisation after the
    kernel takes the factors; the function stays the same (Nagel et al., 1906.04721).
    """
    for norm in network.layers:
        if not isinstance(norm, tf_keras.layers.BatchNormalization):
            continue
        before = norm.inbound_nodes[0].inbound_layers
        if not isinstance(before, tf_keras.layers.DepthwiseConv2D) or before.use_bias:
            continue
        kernel, gamma, mean = (
            _variable(rounding.get_layer(f"quant_{layer.name}"), name)
            for layer, name in (
                (before, "depthwise_kernel"),
                (norm, "gamma"),
                (norm, "moving_mean"),
            )
        )
        largest = np.abs(kernel.numpy()).max(axis=(0, 1))
        largest[largest == 0] = 1.0
        kernel.assign(kernel / largest)
        gamma.assign(gamma * largest.reshape(-1))
        mean.assign(mean / largest.reshape(-1))


def _variable(layer: tf_keras.layers.Layer, name: str) -> tf.Variable:
    """The weight of this name; attributes hold rounded values once a layer was called."""
    return next(each for each in layer.weights if _last_part(each) == name)


def _last_part(variable: tf.Variable) -> str:
    return variable.name.split("/")[-1].split(":")[0]


def _set_ranges(rounding: tf_keras.Model, network: tf_keras.Model, pictures: np.ndarray) -> None:
    """Sets the range of every activation to the network's on the pictures, and of every kernel.

    Training finds the kernels' ranges in every step; this is for use before the first one.
    """
    ranges = _ranges(network, pictures)
    for layer in rounding.layers:
        name = layer.name.removeprefix("quant_")
        for variable in layer.weights:
            kind, _, end = _last_part(variable).rpartition("_")
            if end not in ("min", "max"):
                continue
            if kind == layer.name:  # the range of the input
                low, high = 0.0, 255.0
            elif kind == "pre_activation":
                high = _SATURATED[network.get_layer(name).activation.__name__]
                low = -high
            elif kind in ("post_activation", "output"):
                low, high = ranges[name]
            else:  # of weights, with one range for each place of their last axis, or one for all
                weights = np.abs(_variable(layer, kind).numpy())
                high = weights.max(axis=tuple(range(weights.ndim - len(variable.shape))))
                low = -high
            variable.assign(low if end == "min" else high)


def _ranges(network: tf_keras.Model, pictures: np.ndarray) -> dict[str, tuple[float, float]]:
    """The smallest and largest output of each layer, averaged over batches.

    Ranges include 0, which padding needs to be exact.
    """
    layers = [each for each in network.layers if not isinstance(each, tf_keras.layers.InputLayer)]
    probe = tf_keras.Model(network.input, [layer.output for layer in layers])
    extremes = []
    for start in range(0, len(pictures), _BATCH):
        outputs = probe(pictures[start : start + _BATCH].astype(np.float32), training=False)
        extremes.append([(np.min(output), np.max(output)) for output in outputs])
    means = np.mean(extremes, axis=0)
    return {
        layer.name: (min(0.0, float(low)), max(0.0, float(high)))
        for layer, (low, high) in zip(layers, means, strict=True)
    }


def with_channels(rounding: tf_keras.Model, channels: int) -> tf_keras.Model:
    """The trained network with the alpha as its only output, for RGB or RGBA pictures.

    Args:
        rounding: from `quantisation_aware`.
        channels: 3 or 4.
    """
    if channels == 3:
        return tf_keras.Model(rounding.input, rounding.outputs[0], name=rounding.name)
    image = tf_keras.Input((*rounding.input_shape[1:3], channels), name="image")

    def copied(layer):
        config = layer.get_config()
        if layer.name == "quant_normalize":  # its initial values are for three channels
            config["layer"]["config"]["kernel_initializer"] = "zeros"
        return type(layer).from_config(config)

    with _quantisation.quantize_scope({"_OutputOnly": _OutputOnly}):
        wider = tf_keras.models.clone_model(rounding, image, copied)
    for variable, trained in zip(wider.weights, rounding.weights, strict=True):
        value = trained.numpy()
        if value.shape != variable.shape:  # the kernel that ignores the fourth channel
            value = np.pad(value, ((0, 0), (0, 0), (0, 1), (0, 0)))
        variable.assign(value)
    return tf_keras.Model(wider.input, wider.outputs[0], name=f"{rounding.name}_rgba")
