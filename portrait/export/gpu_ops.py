"""Checks whether phone GPUs support all ops of a `.tflite` file.

LiteRT has two GPU delegates, the classic delegate (Interpreter, MediaPipe) and ML Drift
(CompiledModel). With the classic delegate, an unsupported op runs on the CPU, with copies to the
CPU and back. ML Drift runs a whole graph or nothing. The rules below are fulfilled by ops that both
support: the operator checks of the classic delegate (tflite/delegates/gpu/common/model_builder.cc
and tflite/tools/versioning/gpu_compatibility.cc in google-ai-edge/LiteRT), without ops that ML
Drift refuses or computes incorrectly (LiteRT issues 8598, 8980, 9272, 9664). TensorFlow's own
`tf.lite.experimental.Analyzer` reports everything as compatible.

The file is not run on a GPU: the result only says that it fulfils the rules.
"""

import re
from collections.abc import Callable, Collection
from typing import Any

from ai_edge_litert import schema_py_generated as schema

from portrait.export.formats import Violation
from portrait.tflite import graph as tflite_graph
from portrait.tflite.graph import Op


def _each(ops: str, value: Any) -> dict[str, Any]:
    """A dict with the same value for each of the ops, a string of names with spaces between."""
    return dict.fromkeys(ops.split(), value)


# Later versions of an op have more features. Version 4 of TRANSPOSE_CONV, for example, may have an
# activation, which the classic delegate would not apply. None: no limit.
MAX_VERSION: dict[str, int | None] = {
    **_each("GATHER PRELU RESHAPE", 1),
    **_each("ABS ADD ADD_N AVERAGE_POOL_2D CONCATENATION DIV ELU EXP FLOOR GELU LEAKY_RELU", 2),
    **_each("LOG LOGISTIC MAXIMUM MAX_POOL_2D MINIMUM MIRROR_PAD NEG PAD PADV2 POW QUANTIZE", 2),
    **_each("RELU RELU6 RELU_N1_TO_1 RSQRT SLICE SOFTMAX SPACE_TO_DEPTH SQRT SQUARE", 2),
    **_each("SQUARED_DIFFERENCE SUB TANH", 2),
    **_each("DEQUANTIZE MUL RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR TRANSPOSE_CONV", 3),
    **_each("STRIDED_SLICE TRANSPOSE", 4),
    **_each("CONV_2D DEPTHWISE_CONV_2D", 6),
    "FULLY_CONNECTED": 9,
    **_each("CAST DEPTH_TO_SPACE HARD_SWISH MEAN PACK REDUCE_MAX REDUCE_MIN SELECT", None),
    **_each("SELECT_V2 SPLIT SPLIT_V SUM TILE UNPACK", None),
}
"""The ops that both delegates support, with the latest supported version."""

MAX_RANK = 4

# The index of the only input that may be computed: weights, axes, shapes and paddings must be
# constants.
_DATA_INPUT: dict[str, int] = {
    **_each("CONV_2D DEPTHWISE_CONV_2D FULLY_CONNECTED GATHER MEAN MIRROR_PAD PAD PADV2 PRELU", 0),
    **_each("REDUCE_MAX REDUCE_MIN RESHAPE RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR SLICE", 0),
    **_each("SPLIT_V STRIDED_SLICE SUM TILE TRANSPOSE", 0),
    "SPLIT": 1,
    "TRANSPOSE_CONV": 2,
}

# Types of tensors in float and quantised files.
_TYPES = frozenset(("FLOAT32", "FLOAT16", "INT8", "UINT8"))
_MORE_TYPES = {"CAST": {"INT32", "BOOL"}, "SELECT": {"BOOL"}, "SELECT_V2": {"BOOL"}}


def check(model: bytes, parameters: int = 0, layers: Collection[str] = ()) -> list[Violation]:
    """Lists the violations of the rules, in the order of the ops.

    Args:
        model: the bytes of a `.tflite` file.
        parameters: the number of weights of the Keras model. The file must have at least half as
            many, because normalisations are folded into convolutions.
        layers: the names of the Keras model's layers, to name an op's layer.

    Returns:
        The violations; an empty list if there are none.
    """
    graph = tflite_graph.read(model)
    violations = []
    if graph.subgraphs != 1:
        reason = f"{graph.subgraphs} graphs in the file: no GPU supports conditions and loops"
        violations.append(Violation("(graph)", "", "", reason))
    for op in graph.ops:
        rules = (_known, _shapes, _types, _fixed_inputs, *SPECIAL.get(op.name, ()))
        if reason := next(filter(None, (rule(op) for rule in rules)), None):
            tensor = op.outputs[0].name if op.outputs else ""
            violations.append(Violation(op.name, tensor, layer_of(op, layers), reason))
    if graph.constants < parameters / 2:
        reason = f"the file contains {graph.constants} of the model's {parameters} weights"
        violations.append(Violation("(weights)", "", "", reason))
    return violations


def layer_of(op: Op, layers: Collection[str]) -> str:
    """The Keras layer of `op`, found by the names of its outputs or else of its constants."""
    tensors = [*op.outputs, *(tensor for tensor in op.inputs if tensor.constant)]
    return next(filter(None, (_layer(tensor.name, layers) for tensor in tensors)), "")


