"""Fills SelfieNet with the weights of MediaPipe's selfie segmentation, out of its `.tflite` file.

The file's batch normalisations are folded into its convolutions. Here they are put back, with what
the convolutions give on real pictures for their means and variances: the network computes what the
file does, and can be trained on.
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

# By what MediaPipe's logits are best divided. On 379 training portraits the loss, half binary
# cross-entropy and half Dice, is 0.117 without it; 0.084 for 2, 0.076 for 3, 0.083 for 4.
STEEPNESS = 3.0
_BATCH = 16
_PICTURES = 96  # that the statistics of the layers are taken from
_CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D", "CUSTOM Convolution2DTransposeBias")
_NUMBERS = {schema.TensorType.FLOAT32: "<f4", schema.TensorType.FLOAT16: "<f2"}
_KERNELS = {
    # From TFLite's layouts, (out, h, w, in) and (1, h, w, channels), to Keras's.
    keras.layers.Conv2D: (1, 2, 3, 0),
    keras.layers.DepthwiseConv2D: (1, 2, 3, 0),
    keras.layers.Conv2DTranspose: (1, 2, 0, 3),
}


def start(model: keras.Model, path: Path, pictures: np.ndarray, exactly: bool = False) -> None:
    """Fills a fresh `selfie_net` of any size, for `models.start.start`.

    Args:
        model: the network.
        path: MediaPipe's `.tflite` file; or weights of the next smaller size, a `.weights.h5` file
            or the folder of a run.
        pictures: uint8 (N, H, W, 3) of the network's size, such as it will be trained on.
        exactly: keep MediaPipe's alphas as they are. Training continues better from softer ones
            (see `soften`).

    Raises:
        UserError: no such weights, or not of this network.
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
    """The kernel and the bias of every convolution in a `.tflite` file, float32, in its order.

    Kernels are as TFLite has them: (out, height, width, in), of a depthwise one (1, height, width,
    channels).

    Raises:
        UserError: no such file, not a model, or its weights are not floats.
    """
    TfliteModel(path, str(path))  # what is no model is refused by it
    model = tflite_graph.parse(Path(path).read_bytes())
    graph = model.subgraphs[0]
    names = [tflite_graph.op_name(code) for code in model.operatorCodes]
    # Weights in half precision go through a DEQUANTIZE first.
    unpacked = {
        op.outputs[0]: op.inputs[0]
        for op in graph.operators
        if names[op.opcodeIndex] == "DEQUANTIZE"
    }

    def values(index: int) -> np.ndarray:
        tensor = graph.tensors[unpacked.get(index, index)]
        if tensor.type not in _NUMBERS or model.buffers[tensor.buffer].data is None:
            raise UserError(f"{path}: its weights are not of 16 or 32 bits floating point")
        data = bytes(model.buffers[tensor.buffer].data)
        return np.frombuffer(data, _NUMBERS[tensor.type]).reshape(tensor.shape).astype(np.float32)

    operators = [op for op in graph.operators if names[op.opcodeIndex] in _CONVOLUTIONS]
    return [(values(op.inputs[1]), values(op.inputs[2])) for op in operators]


def load_into(
    model: keras.Model, weights: list[tuple[np.ndarray, np.ndarray]], pictures: np.ndarray
) -> None:
    """Fills `selfie_net`, so that it gives what the file gives; all but the boundary head.

    Args:
        model: the network.
        weights: as `read_weights` gives them.
        pictures: (N, H, W, 3) in 0..255, of the network's size; some dozens, such as it is for.

    Raises:
        UserError: they are not those of MediaPipe's selfie segmentation.
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
        # The same function, whatever the statistics: gamma undoes the division, beta the mean.
        bias = norm.get_weights()[1]
        norm.set_weights([np.sqrt(variance + norm.epsilon), bias + mean, mean, variance])


def soften(model: keras.Model) -> None:
    """Divides the logits of the alpha by `STEEPNESS`: the same masks, with softer outlines.

    MediaPipe's alphas are nearer to 0 and 1 than they are right, which cross-entropy punishes most:
    training would first of all learn to doubt, with every layer.
    """
    head = model.get_layer("output")
    head.set_weights([each / STEEPNESS for each in head.get_weights()])


def _statistics(
    model: keras.Model, maps: list, pictures: np.ndarray
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Mean and variance of every channel of some maps, over all pictures and places."""
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
    """Fills `wide` with the weights of `narrow`; new channels stay as they are.

    Args:
        narrow: a network of convolutions, depthwise convolutions, batch normalisations, and sums
            and products of maps.
        wide: the same layers by the same names, with as many channels or more; its other layers
            stay as they are.
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
