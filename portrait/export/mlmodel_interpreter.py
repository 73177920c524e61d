"""Runs a saved Core ML neural network (`.mlmodel`, the format before programs) in NumPy.

**This is not Apple's runtime**, which exists on Apple's systems only. The interpreter executes the
file in float32 according to Apple's public definition of each layer (NeuralNetwork.proto in
apple/coremltools). It reveals errors of the conversion, but not errors of a phone's GPU.

Only the layers that this project's networks use are implemented; other layers raise an error.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import coremltools as ct
import numpy as np

from portrait.export import coreml_ops
from portrait.export.formats import ExportError

Message = Any
"""A protobuf message of NeuralNetwork.proto, which has no Python types."""

LAYERS: dict[str, Callable[..., np.ndarray]] = {
    "reduceSum": lambda layer, x: x.sum(
        None if layer.reduceAll else tuple(layer.axes), keepdims=layer.keepDims
    ),
    "slice": lambda layer, x: _sliced(layer, x),
    "softmaxND": lambda layer, x: coreml_ops.softmax(x, layer.axis),
    "transpose": lambda layer, x: x.transpose(layer.axes),
}
"""The implemented layers by name: functions of a layer's parameters and inputs."""

ACTIVATIONS: dict[str, Callable[[Message, np.ndarray], np.ndarray]] = {
    "PReLU": lambda parameters, x: coreml_ops.prelu(x, _weights(parameters.alpha)),
    "ReLU": lambda parameters, x: np.maximum(x, 0),
    "leakyReLU": lambda parameters, x: np.where(x > 0, x, np.float32(parameters.alpha) * x),
    "linear": lambda parameters, x: np.float32(parameters.alpha) * x + np.float32(parameters.beta),
    "sigmoid": lambda parameters, x: coreml_ops.sigmoid(x),
    "tanh": lambda parameters, x: np.tanh(x),
}


def load(path: Path) -> Message:
    """Reads the specification, including the weights, from an `.mlmodel`."""
    return ct.utils.load_spec(str(path))


