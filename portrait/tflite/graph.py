"""The ops and tensors of a `.tflite` file, read from its bytes."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema


@dataclass(frozen=True)
class Tensor:
    """A tensor of the main graph.

    Attributes:
        name: the converter's name, with the scopes of the Keras layers.
        shape: the shape; sides that are not fixed are -1 or 1.
        type: "FLOAT32", "INT8", ...
        constant: whether the file contains its values, possibly as float16 before a DEQUANTIZE.
        fixed: whether the shape is known before the model runs.
    """

    name: str
    shape: tuple[int, ...]
    type: str
    constant: bool
    fixed: bool


@dataclass(frozen=True)
class Op:
    """An op of the main graph; `inputs` does not contain optional inputs that are absent."""

    name: str
    version: int
    options: Any
    inputs: list[Tensor]
    outputs: list[Tensor]


@dataclass(frozen=True)
class Graph:
    """The main graph.

    Attributes:
        ops: the ops in the order of execution.
        constants: the number of constant values in the file.
        subgraphs: the number of graphs in the file, above one if there are conditions or loops.
    """

    ops: list[Op]
    constants: int
    subgraphs: int

    def counts(self) -> Counter[str]:
        """The number of occurrences of each op."""
        return Counter(op.name for op in self.ops)


def parse(model: bytes) -> schema.ModelT:
    """Parses the bytes of a `.tflite` file to a tree of mutable objects."""
    return schema.ModelT.InitFromObj(schema.Model.GetRootAs(model, 0))


def read(model: bytes) -> Graph:
    """Reads the main graph from the bytes of a `.tflite` file."""
    parsed = parse(model)
    main = parsed.subgraphs[0]
    names = [op_name(code) for code in parsed.operatorCodes]
    filled = [buffer.data is not None and len(buffer.data) > 0 for buffer in parsed.buffers]
    stored = {index for index, tensor in enumerate(main.tensors) if filled[tensor.buffer]}
    unpacked = {
        op.outputs[0]
        for op in main.operators
        if names[op.opcodeIndex] == "DEQUANTIZE" and op.inputs[0] in stored
    }
    tensors = [_tensor(each, i in stored | unpacked) for i, each in enumerate(main.tensors)]
    ops = [
        Op(
            names[op.opcodeIndex],
            parsed.operatorCodes[op.opcodeIndex].version,
            op.builtinOptions,
            [tensors[index] for index in op.inputs if index >= 0],
            [tensors[index] for index in op.outputs],
        )
        for op in main.operators
    ]
    constants = sum(int(np.prod(tensors[index].shape)) for index in stored)
    return Graph(ops, constants, len(parsed.subgraphs))


def op_name(code: schema.OperatorCodeT) -> str:
    """TFLite's name of an op, or "CUSTOM NAME" for a custom op."""
    # Codes up to 127 are stored in a deprecated one-byte field.
    number = max(code.builtinCode, code.deprecatedBuiltinCode)
    if number == schema.BuiltinOperator.CUSTOM:
        return f"CUSTOM {code.customCode.decode()}"
    return _OP_NAMES[number]


def _tensor(tensor: schema.TensorT, constant: bool) -> Tensor:
    shape = () if tensor.shape is None else tuple(map(int, tensor.shape))
    signature = shape if tensor.shapeSignature is None else tensor.shapeSignature
    fixed = all(side >= 0 for side in signature)
    return Tensor(tensor.name.decode(), shape, _TYPE_NAMES[tensor.type], constant, fixed)


def _by_number(enum: type) -> dict[int, str]:
    return {number: name for name, number in vars(enum).items() if isinstance(number, int)}


_OP_NAMES = _by_number(schema.BuiltinOperator)
_TYPE_NAMES = _by_number(schema.TensorType)


_ALIGNMENT = 16  # bytes, for constants in the file, as the schema requires


def pack(model: schema.ModelT) -> bytes:
    """Packs a model into bytes, with constants aligned to 16 bytes.

    The packer that is generated for Python does not align them.
    """
    model.buffers = [_Buffer(each) for each in model.buffers]
    builder = _Builder(1 << 20)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


class _Builder(flatbuffers.Builder):
    """Writes equal vectors once; vectors of zero points are an eighth of an int8 Fast-SCNN."""

    def __init__(self, size: int):
        super().__init__(size)
        self._places: dict[tuple[str, bytes], int] = {}

    def CreateNumpyVector(self, x: np.ndarray) -> int:
        key = (x.dtype.str, x.tobytes())
        if key not in self._places:
            self._places[key] = super().CreateNumpyVector(x)
        return self._places[key]


class _Buffer:
    """Replaces a `BufferT` and is packed with the alignment of the schema's `force_align`."""

    def __init__(self, buffer: schema.BufferT):
        self.data = b"" if buffer.data is None else bytes(buffer.data)

    def Pack(self, builder: flatbuffers.Builder) -> int:
        if self.data:
            builder.StartVector(1, len(self.data), _ALIGNMENT)
            builder.head -= len(self.data)
            builder.Bytes[builder.head : builder.head + len(self.data)] = self.data
            vector = builder.EndVector()
        schema.BufferStart(builder)
        if self.data:
            schema.BufferAddData(builder, vector)
        return schema.BufferEnd(builder)
