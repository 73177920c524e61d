"""Tests how the interpreter of Core ML programs reads MIL's parameters, op by op.

The tests of `export.nchw` check the arithmetic of the ops.
"""

import coremltools as ct
import numpy as np
import pytest
import tensorflow as tf
from coremltools.converters.mil.mil import Builder as mb
from coremltools.converters.mil.mil import types
from scipy import special
from scipy.special import expit

from portrait.export import coreml_interpreter
from portrait.export.formats import ExportError


def _run(build, x, dtype=types.fp32, **options) -> np.ndarray:
    """Runs a program with one input and the ops of `build`."""
    specification = mb.TensorSpec(shape=x.shape, dtype=dtype)

    @mb.program(input_specs=[specification], opset_version=ct.target.iOS16)
    def program(x):
        return build(x)

    (result,) = coreml_interpreter.run(program, {"x": x}, **options).values()
    return result


def _floats(*shape) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape, np.float32)


def _last(x) -> np.ndarray:
    return np.moveaxis(np.asarray(x), 1, -1)


def _close(found, wanted_last) -> None:
    np.testing.assert_allclose(found, np.moveaxis(np.asarray(wanted_last), -1, 1), atol=1e-5)


@pytest.mark.parametrize(
    ("pad_type", "padding"),
    [("valid", "VALID"), ("same", "SAME"), ("custom", [[0, 0], [1, 2], [0, 1], [0, 0]])],
)
@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (2, 1), (1, 2)])
def test_conv(pad_type, padding, stride, dilation):
    x, weight, bias = _floats(2, 3, 8, 9), _floats(4, 3, 3, 3), _floats(4)
    found = _run(
        lambda x: mb.conv(
            x=x,
            weight=weight,
            bias=bias,
            strides=[stride, stride],
            pad_type=pad_type,
            dilations=[dilation, dilation],
            **({"pad": [1, 2, 0, 1]} if pad_type == "custom" else {}),
        ),
        x,
    )
    kernel = weight.transpose(2, 3, 1, 0)
    _close(found, tf.nn.conv2d(_last(x), kernel, stride, padding, dilations=dilation) + bias)


def test_depthwise_conv():
    x, weight = _floats(1, 4, 6, 7), _floats(4, 1, 3, 3)
    found = _run(
        lambda x: mb.conv(x=x, weight=weight, groups=4, pad_type="same", strides=[2, 2]), x
    )
    kernel = weight.transpose(2, 3, 0, 1)
    _close(found, tf.nn.depthwise_conv2d(_last(x), kernel, [1, 2, 2, 1], "SAME"))


@pytest.mark.parametrize("size", [(10, 12), (9, 11)])
def test_conv_transpose_of_a_given_size(size):
    x, weight, bias = _floats(1, 3, 5, 6), _floats(3, 4, 3, 3), _floats(4)
    given = dict(weight=weight, bias=bias, strides=[2, 2], pad_type="same")
    found = _run(lambda x: mb.conv_transpose(x=x, output_shape=[1, 4, *size], **given), x)
    kernel = weight.transpose(2, 3, 1, 0)
    _close(found, tf.nn.conv2d_transpose(_last(x), kernel, (1, *size, 4), 2, "SAME") + bias)
    if size == (10, 12):  # "same" without a given size
        np.testing.assert_array_equal(_run(lambda x: mb.conv_transpose(x=x, **given), x), found)


def test_conv_transpose_with_a_crop():
    x, weight = np.float32([[[[1, 10]]]]), np.float32([[[[1, 2, 3]]]])
    # Unclipped: 1 2 3+10 20 30.
    cropped = _run(
        lambda x: mb.conv_transpose(
            x=x, weight=weight, strides=[1, 2], pad_type="custom", pad=[0, 0, 1, 2]
        ),
        x,
    )
    np.testing.assert_array_equal(cropped, [[[[2, 13]]]])