def run(specification: Message, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Executes the layers in order.

    Args:
        specification: the result of `load`.
        inputs: the inputs by name; an image is float32 (1, channels, H, W) in 0..255.

    Returns:
        The outputs by name.

    Raises:
        ExportError: a layer is not in `LAYERS`, or a parameter is not supported.
        ValueError: an image does not have the size that the file declares.
    """
    network = specification.neuralNetwork
    _require(network.imageInputShapeMapping == 1, "images of other ranks than 4")
    results = {}
    for feature in specification.description.input:
        image = feature.type.imageType
        if inputs[feature.name].shape[2:] != (image.height, image.width):
            raise ValueError(f"{feature.name} is {inputs[feature.name].shape}, for {image}")
        results[feature.name] = inputs[feature.name]
    for step in network.preprocessing:
        results[step.featureName] = _scaled(step, results[step.featureName])
    with coreml_ops.one_thread():
        for layer in network.layers:
            name = layer.WhichOneof("layer")
            if name not in LAYERS:
                raise ExportError(
                    f"the interpreter has no Core ML layer {name!r} (for {layer.name!r}); "
                    f"it has {', '.join(sorted(LAYERS))}"
                )
            values = (results[each] for each in layer.input)
            results[layer.output[0]] = LAYERS[name](getattr(layer, name), *values)
    return {output.name: results[output.name] for output in specification.description.output}


def count_layers(specification: Message) -> Counter[str]:
    """Counts the layers by name; an activation is counted by its own name."""
    names = (
        layer.activation.WhichOneof("NonlinearityType") or layer.WhichOneof("layer")
        for layer in specification.neuralNetwork.layers
    )
    return Counter(names)


def _scaled(step: Message, image: np.ndarray) -> np.ndarray:
    _require(step.WhichOneof("preprocessor") == "scaler", "a mean image")
    scaler = step.scaler
    biases = [scaler.redBias, scaler.greenBias, scaler.blueBias]
    if image.shape[1] == 1:
        biases = [scaler.grayBias]
    return image * np.float32(scaler.channelScale) + np.float32(biases).reshape(-1, 1, 1)


def _require(condition: bool, what: str) -> None:
    if not condition:
        raise ExportError(f"the interpreter of Core ML neural networks does not support {what}")


def _weights(weights: Message) -> np.ndarray:
    _require(bool(weights.floatValue), "weights that are not float32")
    return np.asarray(weights.floatValue, np.float32)


def _sliced(layer: Message, x: np.ndarray) -> np.ndarray:
    """A slice of one of the last three dimensions, which the layer calls channel, height, width."""
    axis = layer.axis - 3
    x = x.swapaxes(axis, -1)[..., layer.startIndex : layer.endIndex : layer.stride]
    return x.swapaxes(axis, -1)


def _layer(function: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    LAYERS[function.__name__] = function
    return function


def _pair(values: Message, default: int) -> tuple[int, int]:
    """Reads a repeated field of height and width; an empty field has the default value."""
    return tuple(values) or (default, default)


def _padding(
    layer: Message,
    kind: str,
    x: np.ndarray,
    kernel: coreml_ops.Pair,
    strides: coreml_ops.Pair,
    dilations: coreml_ops.Pair = (1, 1),
) -> coreml_ops.Padding:
    """The padding from the oneof field `kind` of a layer."""
    chosen = layer.WhichOneof(kind) or "valid"
    if chosen == "same":
        _require(layer.same.asymmetryMode == 0, "TOP_LEFT_HEAVY padding")
        return coreml_ops.same_padding(x.shape[2:], kernel, strides, dilations)
    _require(chosen == "valid", f"padding {chosen}")
    borders = layer.valid.paddingAmounts.borderAmounts
    return [(each.startEdgeSize, each.endEdgeSize) for each in borders] or ((0, 0), (0, 0))


@_layer
def convolution(layer: Message, x: np.ndarray) -> np.ndarray:
    kernel, strides = _pair(layer.kernelSize, 3), _pair(layer.stride, 1)
    groups = layer.nGroups or 1
    bias = _weights(layer.bias) if layer.hasBias else None
    if not layer.isDeconvolution:
        shape = (layer.outputChannels, layer.kernelChannels, *kernel)
        weight = _weights(layer.weights).reshape(shape)
        dilations = _pair(layer.dilationFactor, 1)
        padding = _padding(layer, "ConvolutionPaddingType", x, kernel, strides, dilations)
        return coreml_ops.convolve(x, weight, bias, strides, padding, dilations, groups)
    shape = (layer.kernelChannels, layer.outputChannels // groups, *kernel)
    weight = _weights(layer.weights).reshape(shape)
    # The padding of a deconvolution is ignored if there is an output shape.
    _require(len(layer.outputShape) == 2, "a deconvolution without an output shape")
    full = coreml_ops.transposed_size(x.shape[2:], kernel, strides)
    crop = coreml_ops.crop_to(full, layer.outputShape)
    return coreml_ops.transposed_convolve(x, weight, bias, strides, crop, groups)


@_layer
def activation(layer: Message, x: np.ndarray) -> np.ndarray:
    name = layer.WhichOneof("NonlinearityType")
    if name not in ACTIVATIONS:
        raise ExportError(
            f"the interpreter has no Core ML activation {name!r}; "
            f"it has {', '.join(sorted(ACTIVATIONS))}"
        )
    return ACTIVATIONS[name](getattr(layer, name), x)


@_layer
def unary(layer: Message, x: np.ndarray) -> np.ndarray:
    """The maximum of a constant and each value; converters combine two of them to ReLU6."""
    _require(layer.type == layer.THRESHOLD, "unary functions other than threshold")
    scaled = np.float32(layer.scale) * x + np.float32(layer.shift)
    return np.maximum(scaled, np.float32(layer.alpha))


@_layer
def add(layer: Message, *values: np.ndarray) -> np.ndarray:
    """The sum of the inputs, or of a single input and a constant."""
    return values[0] + np.float32(layer.alpha) if len(values) == 1 else sum(values)


@_layer
def multiply(layer: Message, *values: np.ndarray) -> np.ndarray:
    """The product of the inputs, (C, H, W) or (C, 1, 1), or of a single input and a constant."""
    return values[0] * np.float32(layer.alpha) if len(values) == 1 else math.prod(values)


@_layer
def concat(layer: Message, *values: np.ndarray) -> np.ndarray:
    _require(not layer.sequenceConcat, "concatenation of sequences")
    return np.concatenate(values, axis=1)


@_layer
def concatND(layer: Message, *values: np.ndarray) -> np.ndarray:
    _require(not layer.interleave, "interleave")
    return np.concatenate(values, layer.axis)


@_layer
def pooling(layer: Message, x: np.ndarray) -> np.ndarray:
    kernel, strides = _pair(layer.kernelSize, 3), _pair(layer.stride, 1)
    if layer.globalPooling:  # then the kernel and the stride are zeros
        kernel, strides = x.shape[2:], (1, 1)
    padding = _padding(layer, "PoolingPaddingType", x, kernel, strides)
    modes = {0: "max", 1: "average"}
    _require(layer.type in modes, "L2 pooling")
    return coreml_ops.pool(
        x,
        kernel,
        strides,
        modes[layer.type],
        padding,
        average_padding=not layer.avgPoolExcludePadding,
    )


@_layer
def upsample(layer: Message, x: np.ndarray) -> np.ndarray:
    _require(layer.mode == 1, "enlargement by nearest neighbours")
    factors = tuple(layer.fractionalScalingFactor) or _pair(layer.scalingFactor, 1)
    size = [int(length * factor) for length, factor in zip(x.shape[2:], factors, strict=True)]
    sampling = ("corner", "align_corners", "half_pixel")[layer.linearUpsampleMode]
    return coreml_ops.resize_bilinear(x, size, sampling)