def _layer(tensor: str, layers: Collection[str]) -> str:
    """The innermost layer in a name such as "net_1/conv2d_3_1/convolution;net_1/relu_1/Relu".

    The parts of a name are scopes and the op. A scope is a layer's name with an additional number,
    because Keras opens the scope twice, for building and for calling the layer. A fused op has
    several names, and the first one is used.
    """
    found = ""
    for scope in tensor.split(";")[0].split("/")[:-1]:
        name = re.sub(r"_\d+$", "", scope)
        if name != scope and name in layers:
            found = name
    return found


def _known(op: Op) -> str | None:
    if op.name not in MAX_VERSION:
        return "no GPU supports this op"
    limit = MAX_VERSION[op.name]
    if limit is not None and op.version > limit:
        return f"version {op.version} of this op; GPUs support up to {limit}"
    if getattr(op.options, "fusedActivationFunction", 0) == schema.ActivationFunctionType.SIGN_BIT:
        return "the activation SIGN_BIT"
    return None


def _shapes(op: Op) -> str | None:
    for tensor in (*op.inputs, *op.outputs):
        if len(tensor.shape) > MAX_RANK:
            return f"a {len(tensor.shape)}-D tensor {list(tensor.shape)}; GPUs support {MAX_RANK}-D"
        if not tensor.fixed:
            return "a shape that is not fixed: convert with a fixed batch and size"
    return None


def _types(op: Op) -> str | None:
    allowed = _TYPES | _MORE_TYPES.get(op.name, set())
    wrong = {t.type for t in (*op.inputs, *op.outputs) if not t.constant} - allowed
    return f"computes with {', '.join(sorted(wrong))}" if wrong else None


def _fixed_inputs(op: Op) -> str | None:
    place = _DATA_INPUT.get(op.name)
    if place is None or all(t.constant for i, t in enumerate(op.inputs) if i != place):
        return None
    return "weights, axes, a shape or paddings are computed, but must be constants"


def _elementwise(op: Op) -> str | None:
    shapes = [tensor.shape for tensor in op.inputs if not tensor.constant]
    if len(set(map(len, shapes))) > 1:
        return f"broadcasts {' and '.join(str(list(shape)) for shape in shapes)}"
    if any(t.constant and len(t.shape) == 1 and t.shape[0] > 1 for t in op.inputs):
        return "a 1-D constant, which GPUs broadcast incorrectly: make it part of a convolution"
    return None


def _prelu(op: Op) -> str | None:
    alpha, shape = op.inputs[1].shape, op.inputs[0].shape
    per_channel = alpha[-1:] == shape[-1:] and all(side == 1 for side in alpha[:-1])
    if not per_channel and alpha != shape[1:]:
        return f"slopes of shape {list(alpha)}: use one per channel (shared_axes=[1, 2])"
    return None


def _resize(op: Op) -> str | None:
    if op.options.alignCorners and op.options.halfPixelCenters:
        return "align_corners together with half_pixel_centers"
    return None


def _paddings(op: Op) -> str | None:
    if op.inputs[1].shape not in {(3, 2), (4, 2)}:
        return f"paddings of shape {list(op.inputs[1].shape)}; GPUs support 3x2 or 4x2"
    return None


def _mirror(op: Op) -> str | None:
    return None if op.options.mode == schema.MirrorPadMode.REFLECT else "mode other than REFLECT"


def _strided_slice(op: Op) -> str | None:
    masks = ("ellipsisMask", "newAxisMask", "shrinkAxisMask")
    used = [mask for mask in masks if getattr(op.options, mask)]
    return f"uses {used[0]}: slice with ranges, keep the rank" if used else None


def _sliced(op: Op) -> str | None:
    rank = len(op.inputs[0].shape)
    return None if rank in (3, 4) else f"slices a {rank}-D tensor; GPUs support 3-D or 4-D"


def _softmax(op: Op) -> str | None:
    return None if op.options.beta == 1 else f"beta {op.options.beta}; GPUs support 1"


def _gather(op: Op) -> str | None:
    rank = len(op.inputs[1].shape)
    return None if rank == 1 else f"{rank}-D indices; GPUs support 1-D"


def _two_inputs(op: Op) -> str | None:
    return None if len(op.inputs) == 2 else f"adds {len(op.inputs)} tensors; GPUs support 2"


def _dense(op: Op) -> str | None:
    plain = schema.FullyConnectedOptionsWeightsFormat.DEFAULT
    return None if op.options.weightsFormat == plain else "shuffled weights"


SPECIAL: dict[str, tuple[Callable[[Op], str | None], ...]] = {
    **_each("ADD SUB MUL DIV MAXIMUM MINIMUM POW SQUARED_DIFFERENCE", (_elementwise,)),
    "ADD_N": (_two_inputs,),
    "FULLY_CONNECTED": (_dense,),
    "GATHER": (_gather,),
    "MIRROR_PAD": (_mirror, _paddings),
    "PAD": (_paddings,),
    "PADV2": (_paddings,),
    "PRELU": (_prelu,),
    "RESIZE_BILINEAR": (_resize,),
    "SLICE": (_sliced,),
    "SOFTMAX": (_softmax,),
    "STRIDED_SLICE": (_strided_slice, _sliced),
}
