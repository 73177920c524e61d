"""Runs a saved Core ML program (`.mlpackage`) on any machine, in NumPy.

**This is not Apple's runtime**, which exists on Apple's systems only. The interpreter reads the
file and executes it according to the public definitions of MIL, Core ML's intermediate language. It
reveals errors of the conversion, but not errors of a phone's GPU or Neural Engine.

Weights have the precision of the file, and the arithmetic is float32. `run` can round every result
to the type that the program declares, which approximates a float16 program on a phone.

Only the ops that this project's networks use are implemented; other ops raise an error.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import coremltools as ct
import numpy as np
from coremltools.converters.mil import Program
from coremltools.converters.mil.frontend.milproto.load import load as load_proto
from coremltools.converters.mil.mil import Operation, types

from portrait.export import coreml_ops
from portrait.export.formats import ExportError

OPS: dict[str, Callable[..., np.ndarray]] = {
    "add": lambda x, y: x + y,
    "leaky_relu": lambda x, alpha: np.where(x > 0, x, alpha * x),
    "mul": lambda x, y: x * y,
    "prelu": lambda x, alpha: coreml_ops.prelu(x, alpha),
    "reduce_mean": lambda x, axes, keep_dims=False: x.mean(tuple(axes), keepdims=bool(keep_dims)),
    "reduce_sum": lambda x, axes, keep_dims=False: x.sum(tuple(axes), keepdims=bool(keep_dims)),
    "relu": lambda x: np.maximum(x, 0),
    "relu6": lambda x: np.clip(x, 0, 6),
    "rsqrt": lambda x, epsilon: 1 / np.sqrt(x + epsilon),
    "sigmoid": lambda x: coreml_ops.sigmoid(x),
    "softmax": lambda x, axis=-1: coreml_ops.softmax(x, axis),
    "square": lambda x: np.square(x),
    "sub": lambda x, y: x - y,
    "tanh": lambda x: np.tanh(x),
    "transpose": lambda x, perm: x.transpose(perm),
}
"""The implemented ops by MIL's names; their parameters have MIL's names, too."""


def load(path: Path) -> Program:
    """Reads the program and its weights from an `.mlpackage`."""
    package = ct.models.MLModel(str(path), skip_model_load=True)
    specification = package.get_spec()
    return load_proto(
        specification,
        specification_version=specification.specificationVersion,
        file_weights_dir=package.weights_dir,
    )


def run(
    program: Program, inputs: Mapping[str, np.ndarray], round_results: bool = False
) -> dict[str, np.ndarray]:
    """Executes the program's only function.

    Args:
        program: the result of `load`.
        inputs: the inputs by name; an image is float32 (1, channels, H, W) in 0..255.
        round_results: whether to round results to float16 if the program declares float16.

    Returns:
        The outputs by name.

    Raises:
        ExportError: an op is not in `OPS`, or a parameter is not supported; or a result that the
            program declares as float16 exceeds 65504.
        ValueError: an input does not have the shape that the program declares.
    """
    (function,) = program.functions.values()
    results = {}
    for name, declared in function.inputs.items():
        if inputs[name].shape != tuple(declared.shape):
            raise ValueError(f"{name} is {inputs[name].shape}, not {tuple(declared.shape)}")
        results[name] = inputs[name]
    with coreml_ops.one_thread():
        for op in function.operations:
            if op.op_type != "const":
                (output,) = op.outputs
                result = _execute(op, results)
                if output.dtype == types.fp16:
                    is_weight = op.op_type.startswith("constexpr_")
                    result = _checked_half(result, op, round_results or is_weight)
                results[output.name] = result
    return {output.name: results[output.name] for output in function.outputs}


def count_ops(program: Program) -> Counter[str]:
    """Counts the program's ops by name, without constants."""
    (function,) = program.functions.values()
    return Counter(op.op_type for op in function.operations if op.op_type != "const")


def _execute(op: Operation, results: Mapping[str, np.ndarray]) -> np.ndarray:
    if op.op_type not in OPS:
        raise ExportError(
            f"the interpreter has no Core ML op {op.op_type!r} (for {op.outputs[0].name!r}); "
            f"it has {', '.join(sorted(OPS))}"
        )
    return OPS[op.op_type](**{name: _value(given, results) for name, given in op.inputs.items()})


def _value(given: Any, results: Mapping[str, np.ndarray]) -> Any:
    """The value of an op's parameter: an earlier result, or a constant of the program."""
    if isinstance(given, list | tuple):
        return [_value(each, results) for each in given]
    value = results.get(given.name, given.val)
    if isinstance(value, np.ndarray | np.generic) and value.dtype == np.float16:
        return value.astype(np.float32)
    return value


def _checked_half(result: np.ndarray, op: Operation, rounded: bool) -> np.ndarray:
    """Checks the range of a float16 result, and rounds it if `rounded`; it stays float32."""
    if np.abs(result).max() > np.finfo(np.float16).max:
        raise ExportError(f"{op.name!r} exceeds float16's largest number, 65504")
    return result.astype(np.float16).astype(np.float32) if rounded else result