@pytest.mark.parametrize("excluded", [True, False])
def test_pools(excluded):
    x = _floats(1, 2, 5, 7)
    window = dict(kernel_sizes=[3, 2], strides=[2, 2], pad_type="same")
    found = _run(lambda x: mb.avg_pool(x=x, exclude_padding_from_average=excluded, **window), x)
    sums = tf.nn.avg_pool(np.pad(_last(x), ((0, 0), (1, 1), (0, 1), (0, 0))), (3, 2), 2, "VALID")
    _close(found, tf.nn.avg_pool(_last(x), (3, 2), 2, "SAME") if excluded else sums)
    found = _run(lambda x: mb.max_pool(x=x, **window), x)
    _close(found, tf.nn.max_pool(_last(x), (3, 2), 2, "SAME"))


@pytest.mark.parametrize(
    ("align_corners", "half_pixel_centers"),
    [(True, None), (False, None), (False, True), (False, False)],
)
@pytest.mark.parametrize("factor", [2, 1.75])
def test_upsample_bilinear(align_corners, half_pixel_centers, factor):
    x = _floats(1, 2, 4, 6)
    centres = {} if half_pixel_centers is None else {"half_pixel_centers": half_pixel_centers}
    found = _run(
        lambda x: mb.upsample_bilinear(
            x=x,
            scale_factor_height=factor,
            scale_factor_width=type(factor)(3),
            align_corners=align_corners,
            **centres,
        ),
        x,
    )
    wanted = tf.raw_ops.ResizeBilinear(
        images=_last(x),
        size=(int(4 * factor), 18),
        align_corners=align_corners,
        half_pixel_centers=not align_corners if half_pixel_centers is None else half_pixel_centers,
    )
    _close(found, wanted)


X = np.float32([[[[-2, 3]], [[-1, -4]]]])


@pytest.mark.parametrize(
    ("build", "wanted"),
    [
        (lambda x: mb.relu(x=x), [[[0, 3]], [[0, 0]]]),
        (lambda x: mb.relu6(x=mb.mul(x=x, y=np.float32(3))), [[[0, 6]], [[0, 0]]]),
        (lambda x: mb.leaky_relu(x=x, alpha=0.5), [[[-1, 3]], [[-0.5, -2]]]),
        (lambda x: mb.prelu(x=x, alpha=np.float32([2, -1])), [[[-4, 3]], [[1, 4]]]),
        (lambda x: mb.sigmoid(x=x), expit(X[0])),
        (lambda x: mb.tanh(x=x), 2 * expit(2 * X[0]) - 1),
        (lambda x: mb.add(x=x, y=np.float32([[[1]], [[2]]])), [[[-1, 4]], [[1, -2]]]),
        (lambda x: mb.mul(x=x, y=np.float32(3)), [[[-6, 9]], [[-3, -12]]]),
        (lambda x: mb.concat(values=[x, x], axis=3), [[[-2, 3, -2, 3]], [[-1, -4, -1, -4]]]),
        (lambda x: mb.reduce_sum(x=x, axes=[1], keep_dims=True), [[[-3, -1]]]),
        (lambda x: mb.reduce_sum(x=x, axes=[-2, -1]), [1, -5]),
        (lambda x: mb.softmax(x=x, axis=1), special.softmax(X[0], 0)),
        (lambda x: mb.softmax(x=mb.mul(x=x, y=np.float32(100))), [[[0, 1]], [[1, 0]]]),
    ],
)
def test_simple_ops(build, wanted):
    np.testing.assert_allclose(_run(build, X), [wanted], atol=1e-6)


@pytest.mark.parametrize("perm", [(0, 2, 3, 1), (0, 3, 1, 2), (3, 1, 0, 2)])
def test_transpose(perm):
    x = _floats(2, 3, 4, 5)
    np.testing.assert_array_equal(
        _run(lambda x: mb.transpose(x=x, perm=perm), x), x.transpose(perm)
    )


def test_slice_by_index():
    x = _floats(2, 3, 4, 5)
    found = _run(lambda x: mb.slice_by_index(x=x, begin=[0, 1, 0, -2], end=[1, 3, 4, 5]), x)
    np.testing.assert_array_equal(found, x[:1, 1:3, :, -2:])
    masks = dict(begin_mask=[True, True, False, False], end_mask=[True, False, False, True])
    found = _run(
        lambda x: mb.slice_by_index(
            x=x, begin=[1, 2, 3, 1], end=[0, 2, 0, 0], stride=[1, 1, -2, 2], **masks
        ),
        x,
    )
    np.testing.assert_array_equal(found, x[:, :2, 3:0:-2, 1::2])
    with pytest.raises(ExportError, match="squeezes"):
        squeeze = [False, True, False, False]
        bounds = dict(begin=[0, 1, 0, 0], end=[2, 2, 4, 5])
        _run(lambda x: mb.slice_by_index(x=x, squeeze_mask=squeeze, **bounds), x)


