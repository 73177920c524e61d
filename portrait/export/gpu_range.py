"""Measures the largest activation of each layer of a `.tflite` file on real pictures.

Phone GPUs compute in float16, whose largest number is 65,504. A larger activation becomes infinite
there, and the outputs become NaN or garbage, although the same file is correct on every CPU.
"""

from collections.abc import Collection, Sequence

import numpy as np

from portrait.export import gpu_ops
from portrait.export.formats import Activation, Violation
from portrait.export.verify import as_input
from portrait.tflite import graph as tflite_graph
from portrait.tflite.runtime import TfliteModel
from portrait.util import evenly

LIMIT = 16_000.0
"""A quarter of float16's largest number, because other pictures may have larger activations."""

_PICTURES = 16


def largest_activations(
    model: bytes, pictures: np.ndarray, layers: Collection[str] = ()
) -> list[Activation]:
    """Runs a file on pictures with LiteRT's built-in kernels (no XNNPACK), which compute op by op.

    Args:
        model: the bytes of a `.tflite` file.
        pictures: uint8 RGB (N, H, W, 3), of the file's input size; 16 of them are used.
        layers: the names of the Keras model's layers, to report the layer of each op.

    Returns:
        The largest absolute activation of each op with a computed output, in the order of the ops.
        Quantised tensors are dequantised first.
    """
    run = TfliteModel(model, "the file", xnnpack=False, keep_tensors=True)
    parsed = tflite_graph.parse(model).subgraphs[0]
    computed = [
        (operator.outputs[0], op)
        for operator, op in zip(parsed.operators, tflite_graph.read(model).ops, strict=True)
        if not op.outputs[0].constant
    ]
    largest = np.zeros(len(computed))
    for picture in evenly(pictures, _PICTURES):
        run(as_input(picture, run.channels)[0])
        found = [_magnitude(run, index) for index, _ in computed]
        largest = np.maximum(largest, found)  # NaN stays NaN
    return [
        Activation(float(value), op.name, op.outputs[0].name, gpu_ops.layer_of(op, layers))
        for value, (_, op) in zip(largest, computed, strict=True)
    ]


def check(activations: Sequence[Activation]) -> list[Violation]:
    """Returns the first op with an activation above `LIMIT` or NaN; an empty list if there is none.

    Later ops are not listed, because their activations follow from the first one.
    """
    for each in activations:
        if not each.largest <= LIMIT:
            reason = "activations that are not numbers (NaN)"
            if each.largest > LIMIT:
                reason = (
                    f"activations up to {each.largest:,.0f}, over {LIMIT:,.0f}: "
                    "GPUs compute in float16, which ends at 65,504"
                )
            return [Violation(each.op, each.tensor, each.layer, reason)]
    return []


def _magnitude(run: TfliteModel, index: int) -> float:
    values = run.tensor(index)
    return float(np.abs(values).max()) if values.size else 0.0
