"""Tests the arithmetic of both Core ML interpreters against SciPy and TensorFlow."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import signal

from portrait.export import coreml_ops


@pytest.fixture
def random():
    return np.random.default_rng(0)


def _floats(random, *shape) -> np.ndarray:
    return random.standard_normal(shape, np.float32)


def _last(x) -> np.ndarray:
    return np.moveaxis(np.asarray(x), 1, -1)


def _first(x) -> np.ndarray:
    return np.moveaxis(np.asarray(x), -1, 1)


def _correlate(x, weight, strides, padding, dilations, groups) -> np.ndarray:
    """Convolves channel by channel with SciPy, with kernels dilated by hand."""
    outputs, share, height, width = weight.shape
    spread = np.zeros(
        (outputs, share, (height - 1) * dilations[0] + 1, (width - 1) * dilations[1] + 1)
    )
    spread[:, :, :: dilations[0], :: dilations[1]] = weight
    x = np.pad(x, ((0, 0), (0, 0), *padding))
    result = []
    for output in range(outputs):
        first = output // (outputs // groups) * share
        planes = [
            signal.correlate2d(x[0, first + i], spread[output, i], "valid") for i in range(share)
        ]
        result.append(sum(planes)[:: strides[0], :: strides[1]])
    return np.stack(result)[None]


@pytest.mark.parametrize(
    ("groups", "outputs", "kernel", "strides", "padding", "dilations"),
    [
        (1, 5, (1, 1), (1, 1), ((0, 0), (0, 0)), (1, 1)),
        (1, 5, (3, 2), (2, 1), ((0, 1), (2, 0)), (1, 1)),
        (2, 6, (3, 3), (1, 2), ((1, 1), (1, 1)), (1, 1)),
        (4, 4, (3, 3), (2, 2), ((0, 1), (0, 1)), (1, 1)),
        (4, 8, (3, 3), (1, 1), ((2, 2), (3, 3)), (2, 3)),  # depthwise, two outputs a channel
        (1, 5, (3, 3), (1, 1), ((4, 4), (4, 4)), (4, 4)),
    ],
)
def test_convolution_is_scipys(random, groups, outputs, kernel, strides, padding, dilations):
    x = _floats(random, 1, 4, 9, 12)
    weight, bias = _floats(random, outputs, 4 // groups, *kernel), _floats(random, outputs)
    found = coreml_ops.convolve(x, weight, bias, strides, padding, dilations, groups)
    wanted = _correlate(x, weight, strides, padding, dilations, groups)
    np.testing.assert_allclose(found, wanted + bias.reshape(-1, 1, 1), atol=1e-5)
    assert found.dtype == np.float32


@pytest.mark.parametrize("size", [(8, 9), (7, 12)])
@pytest.mark.parametrize(("kernel", "stride", "dilation"), [(3, 2, 1), (2, 1, 1), (3, 1, 2)])
def test_same_padding_is_tensorflows(random, size, kernel, stride, dilation):
    x, weight = _floats(random, 2, 3, *size), _floats(random, 4, 3, kernel, kernel)
    pair = (stride, stride), (dilation, dilation)
    padding = coreml_ops.same_padding(size, (kernel, kernel), *pair)
    found = coreml_ops.convolve(x, weight, None, pair[0], padding, pair[1])
    wanted = tf.nn.conv2d(
        _last(x), weight.transpose(2, 3, 1, 0), *pair[:1], "SAME", "NHWC", pair[1]
    )
    np.testing.assert_allclose(found, _first(wanted), atol=1e-5)


def test_same_padding_by_hand():
    # 8 columns, kernel 3, stride 2: 4 windows reach over 9, so one zero, at the end.
    assert coreml_ops.same_padding((8, 7), (3, 3), (2, 2)) == [(0, 1), (1, 1)]
    # A dilated kernel of 3 spans 5.
    assert coreml_ops.same_padding((8, 8), (3, 3), (1, 1), (2, 2)) == [(2, 2), (2, 2)]


@pytest.mark.parametrize("kernel", [1, 2, 3, 4])  # a stride of 2 leaves gaps with 1
@pytest.mark.parametrize("size", [(10, 12), (9, 11), (9, 12)])
def test_transposed_convolution_is_tensorflows(random, kernel, size):
    x, weight = _floats(random, 1, 3, 5, 6), _floats(random, 3, 4, kernel, kernel)
    full = coreml_ops.transposed_size((5, 6), (kernel, kernel), (2, 2))
    found = coreml_ops.transposed_convolve(x, weight, None, (2, 2), coreml_ops.crop_to(full, size))
    shape = (1, *size, 4)
    wanted = tf.nn.conv2d_transpose(_last(x), weight.transpose(2, 3, 1, 0), shape, 2, "SAME")
    np.testing.assert_allclose(found, _first(wanted), atol=1e-5)


def test_transposed_convolution_in_groups(random):
    x, weight, bias = _floats(random, 1, 4, 3, 5), _floats(random, 4, 2, 3, 3), _floats(random, 4)
    found = coreml_ops.transposed_convolve(x, weight, bias, (1, 1), ((1, 0), (0, 2)), groups=2)
    halves = []
    for part, taps in ((x[:, :2], weight[:2]), (x[:, 2:], weight[2:])):
        for output in range(2):
            planes = [signal.convolve2d(part[0, i], taps[i, output]) for i in range(2)]
            halves.append(sum(planes)[1:, :-2])
    np.testing.assert_allclose(found[0], np.stack(halves) + bias.reshape(-1, 1, 1), atol=1e-5)


@pytest.mark.parametrize(
    ("kernel", "stride"), [((2, 2), (2, 2)), ((3, 3), (2, 2)), ((4, 3), (3, 3))]
)
@pytest.mark.parametrize(("mode", "pool"), [("max", "MAX"), ("average", "AVG")])
def test_pools_are_tensorflows(random, kernel, stride, mode, pool):
    x = _floats(random, 2, 3, 7, 8) - 5  # a maximum must not find the zeros of the padding
    padding = coreml_ops.same_padding((7, 8), kernel, stride)
    found = coreml_ops.pool(x, kernel, stride, mode, padding)
    wanted = tf.nn.pool(_last(x), kernel, pool, stride, "SAME")
    np.testing.assert_allclose(found, _first(wanted), atol=1e-6)


def test_means_with_the_padding_by_hand():
    x = np.float32([[[[4, 8]]]])
    around = ((0, 0), (1, 1))
    counted = coreml_ops.pool(x, (1, 2), (1, 1), "average", around, average_padding=True)
    np.testing.assert_array_equal(counted, [[[[2, 6, 4]]]])
    left_out = coreml_ops.pool(x, (1, 2), (1, 1), "average", around)
    np.testing.assert_array_equal(left_out, [[[[4, 6, 8]]]])


@pytest.mark.parametrize("size", [(10, 18), (13, 7), (5, 6), (2, 3), (1, 6)])
@pytest.mark.parametrize("sampling", ["half_pixel", "align_corners", "corner"])
def test_resizing_is_tensorflows(random, size, sampling):
    x = _floats(random, 2, 3, 5, 6)
    wanted = tf.raw_ops.ResizeBilinear(
        images=_last(x),
        size=size,
        align_corners=sampling == "align_corners",
        half_pixel_centers=sampling == "half_pixel",
    )
    np.testing.assert_allclose(
        coreml_ops.resize_bilinear(x, size, sampling), _first(wanted), atol=1e-5
    )


def test_activations_by_hand():
    x = np.float32([[[[-2.0, 3.0]], [[-4.0, 0.0]]]])
    sloped = coreml_ops.prelu(x, np.float32([0.5, -0.25]))
    np.testing.assert_array_equal(sloped, [[[[-1, 3]], [[1, 0]]]])
    sigmoid = coreml_ops.sigmoid(np.float32([-1e4, -np.log(3), 0, np.log(3), 1e4]))
    np.testing.assert_allclose(sigmoid, [0, 0.25, 0.5, 0.75, 1], atol=1e-7)
