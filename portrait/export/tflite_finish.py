"""Finishes a converted `.tflite` file: names, signature, metadata, half precision.

Everything is set in the file itself, so it does not depend on the version of the converter.
"""

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from portrait.export.formats import ALPHA, INPUT, PICTURE, ExportError
from portrait.models.registry import takes_alpha
from portrait.tflite import graph as tflite_graph
from portrait.tflite import metadata

SIGNATURE = "serving_default"


def finish(
    converted: bytes,
    image: tuple[int, ...],
    answer: tuple[int, ...],
    kind: str,
    name: str,
) -> bytes:
    """Finishes a converted file as `tflite.convert` describes it.

    Args:
        converted: the converter's result; float32 if `kind` is "float16".
        image: the shape of the input, (1, H, W, 3 or 4).
        answer: the shape of the output: (1, H, W, 1) for `alpha`, or (1, H, W, 3) for `painted`.
            A style network gets no metadata, because MediaPipe has no task for it.
        kind: see `tflite.convert`.
        name: the name of the network in the metadata. The refiner gets none, and a network with
            the alpha of the frame before gets only its name, because their fourth channel is no
            opacity.

    Raises:
        ExportError: inputs or outputs differ from these, or a constant exceeds float16.
    """
    model = tflite_graph.parse(converted)
    graph = model.subgraphs[0]
    if len(graph.inputs) != 1 or len(graph.outputs) != 1:
        raise ExportError(f"{len(graph.inputs)} inputs and {len(graph.outputs)} outputs, not one")
    signature = schema.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = SIGNATURE, 0
    signature.inputs = [_named(graph, graph.inputs[0], INPUT, image, kind)]
    output = PICTURE if answer[3] == 3 else ALPHA
    signature.outputs = [_named(graph, graph.outputs[0], output, answer, kind)]
    model.signatureDefs = [signature]
    if kind == "float16":
        _halve(model)
    if output == ALPHA and takes_alpha(name) != "coarse":
        _describe(model, image, name)
    return tflite_graph.pack(model)


def _describe(model: schema.ModelT, image: tuple[int, ...], name: str) -> None:
    """Adds the metadata of a network whose input has the shape `image`."""
    pixels, write = "RGB pixels", metadata.image_segmenter
    if takes_alpha(name):
        pixels, write = "RGB pixels and the alpha of the frame before", metadata.name_only
    elif image[3] == 4:
        pixels = "RGBA pixels, their alpha ignored,"
    written = write(name, f"Alpha of the person, 0 to 1, from raw {pixels} of 0 to 255.")
    entry, buffer = schema.MetadataT(), schema.BufferT()
    buffer.data = np.frombuffer(written, np.uint8)
    entry.name, entry.buffer = metadata.BUFFER_NAME, len(model.buffers)
    model.buffers.append(buffer)
    model.metadata = [*(model.metadata or ()), entry]


def _halve(model: schema.ModelT) -> None:
    """Stores all float32 constants as float16, each with a DEQUANTIZE op.

    GPU delegates skip these ops and read the constants as float16.

    Raises:
        ExportError: a constant exceeds float16's largest number.
    """
    graph = model.subgraphs[0]
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.DEQUANTIZE
    code.version = 3  # the first version that supports float16
    model.operatorCodes.append(code)
    operators = []
    for number in _constant_floats(model):
        buffer = model.buffers[number]
        buffer.data = _as_half(buffer.data).view(np.uint8)
        for index in [i for i, each in enumerate(graph.tensors) if each.buffer == number]:
            tensor, stored, operator = graph.tensors[index], schema.TensorT(), schema.OperatorT()
            stored.name, stored.shape = tensor.name + b"/float16", tensor.shape
            stored.type, stored.buffer = schema.TensorType.FLOAT16, number
            tensor.buffer = 0  # the empty buffer, because DEQUANTIZE computes the values
            operator.opcodeIndex = len(model.operatorCodes) - 1
            operator.inputs, operator.outputs = [len(graph.tensors)], [index]
            graph.tensors.append(stored)
            operators.append(operator)
    graph.operators[:0] = operators


def _constant_floats(model: schema.ModelT) -> list[int]:
    """The numbers of the buffers that hold float32 constants, and nothing else."""
    tensors = model.subgraphs[0].tensors
    floats = {each.buffer for each in tensors if each.type == schema.TensorType.FLOAT32}
    others = {each.buffer for each in tensors if each.type != schema.TensorType.FLOAT32}
    datas = {number: model.buffers[number].data for number in sorted(floats - others)}
    return [number for number, data in datas.items() if data is not None and len(data)]


def _as_half(data: bytes) -> np.ndarray:
    """A float32 buffer's values as float16.

    Raises:
        ExportError: one is beyond float16.
    """
    with np.errstate(over="ignore"):
        half = np.frombuffer(bytes(data), "<f4").astype("<f2")
    if not np.isfinite(half).all():
        raise ExportError("a constant is beyond float16's 65504")
    return half


def _named(
    graph: schema.SubGraphT, index: int, name: str, shape: tuple[int, ...], kind: str
) -> schema.TensorMapT:
    """Checks the shape and type of an input or output, and renames it for the signature."""
    tensor, types = graph.tensors[index], schema.TensorType
    if tuple(tensor.shape) != shape:
        raise ExportError(f"{name} is {tuple(tensor.shape)}, not {shape}")
    if tensor.type != (types.UINT8 if kind == "uint8" else types.FLOAT32):
        raise ExportError(f"{name} does not have the type of {kind}")
    if name == INPUT and kind == "uint8":
        step = (tensor.quantization.scale[0], tensor.quantization.zeroPoint[0])
        if step != (1, 0):
            raise ExportError(f"pixels would be rescaled: scale and zero point are {step}")
    tensor.name = name
    mapped = schema.TensorMapT()
    mapped.name, mapped.tensorIndex = name, int(index)
    return mapped
