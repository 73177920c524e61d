"""The arithmetic of Core ML's layers in NumPy, on float32 arrays (N, C, H, W).

The interpreters of both Core ML formats use it. It follows Apple's public definitions
(NeuralNetwork.proto and the MIL operation reference in apple/coremltools) and uses no framework, so
that its results are independent of TensorFlow. Sums are computed in float32.
"""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
from threadpoolctl import ThreadpoolController

Pair = Sequence[int]
"""One number for the rows and one for the columns."""
Padding = Sequence[tuple[int, int]]
"""(top, bottom), (left, right)."""

Sampling = Literal["half_pixel", "align_corners", "corner"]


def one_thread() -> contextlib.AbstractContextManager:
    """A context manager that limits NumPy's matrix products to one thread.

    The products are small. On a busy machine, synchronising several threads takes ten times longer.
    """
    return ThreadpoolController().limit(limits=1, user_api="blas")


def same_padding(size: Pair, kernel: Pair, strides: Pair, dilations: Pair = (1, 1)) -> Padding:
    """The zero padding with which a convolution of `size` has ceil(size / stride) results.

    If it is odd, the bottom or right gets one more (Core ML's BOTTOM_RIGHT_HEAVY, TensorFlow's
    SAME).
    """
    pads = []
    for length, k, stride, dilation in zip(size, kernel, strides, dilations, strict=True):
        results = -(-length // stride)
        total = max((results - 1) * stride + (k - 1) * dilation + 1 - length, 0)
        pads.append((total // 2, total - total // 2))
    return pads


def convolve(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None = None,
    strides: Pair = (1, 1),
    padding: Padding = ((0, 0), (0, 0)),
    dilations: Pair = (1, 1),
    groups: int = 1,
) -> np.ndarray:
    """Convolution (cross-correlation) of (N, C, H, W).

    Args:
        weight: (outputs, C / groups, kernel height, kernel width).
        bias: (outputs,).
    """
    count = len(x)
    outputs, share, *kernel = weight.shape
    x = np.pad(x, ((0, 0), (0, 0), *padding))
    size = _window_count(x.shape[2:], kernel, strides, dilations)
    result = np.zeros((count, groups, outputs // groups, *size), np.float32)
    for place, shifted in _windows(x, kernel, size, strides, dilations):
        tap = weight[(..., *place)].reshape(groups, outputs // groups, share)
        if share == 1:  # depthwise: no sum over channels
            result += tap[..., None] * shifted[:, :, None]
        else:
            shifted = shifted.reshape(count, groups, share, size[0] * size[1])
            result += (tap @ shifted).reshape(result.shape)
    return _add_bias(result.reshape(count, outputs, *size), bias)


def transposed_convolve(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None = None,
    strides: Pair = (1, 1),
    crop: Padding = ((0, 0), (0, 0)),
    groups: int = 1,
) -> np.ndarray:
    """Transposed convolution of (N, C, H, W): each pixel adds a multiple of the kernel.

    Args:
        weight: (C, outputs / groups, kernel height, kernel width).
        bias: (outputs,).
        crop: rows and columns removed from the full result, which has (size - 1) * stride + kernel;
            negative numbers add zeros.
    """
    count, channels, height, width = x.shape
    outputs, *kernel = weight.shape[1:]
    full = transposed_size(x.shape[2:], kernel, strides)
    result = np.zeros((count, groups, outputs, *full), np.float32)
    x = x.reshape(count, groups, channels // groups, height * width)
    for row, column in np.ndindex(*kernel):
        tap = weight[:, :, row, column].reshape(groups, channels // groups, outputs)
        rows = slice(row, row + (height - 1) * strides[0] + 1, strides[0])
        columns = slice(column, column + (width - 1) * strides[1] + 1, strides[1])
        part = tap.swapaxes(1, 2) @ x
        result[..., rows, columns] += part.reshape(count, groups, outputs, height, width)
    result = result.reshape(count, groups * outputs, *full)
    return _add_bias(_cropped(result, crop), bias)


def transposed_size(size: Pair, kernel: Pair, strides: Pair) -> tuple[int, ...]:
    """The size of a transposed convolution's result before cropping."""
    return tuple((n - 1) * s + k for n, k, s in zip(size, kernel, strides, strict=True))


def crop_to(full: Pair, size: Pair) -> Padding:
    """The crop from `full` to `size`: half on each side, an odd row or column at the end.

    It removes the padding of `same_padding`, because a transposed convolution is the gradient of a
    convolution. If `size` is larger, zeros are added at the end.
    """
    totals = [f - s for f, s in zip(full, size, strict=True)]
    return [(max(total, 0) // 2, total - max(total, 0) // 2) for total in totals]


def pool(
    x: np.ndarray,
    kernel: Pair,
    strides: Pair,
    mode: Literal["max", "average"],
    padding: Padding = ((0, 0), (0, 0)),
    average_padding: bool = False,
) -> np.ndarray:
    """The maximum or mean of each window.

    Args:
        average_padding: whether a mean includes the zeros of the padding.
    """
    outside = -np.inf if mode == "max" else 0.0
    around = ((0, 0), (0, 0), *padding)
    padded = np.pad(x, around, constant_values=outside)
    size = _window_count(padded.shape[2:], kernel, strides, (1, 1))
    result = np.full((*x.shape[:2], *size), outside, np.float32)
    combine = np.maximum if mode == "max" else np.add
    for _, shifted in _windows(padded, kernel, size, strides, (1, 1)):
        combine(result, shifted, out=result)
    if mode == "max":
        return result
    counted = np.ones((1, 1, *x.shape[2:]), np.float32)
    counted = np.pad(counted, around, constant_values=float(average_padding))
    return result / sum(part for _, part in _windows(counted, kernel, size, strides, (1, 1)))


def resize_bilinear(x: np.ndarray, size: Pair, sampling: Sampling) -> np.ndarray:
    """Linear interpolation to `size`, first down the columns, then along the rows.

    Args:
        sampling: the position of the i-th of m results among n values: (i + 1/2) n / m - 1/2 for
            "half_pixel", i (n - 1) / (m - 1) for "align_corners", and i n / m for "corner", clipped
            to 0..n - 1.
    """
    for axis, wanted in ((2, size[0]), (3, size[1])):
        values = x.shape[axis]
        steps = np.arange(wanted, dtype=np.float64)
        if sampling == "half_pixel":
            places = (steps + 0.5) * values / wanted - 0.5
        elif sampling == "align_corners":
            places = steps * (values - 1) / max(wanted - 1, 1)
        else:
            places = steps * values / wanted
        places = np.clip(places, 0, values - 1)
        before = places.astype(int)
        after = np.minimum(before + 1, values - 1)
        share = (places - before).astype(np.float32).reshape(-1, *[1] * (3 - axis))
        x = x.take(before, axis) * (1 - share) + x.take(after, axis) * share
    return x


def sigmoid(x: np.ndarray) -> np.ndarray:
    # This form does not overflow for large values of either sign.
    return 0.5 + 0.5 * np.tanh(0.5 * x)


def softmax(x: np.ndarray, axis: int) -> np.ndarray:
    x = np.exp(x - x.max(axis, keepdims=True))  # without the maximum, exp overflows above 88
    return x / x.sum(axis, keepdims=True)


def prelu(x: np.ndarray, slopes: np.ndarray) -> np.ndarray:
    """PReLU: x if x > 0, otherwise x times the slope of its channel; `slopes` is (C,)."""
    return np.where(x > 0, x, slopes.reshape(-1, 1, 1) * x)


def _window_count(size: Pair, kernel: Pair, strides: Pair, dilations: Pair) -> tuple[int, ...]:
    return tuple(
        (length - (k - 1) * dilation - 1) // stride + 1
        for length, k, stride, dilation in zip(size, kernel, strides, dilations, strict=True)
    )


def _windows(
    x: np.ndarray, kernel: Pair, size: Pair, strides: Pair, dilations: Pair
) -> Iterator[tuple[tuple[int, ...], np.ndarray]]:
    """Yields every position in a kernel with the pixels that it is applied to, (..., *size)."""
    for place in np.ndindex(*kernel):
        starts = [i * dilation for i, dilation in zip(place, dilations, strict=True)]
        rows, columns = (
            slice(start, start + (length - 1) * stride + 1, stride)
            for start, length, stride in zip(starts, size, strides, strict=True)
        )
        yield place, x[..., rows, columns]


def _cropped(x: np.ndarray, crop: Padding) -> np.ndarray:
    x = np.pad(x, ((0, 0), (0, 0), *((max(-a, 0), max(-b, 0)) for a, b in crop)))
    (top, bottom), (left, right) = ((max(a, 0), max(b, 0)) for a, b in crop)
    return x[:, :, top : x.shape[2] - bottom, left : x.shape[3] - right]


def _add_bias(x: np.ndarray, bias: np.ndarray | None) -> np.ndarray:
    return x if bias is None else x + bias.reshape(-1, 1, 1)
