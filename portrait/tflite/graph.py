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
        name: as the converter gives it, with the scopes of the Keras layers.
        shape: -1 and 1 stand for sides that are not fixed.
        type: "FLOAT32", "INT8", ...
        constant: whether its values are in the file, if need be as float16 before a DEQUANTIZE.
        fixed: whether the shape is known before the file is run.
    """

    name: str
    shape: tuple[int, ...]
    type: str
    constant: bool
    fixed: bool


@dataclass(frozen=True)
class Op:
    """An op of the main graph; optional inputs that are left out are not among `inputs`."""

    name: str
    version: int
    options: Any
    inputs: list[Tensor]
    outputs: list[Tensor]


@dataclass(frozen=True)
class Graph:
    """The main graph.

    Attributes:
        ops: in the order in which they run.
        constants: the number of values that the file holds.
        subgraphs: how many graphs the file has; more than one with conditions and loops.
    """

    ops: list[Op]
    constants: int
    subgraphs: int

    def counts(self) -> Counter[str]:
        """How often each op occurs."""
        return Counter(op.name for op in self.ops)


def parse(model: bytes) -> schema.ModelT:
    """A file as a tree of objects that can be changed."""
    return schema.ModelT.InitFromObj(schema.Model.GetRootAs(model, 0))


def read(model: bytes) -> Graph:
    """Reads the bytes of a `.tflite` file."""
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
    """TFLite's name of an op, "CUSTOM NAME" for one that is not its own."""
    # Numbers up to 127 are in a byte of their own, from before there were more.
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


_ALIGNMENT = 16  # of constants in the file, as the schema wants it


def pack(model: schema.ModelT) -> bytes:
    """A file's bytes, with constants on 16-byte boundaries, which Python's packer neglects."""
    model.buffers = [_Buffer(each) for each in model.buffers]
    builder = _Builder(1 << 20)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


class _Builder(flatbuffers.Builder):
    """Writes equal vectors once: an eighth of an int8 Fast-SCNN would be zero points, all 0."""

    def __init__(self, size: int):
        super().__init__(size)
        self._places: dict[tuple[str, bytes], int] = {}

    def CreateNumpyVector(self, x: np.ndarray) -> int:
        key = (x.dtype.str, x.tobytes())
        if key not in self._places:
            self._places[key] = super().CreateNumpyVector(x)
        return self._places[key]


class _Buffer:
    """Stands in for a `BufferT` and packs itself as the schema's `force_align` asks."""

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
