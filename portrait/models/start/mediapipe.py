"""Loads the weights of MediaPipe's selfie segmentation, a `.tflite` file, into SelfieNet.

In the file, batch normalisation is folded into the convolutions. It is restored here with means and
variances that are measured on real pictures. The network then computes the same result as the file,
and it can be trained further.
"""

from pathlib import Path

import keras
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from portrait.errors import UserError
from portrait.models.build import build
from portrait.models.weights import load_weights, weights_file
from portrait.tflite import graph as tflite_graph
from portrait.tflite.runtime import TfliteModel
from portrait.util import evenly

# MediaPipe's logits are divided by this number. On 379 training portraits the loss, half binary
# cross-entropy and half Dice, is 0.117 for 1, 0.084 for 2, 0.076 for 3 and 0.083 for 4.
STEEPNESS = 3.0
_BATCH = 16
_PICTURES = 96  # at most, for the statistics of the layers
_CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D", "CUSTOM Convolution2DTransposeBias")
_NUMBERS = {schema.TensorType.FLOAT32: "<f4", schema.TensorType.FLOAT16: "<f2"}
_KERNELS = {
    # From TFLite's layouts, (out, h, w, in) and (1, h, w, channels), to Keras's.
    keras.layers.Conv2D: (1, 2, 3, 0),
    keras.layers.DepthwiseConv2D: (1, 2, 3, 0),
    keras.layers.Conv2DTranspose: (1, 2, 0, 3),
}


def start(model: keras.Model, path: Path, pictures: np.ndarray, exactly: bool = False) -> None:
    """Loads the initial weights of a `selfie_net` of any size, for `models.start.start`.

    Args:
        model: the network.
        path: MediaPipe's `.tflite` file, or weights of the next smaller size: a `.weights.h5` file
            or a run's folder.
        pictures: typical training pictures, uint8 (N, H, W, 3), of the network's size.
        exactly: keep MediaPipe's alphas unchanged instead of softening them for training (see
            `soften`).

    Raises:
        UserError: the file does not exist, or contains the weights of another network.
    """
    shape = model.input_shape[1:3]
    if path.suffix == ".tflite":
        narrow = build("selfie_net", shape, "small")
        load_into(narrow, read_weights(path), np.stack(evenly(pictures, _PICTURES)))
        if not exactly:
            soften(narrow)
    else:
        narrow = build("selfie_net", shape, "big" if model.name == "selfie_net_deep" else "small")
        load_weights(narrow, weights_file(path))
    widen(narrow, model)