def _op(function: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    OPS[function.__name__] = function
    return function


def _require(condition: bool, what: str) -> None:
    if not condition:
        raise ExportError(f"the interpreter of Core ML programs does not support {what}")


def _padding(
    pad_type: str,
    pad: Sequence[int] | None,
    x: np.ndarray,
    kernel: coreml_ops.Pair,
    strides: coreml_ops.Pair,
    dilations: coreml_ops.Pair = (1, 1),
) -> coreml_ops.Padding:
    _require(pad_type in ("valid", "same", "custom"), f"pad_type {pad_type!r}")
    if pad_type == "same":
        return coreml_ops.same_padding(x.shape[2:], kernel, strides, dilations)
    return _pairs(pad) if pad_type == "custom" else ((0, 0), (0, 0))


def _pairs(pad: Sequence[int]) -> coreml_ops.Padding:
    return ((pad[0], pad[1]), (pad[2], pad[3]))


# The functions below have the names, parameters and defaults of MIL's reference.


@_op
def cast(x, dtype):
    _require(dtype in ("fp16", "fp32"), f"a cast to {dtype}")
    return x  # `run` does the rounding to float16, and all arithmetic is float32


@_op
def concat(values, axis, interleave=False):
    _require(not interleave, "interleave")
    return np.concatenate(values, axis)


@_op
def conv(
    x, weight, bias=None, strides=(1, 1), pad_type="valid", pad=None, dilations=(1, 1), groups=1
):
    padding = _padding(pad_type, pad, x, weight.shape[2:], strides, dilations)
    return coreml_ops.convolve(x, weight, bias, strides, padding, dilations, groups)


@_op
def conv_transpose(
    x,
    weight,
    bias=None,
    pad=None,
    output_shape=None,
    pad_type="valid",
    strides=(1, 1),
    dilations=(1, 1),
    groups=1,
):
    _require(all(d == 1 for d in dilations), "a dilated conv_transpose")
    _require(pad_type in ("valid", "same", "custom"), f"pad_type {pad_type!r}")
    crop = _pairs(pad) if pad_type == "custom" else ((0, 0), (0, 0))
    if output_shape is not None or pad_type == "same":
        _require(pad_type != "custom", "a conv_transpose with both pad and output_shape")
        same = [n * s for n, s in zip(x.shape[2:], strides, strict=True)]
        size = same if output_shape is None else output_shape[2:]
        crop = coreml_ops.crop_to(
            coreml_ops.transposed_size(x.shape[2:], weight.shape[2:], strides), size
        )
    return coreml_ops.transposed_convolve(x, weight, bias, strides, crop, groups)


@_op
def avg_pool(
    x,
    kernel_sizes,
    pad_type,
    strides=(1, 1),
    pad=None,
    exclude_padding_from_average=False,
    ceil_mode=False,
):
    _require(not ceil_mode, "ceil_mode")
    padding = _padding(pad_type, pad, x, kernel_sizes, strides)
    with_zeros = not exclude_padding_from_average
    return coreml_ops.pool(x, kernel_sizes, strides, "average", padding, average_padding=with_zeros)


@_op
def max_pool(x, kernel_sizes, pad_type, strides=(1, 1), pad=None, ceil_mode=False):
    _require(not ceil_mode, "ceil_mode")
    padding = _padding(pad_type, pad, x, kernel_sizes, strides)
    return coreml_ops.pool(x, kernel_sizes, strides, "max", padding)


@_op
def pad(x, pad, mode="constant", constant_val=0.0):
    _require(mode in ("constant", "reflect"), f"a pad of mode {mode!r}")
    sides = np.reshape(pad, (-1, 2)).tolist()  # for the last dimensions
    sides = [(0, 0)] * (x.ndim - len(sides)) + [tuple(each) for each in sides]
    return np.pad(x, sides, mode, **({"constant_values": constant_val} if mode[0] == "c" else {}))


@_op
def slice_by_index(x, begin, end, stride=None, begin_mask=None, end_mask=None, squeeze_mask=None):
    _require(not np.any(squeeze_mask), "a slice_by_index that squeezes dimensions")
    steps = [1] * x.ndim if stride is None else stride
    begin, end = _unmasked(begin, begin_mask), _unmasked(end, end_mask)
    return x[tuple(map(slice, begin, end, steps))]


def _unmasked(bounds: Sequence[int], mask: Sequence[bool] | None) -> list[int | None]:
    """The bounds of a slice, without those that the mask ignores."""
    ignored = [False] * len(bounds) if mask is None else mask
    return [None if i else bound for bound, i in zip(bounds, ignored, strict=True)]


@_op
def upsample_bilinear(
    x, scale_factor_height=1, scale_factor_width=1, align_corners=True, half_pixel_centers=None
):
    size = [
        int(length * factor)
        for length, factor in zip(
            x.shape[2:], (scale_factor_height, scale_factor_width), strict=True
        )
    ]
    _require(not (align_corners and half_pixel_centers), "align_corners with half_pixel_centers")
    if half_pixel_centers is None:  # programs for iOS 15 do not have this parameter
        half_pixel_centers = not align_corners
    other = "align_corners" if align_corners else "corner"
    return coreml_ops.resize_bilinear(x, size, "half_pixel" if half_pixel_centers else other)


@_op
def constexpr_affine_dequantize(quantized_data, zero_point, scale, axis):
    """Decodes 8-bit weights: (data - zero point) * scale, per channel along `axis`."""
    shape = [1] * quantized_data.ndim
    shape[axis] = -1
    zero_point, scale = (np.reshape(each, shape) for each in (zero_point, scale))
    return (quantized_data.astype(np.float32) - zero_point) * scale


@_op
def constexpr_lut_to_dense(indices, lut, shape):
    """Decodes palettised weights: n-bit indices, lowest bit first, into a table of 2^n values."""
    width = len(lut).bit_length() - 1
    bits = np.unpackbits(indices, bitorder="little")[: np.prod(shape) * width]
    places = bits.reshape(-1, width) @ (1 << np.arange(width))
    return lut[places].reshape(shape)
