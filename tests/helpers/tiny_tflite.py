"""`.tflite` files of one convolution, without TensorFlow, whose outputs are known by hand."""

from collections.abc import Sequence

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from portrait.models.registry import takes_alpha
from portrait.tflite import graph, metadata

RED = (1 / 255, 0, 0)
"""The kernel of a network that takes the red channel, 0..255, for the alpha."""


def convolution(
    size: tuple[int, int],
    kernel: Sequence = RED,
    plus: np.ndarray | float = 0.0,
    stated: bool = True,
    name: str = "tiny",
) -> bytes:
    """A file that answers each pixel with its channels times `kernel`, and `plus`.

    Args:
        size: (height, width) of its input and output.
        kernel: (C,) of one output channel, or (D, C) of D; C is 3 or 4.
        plus: is added; broadcast to (height, width, D).
        stated: whether there is metadata, as in our files.
        name: the name of the network in the metadata.
    """
    kernel = np.atleast_2d(np.float32(kernel))
    made, taken = kernel.shape
    plus = np.float32(np.broadcast_to(plus, (*size, made)))
    constants = [kernel.reshape(made, 1, 1, taken), np.zeros(made, np.float32), plus[None]]
    shapes = [(1, *size, taken), *(each.shape for each in constants), *2 * [(1, *size, made)]]
    names = ("image", "kernel", "bias", "plus", "mixed", "alpha")
    model = schema.ModelT()
    model.version = 3
    model.buffers = [_buffer(b"")] + [_buffer(each.tobytes()) for each in constants]
    main = schema.SubGraphT()
    main.tensors = [
        _tensor(name, shape, place if 1 <= place <= 3 else 0)
        for place, (name, shape) in enumerate(zip(names, shapes, strict=True))
    ]
    main.inputs, main.outputs = [0], [5]
    codes = schema.BuiltinOperator
    model.operatorCodes = [_code(codes.CONV_2D), _code(codes.ADD)]
    options = schema.Conv2DOptionsT()
    options.strideH = options.strideW = 1
    main.operators = [
        _operator(0, [0, 1, 2], 4, schema.BuiltinOptions.Conv2DOptions, options),
        _operator(1, [4, 3], 5, schema.BuiltinOptions.AddOptions, schema.AddOptionsT()),
    ]
    model.subgraphs = [main]
    if stated:
        write = metadata.name_only if takes_alpha(name) else metadata.image_segmenter
        model.buffers.append(_buffer(write(name, "a convolution")))
        entry = schema.MetadataT()
        entry.name, entry.buffer = metadata.BUFFER_NAME, len(model.buffers) - 1
        model.metadata = [entry]
    return graph.pack(model)


def _buffer(data: bytes) -> schema.BufferT:
    buffer = schema.BufferT()
    buffer.data = data
    return buffer


def _tensor(name: str, shape: tuple[int, ...], buffer: int) -> schema.TensorT:
    tensor = schema.TensorT()
    tensor.name, tensor.shape, tensor.buffer = name, list(shape), buffer
    tensor.type = schema.TensorType.FLOAT32
    return tensor


def _code(number: int) -> schema.OperatorCodeT:
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = number
    code.version = 1
    return code


def _operator(code: int, inputs: list[int], output: int, kind: int, options) -> schema.OperatorT:
    operator = schema.OperatorT()
    operator.opcodeIndex, operator.inputs, operator.outputs = code, inputs, [output]
    operator.builtinOptionsType, operator.builtinOptions = kind, options
    return operator