def read_weights(path: str | Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """Reads the kernel and the bias of every convolution of a `.tflite` file, in the file's order.

    Returns:
        float32 arrays. Kernels have TFLite's layout: (out, height, width, in), or (1, height,
        width, channels) for a depthwise convolution.

    Raises:
        UserError: the file does not exist, is not a model, or its weights are not floats.
    """
    TfliteModel(path, str(path))  # raises the UserError for files that are not models
    model = tflite_graph.parse(Path(path).read_bytes())
    graph = model.subgraphs[0]
    names = [tflite_graph.op_name(code) for code in model.operatorCodes]
    # float16 weights are the input of a DEQUANTIZE op.
    unpacked = {
        op.outputs[0]: op.inputs[0]
        for op in graph.operators
        if names[op.opcodeIndex] == "DEQUANTIZE"
    }

    def values(index: int) -> np.ndarray:
        tensor = graph.tensors[unpacked.get(index, index)]
        if tensor.type not in _NUMBERS or model.buffers[tensor.buffer].data is None:
            raise UserError(f"{path}: its weights are neither float16 nor float32")
        data = bytes(model.buffers[tensor.buffer].data)
        return np.frombuffer(data, _NUMBERS[tensor.type]).reshape(tensor.shape).astype(np.float32)

    operators = [op for op in graph.operators if names[op.opcodeIndex] in _CONVOLUTIONS]
    return [(values(op.inputs[1]), values(op.inputs[2])) for op in operators]


def load_into(
    model: keras.Model, weights: list[tuple[np.ndarray, np.ndarray]], pictures: np.ndarray
) -> None:
    """Loads the file's weights into a `selfie_net`, except for the boundary head.

    The network then computes the same alphas as the file.

    Args:
        model: the network.
        weights: the result of `read_weights`.
        pictures: some dozens of typical pictures, (N, H, W, 3) in 0..255, of the network's size.

    Raises:
        UserError: the weights do not belong to MediaPipe's selfie segmentation.
    """
    targets = [
        layer
        for layer in model.layers
        if isinstance(layer, tuple(_KERNELS)) and layer.name not in ("normalize", "boundary_logits")
    ]
    normalised = []
    try:
        for layer, (kernel, bias) in zip(targets, weights, strict=True):
            kernel = kernel.transpose(_KERNELS[type(layer)])
            if layer.use_bias:
                layer.set_weights([kernel, bias])
                continue
            layer.set_weights([kernel])
            norm = model.get_layer(f"{layer.name}_norm")
            unit = np.sqrt(1 + norm.epsilon).astype(np.float32) * np.ones_like(bias)
            norm.set_weights([unit, bias, np.zeros_like(bias), np.ones_like(bias)])
            normalised.append((layer, norm))
    except ValueError as error:
        raise UserError("these are not the weights of MediaPipe's selfie segmentation") from error
    statistics = _statistics(model, [layer.output for layer, _ in normalised], pictures)
    for (_, norm), (mean, variance) in zip(normalised, statistics, strict=True):
        # gamma cancels the division by the deviation and beta the subtraction of the mean.
        bias = norm.get_weights()[1]
        norm.set_weights([np.sqrt(variance + norm.epsilon), bias + mean, mean, variance])


def soften(model: keras.Model) -> None:
    """Divides the logits of the alpha by `STEEPNESS`: the same masks with softer outlines.

    MediaPipe's alphas are overconfident. Cross-entropy penalises this strongly, so the first steps
    of training would change all layers only to reduce the confidence.
    """
    head = model.get_layer("output")
    head.set_weights([each / STEEPNESS for each in head.get_weights()])


def _statistics(
    model: keras.Model, maps: list, pictures: np.ndarray
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Mean and variance of every channel of the maps, over all pictures and positions."""
    probe = keras.Model(model.input, maps)
    sums = [[0.0, 0.0] for _ in maps]
    for start in range(0, len(pictures), _BATCH):
        batch = pictures[start : start + _BATCH].astype(np.float32)
        share = len(batch) / len(pictures)
        for each, found in zip(sums, probe(batch, training=False), strict=True):
            found = keras.ops.convert_to_numpy(found).astype(np.float64)
            each[0] += share * found.mean((0, 1, 2))
            each[1] += share * np.square(found).mean((0, 1, 2))
    return [
        (mean.astype(np.float32), np.maximum(square - mean**2, 0).astype(np.float32))
        for mean, square in sums
    ]


def widen(narrow: keras.Model, wide: keras.Model) -> None:
    """Copies the weights of `narrow` into `wide`; additional channels keep their values.

    Args:
        narrow: a network of convolutions, depthwise convolutions, batch normalisations, and sums
            and products of maps.
        wide: a network with layers of the same names and at least as many channels. Its other
            layers keep their weights.
    """
    old_layers = {layer.name: layer for layer in narrow.layers}
    for layer in wide.layers:
        arrays = layer.get_weights()
        if not arrays or layer.name not in old_layers:
            continue
        for ours, theirs in zip(arrays, old_layers[layer.name].get_weights(), strict=True):
            old = tuple(slice(count) for count in theirs.shape)
            if type(layer) is keras.layers.Conv2D and ours.ndim == 4:
                ours[..., old[3]] = 0.0
            ours[old] = theirs
        layer.set_weights(arrays)
