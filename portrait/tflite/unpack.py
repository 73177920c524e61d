"""Stores float16 constants as float32, for runtimes that do not accelerate DEQUANTIZE of float16.

LiteRT's WebAssembly build is such a runtime. The outputs stay the same, because the constants have
the values that DEQUANTIZE would compute in each run. The file grows, but its compressed size hardly
changes, because half of the bytes of each constant are mostly zeros.
"""

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from portrait.tflite import graph


def unpack_float16(model: bytes) -> bytes:
    """Removes the DEQUANTIZE ops of float16 constants from a `.tflite` file.

    Args:
        model: the bytes of a file, with or without such constants.

    Returns:
        The bytes of a file with the same outputs.
    """
    parsed = graph.parse(model)
    if not sum(_unpack(parsed, subgraph) for subgraph in parsed.subgraphs):
        return model
    return graph.pack(parsed)


def _unpack(model: schema.ModelT, subgraph: schema.SubGraphT) -> int:
    """Unpacks the constants of a graph in place; returns the number of removed ops."""
    kept, unpacked = [], set()
    for op in subgraph.operators:
        packed = subgraph.tensors[op.inputs[0]] if len(op.inputs) else None
        if (
            graph.op_name(model.operatorCodes[op.opcodeIndex]) != "DEQUANTIZE"
            or packed.type != schema.TensorType.FLOAT16
            or (data := model.buffers[packed.buffer].data) is None
        ):
            kept.append(op)
            continue
        buffer = schema.BufferT()
        values = np.frombuffer(bytes(data), "<f2").astype("<f4")
        buffer.data = values.view(np.uint8)
        subgraph.tensors[op.outputs[0]].buffer = len(model.buffers)
        model.buffers.append(buffer)
        unpacked.add(op.inputs[0])
    used = {index for op in kept for index in op.inputs}
    for index in unpacked - used:  # no op reads them any more
        subgraph.tensors[index].buffer = 0
    _drop_unused(model)
    removed = len(subgraph.operators) - len(kept)
    subgraph.operators = kept
    return removed


def _drop_unused(model: schema.ModelT) -> None:
    """Empties the buffers that no tensor and no metadata refers to."""
    used = {tensor.buffer for subgraph in model.subgraphs for tensor in subgraph.tensors}
    used |= {entry.buffer for entry in model.metadata or ()}
    for number, buffer in enumerate(model.buffers):
        if number not in used:
            buffer.data = None