def test_linear_8_bit_weights():
    stored = np.int8([[[[-127]], [[5]]], [[[7]], [[127]]]])  # two outputs of two inputs
    found = _run(
        lambda x: mb.conv(
            x=x,
            weight=mb.constexpr_affine_dequantize(
                quantized_data=stored,
                zero_point=np.int8([3, 0]),
                scale=np.float32([0.5, 2]),
                axis=0,
            ),
        ),
        np.float32([[[[1]], [[10]]]]),
    )
    # (-127 - 3) / 2 + 10 (5 - 3) / 2, and 7 * 2 + 10 * 127 * 2
    np.testing.assert_array_equal(found[0, :, 0, 0], [-55, 2554])


@pytest.mark.parametrize("bits", [1, 2, 4, 6, 8])
def test_palettised_weights(bits):
    random = np.random.default_rng(bits)
    palette = random.standard_normal(2**bits, np.float32)
    places = random.integers(0, 2**bits, 6 * 3)
    # As one long number in which place i begins at bit i * bits.
    packed = sum(int(place) << i * bits for i, place in enumerate(places))
    stored = np.frombuffer(packed.to_bytes(-(-len(places) * bits // 8), "little"), np.uint8)
    shape = np.uint32([6, 3, 1, 1])
    found = _run(
        lambda x: mb.conv(
            x=x, weight=mb.constexpr_lut_to_dense(indices=stored, lut=palette, shape=shape)
        ),
        np.eye(3, dtype=np.float32).reshape(3, 3, 1, 1),
    )
    np.testing.assert_array_equal(found[:, :, 0, 0].T, palette[places].reshape(6, 3))


def test_float16_programs():
    third = lambda x: mb.mul(x=x, y=np.float16(1 / 3))  # noqa: E731
    x = np.float32([3])
    # 1/3 in 11 bits is 1365/4096. 3 times that lies half-way between float16's 1 - 2^-11 and 1.
    np.testing.assert_array_equal(_run(third, x, types.fp16), 4095 / 4096)
    np.testing.assert_array_equal(_run(third, x, types.fp16, round_results=True), 1)
    with pytest.raises(ExportError, match="65504"):
        _run(lambda x: mb.mul(x=x, y=np.float16(30000)), x, types.fp16)


def test_what_it_does_not_know_is_an_error_with_the_name():
    with pytest.raises(ExportError, match=r"'erf'.*'strange'.*conv_transpose"):
        _run(lambda x: mb.erf(x=x, name="strange"), X)
    with pytest.raises(ExportError, match="dilated"):
        weight = _floats(2, 2, 3, 3)
        _run(lambda x: mb.conv_transpose(x=x, weight=weight, dilations=[2, 2]), X)
    with pytest.raises(ExportError, match="int32"):
        _run(lambda x: mb.cast(x=x, dtype="int32"), X)
    window = dict(kernel_sizes=[1, 2], pad_type="valid", ceil_mode=True)
    with pytest.raises(ExportError, match="ceil_mode"):
        _run(lambda x: mb.avg_pool(x=x, **window), X)


def test_inputs_of_another_shape():
    @mb.program(input_specs=[mb.TensorSpec(shape=(1, 2, 1, 2))])
    def program(x):
        return mb.relu(x=x)

    with pytest.raises(ValueError, match=r"x .*\(2, 2, 1, 2\).*\(1, 2, 1, 2\)"):
        coreml_interpreter.run(program, {"x": np.concatenate([X, X])})


def test_counting_leaves_constants_out():
    @mb.program(input_specs=[mb.TensorSpec(shape=(1, 2, 1, 2))])
    def program(x):
        return mb.relu(x=mb.add(x=mb.mul(x=x, y=2.0), y=mb.mul(x=x, y=3.0)))

    assert coreml_interpreter.count_ops(program) == {"relu": 1, "add": 1, "mul": 2}
