"""Tests how the interpreter of Core ML neural networks reads parameters of layers.

coremltools' builder makes the files. The tests of `export.nchw` check the arithmetic.
"""

import coremltools as ct
import numpy as np
import pytest
import tensorflow as tf
from coremltools.models.neural_network import NeuralNetworkBuilder
from scipy import special
from scipy.special import expit

from portrait.export import mlmodel_interpreter
from portrait.export.formats import ExportError

IMAGE = np.random.default_rng(0).uniform(0, 255, (1, 3, 7, 8)).astype(np.float32)
LAST = IMAGE.transpose(0, 2, 3, 1)


def _builder(**preprocessing) -> NeuralNetworkBuilder:
    """A network without layers, from the image x (3 x 7 x 8) to y."""
    features = [("x", ct.models.datatypes.Array(*IMAGE.shape[1:]))], [("y", None)]
    builder = NeuralNetworkBuilder(*features, disable_rank5_shape_mapping=True)
    builder.set_pre_processing_parameters(image_input_names=["x"], **preprocessing)
    return builder


def _run(add_layer, *arguments, **parameters) -> np.ndarray:
    """Returns the output of a network of one layer for the image."""
    builder = _builder()
    getattr(builder, add_layer)("layer", *arguments, **parameters)
    return mlmodel_interpreter.run(builder.spec, {"x": IMAGE})["y"]


def _close(found, wanted_last) -> None:
    np.testing.assert_allclose(found, np.moveaxis(np.asarray(wanted_last), -1, 1), rtol=1e-4)


def _floats(*shape) -> np.ndarray:
    return np.random.default_rng(1).uniform(0.1, 1, shape).astype(np.float32)


def _convolve(kernel, bias=None, stride=1, mode="same", dilation=1, groups=1, **parameters):
    """A convolution with a kernel (height, width, inputs, outputs)."""
    height, width, inputs, outputs = kernel.shape
    return _run(
        "add_convolution",
        inputs,
        parameters.pop("output_channels", outputs),
        height,
        width,
        stride,
        stride,
        mode,
        groups,
        kernel,
        bias,
        bias is not None,
        input_name="x",
        output_name="y",
        dilation_factors=[dilation, dilation],
        **parameters,
    )


@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (2, 1), (1, 2)])
def test_convolution(stride, dilation):
    kernel, bias = _floats(3, 2, 3, 4), _floats(4)
    found = _convolve(kernel, bias, stride, dilation=dilation)
    _close(found, tf.nn.conv2d(LAST, kernel, stride, "SAME", dilations=dilation) + bias)


def test_convolution_with_zeros_of_its_own():
    kernel = _floats(3, 3, 3, 4)
    borders = dict(padding_top=1, padding_bottom=2, padding_left=0, padding_right=3)
    found = _convolve(kernel, mode="valid", stride=2, **borders)
    padded = np.pad(LAST, ((0, 0), (1, 2), (0, 3), (0, 0)))
    _close(found, tf.nn.conv2d(padded, kernel, 2, "VALID"))
    _close(_convolve(kernel, mode="valid"), tf.nn.conv2d(LAST, kernel, 1, "VALID"))


def test_depthwise_convolution():
    kernel = _floats(3, 3, 1, 3)
    found = _convolve(kernel, groups=3, stride=2)
    _close(found, tf.nn.depthwise_conv2d(LAST, kernel.swapaxes(2, 3), [1, 2, 2, 1], "SAME"))


@pytest.mark.parametrize("size", [(14, 16), (13, 15)])
def test_deconvolution(size):
    kernel, bias = _floats(3, 3, 3, 4), _floats(4)
    found = _convolve(kernel, bias, 2, is_deconv=True, output_shape=size)
    taps = kernel.swapaxes(2, 3)
    _close(found, tf.nn.conv2d_transpose(LAST, taps, (1, *size, 4), 2, "SAME") + bias)


def test_deconvolution_needs_its_size():
    with pytest.raises(ExportError, match="output shape"):
        _convolve(_floats(3, 3, 3, 4), stride=2, is_deconv=True)


@pytest.mark.parametrize(
    ("name", "parameters", "wanted"),
    [
        ("RELU", None, lambda x: np.where(x > 0, x, 0)),
        ("LEAKYRELU", [0.25], lambda x: np.where(x > 0, x, x / 4)),
        ("LINEAR", [-2.0, 0.5], lambda x: 0.5 - 2 * x),
        ("PRELU", np.float32([1, 2, 3]), lambda x: np.where(x > 0, x, [[[1]], [[2]], [[3]]] * x)),
        ("SIGMOID", None, expit),
        ("TANH", None, np.tanh),
    ],
)
def test_activations(name, parameters, wanted):
    builder = _builder(red_bias=-128, green_bias=-128, blue_bias=-128)
    builder.add_activation("layer", name, "x", "y", parameters)
    found = mlmodel_interpreter.run(builder.spec, {"x": IMAGE})["y"]
    np.testing.assert_allclose(found, wanted(IMAGE - 128), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("mode", "inputs", "wanted"),
    [
        ("ADD", ["x", "x", "x"], 3 * IMAGE),
        ("ADD", ["x"], IMAGE + 7),
        ("MULTIPLY", ["x", "x"], IMAGE**2),
        ("MULTIPLY", ["x"], 7 * IMAGE),
        ("CONCAT", ["x", "x"], np.tile(IMAGE, (1, 2, 1, 1))),
    ],
)
def test_layers_of_several_inputs(mode, inputs, wanted):
    found = _run("add_elementwise", inputs, "y", mode, alpha=7)
    np.testing.assert_allclose(found, wanted, rtol=1e-6)


def test_products_with_one_number_a_channel():
    builder = _builder()
    builder.add_pooling("pool", 0, 0, 1, 1, "AVERAGE", "VALID", "x", "mean", is_global=True)
    builder.add_elementwise("product", ["x", "mean"], "y", "MULTIPLY")
    found = mlmodel_interpreter.run(builder.spec, {"x": IMAGE})["y"]
    wanted = IMAGE * IMAGE.mean((2, 3), keepdims=True)
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


@pytest.mark.parametrize(("kind", "pool"), [("MAX", "MAX"), ("AVERAGE", "AVG")])
def test_pooling(kind, pool):
    window = dict(input_name="x", output_name="y", layer_type=kind)
    same = _run("add_pooling", 3, 2, 2, 2, padding_type="SAME", **window)
    _close(same, tf.nn.pool(LAST, (3, 2), pool, (2, 2), "SAME"))
    valid = _run("add_pooling", 3, 2, 2, 2, padding_type="VALID", **window)
    _close(valid, tf.nn.pool(LAST, (3, 2), pool, (2, 2), "VALID"))
    whole = _run("add_pooling", 0, 0, 0, 0, padding_type="VALID", is_global=True, **window)
    _close(whole, tf.nn.pool(LAST, (7, 8), pool, (1, 1), "VALID"))


def test_means_that_count_the_padding():
    window = dict(input_name="x", output_name="y", layer_type="AVERAGE", padding_type="VALID")
    borders = dict(padding_top=1, padding_left=1, exclude_pad_area=False)
    found = _run("add_pooling", 2, 2, 1, 1, **window, **borders)
    _close(found, tf.nn.avg_pool(np.pad(LAST, ((0, 0), (1, 0), (1, 0), (0, 0))), 2, 1, "VALID"))


@pytest.mark.parametrize(
    ("mode", "options"),
    [
        ("DEFAULT", {}),
        ("ALIGN_CORNERS_TRUE", {"align_corners": True}),
        ("ALIGN_CORNERS_FALSE", {"half_pixel_centers": True}),
    ],
)
def test_upsample(mode, options):
    factor = (2, 3) if mode == "DEFAULT" else (2.5, 3)
    found = _run("add_upsample", *factor, "x", "y", "BILINEAR", mode)
    size = (int(7 * factor[0]), 24)
    _close(found, tf.raw_ops.ResizeBilinear(images=LAST, size=size, **options))


def test_threshold():
    found = _run("add_unary", "x", "y", "threshold", alpha=0.5, shift=0.25, scale=-2.0)
    _close(found, np.maximum(0.5, 0.25 - 2 * LAST))


def test_other_orders_of_the_dimensions():
    np.testing.assert_array_equal(_run("add_transpose", (0, 2, 3, 1), "x", "y"), LAST)
    np.testing.assert_array_equal(
        _run("add_transpose", (3, 1, 0, 2), "x", "y"), IMAGE.transpose(3, 1, 0, 2)
    )


@pytest.mark.parametrize(
    ("axis", "wanted"),
    [
        ("channel", IMAGE[:, 1:3]),
        ("height", IMAGE[:, :, 1:3]),
        ("width", IMAGE[..., 1:3]),
    ],
)
def test_slice(axis, wanted):
    np.testing.assert_array_equal(_run("add_slice", "x", "y", axis, 1, 3), wanted)


def test_slice_with_a_stride_up_to_the_last():
    found = _run("add_slice", "x", "y", "width", 1, -1, 2)
    np.testing.assert_array_equal(found, IMAGE[..., 1:-1:2])


@pytest.mark.parametrize("axis", [1, -1])
def test_sums_and_shares_along_a_dimension(axis):
    found = _run("add_reduce_sum", "x", "y", axes=[axis], keepdims=True)
    np.testing.assert_allclose(found, IMAGE.sum(axis, keepdims=True), rtol=1e-6)
    found = _run("add_reduce_sum", "x", "y", axes=[axis, 2], keepdims=False)
    np.testing.assert_allclose(found, IMAGE.sum((axis, 2)), rtol=1e-6)
    found = _run("add_softmax_nd", "x", "y", axis)
    np.testing.assert_allclose(found, special.softmax(IMAGE, axis), rtol=1e-5, atol=1e-12)


@pytest.mark.parametrize("axis", [1, -1])
def test_concatenation_along_a_dimension(axis):
    builder = _builder()
    builder.add_activation("double", "LINEAR", "x", "twice", [2.0, 0.0])
    builder.add_concat_nd("layer", ["x", "twice"], "y", axis)
    found = mlmodel_interpreter.run(builder.spec, {"x": IMAGE})["y"]
    np.testing.assert_array_equal(found, np.concatenate([IMAGE, 2 * IMAGE], axis))


def test_preprocessing():
    builder = _builder(red_bias=1, green_bias=-2, blue_bias=4, image_scale=0.5)
    builder.add_elementwise("layer", ["x"], "y", "ADD", alpha=0)
    found = mlmodel_interpreter.run(builder.spec, {"x": IMAGE})["y"]
    np.testing.assert_allclose(found, IMAGE / 2 + np.reshape([1, -2, 4], (3, 1, 1)), rtol=1e-6)


def test_what_it_does_not_know_is_an_error_with_the_name():
    with pytest.raises(ExportError, match=r"'softmax'.*'layer'.*pooling"):
        _run("add_softmax", "x", "y")
    with pytest.raises(ExportError, match="threshold"):
        _run("add_unary", "x", "y", "exp")
    with pytest.raises(ExportError, match=r"'ELU'"):
        _run("add_activation", "ELU", "x", "y", 1.0)
    with pytest.raises(ExportError, match="TOP_LEFT_HEAVY"):
        _convolve(_floats(3, 3, 3, 4), same_padding_asymmetry_mode="TOP_LEFT_HEAVY")
    with pytest.raises(ExportError, match="nearest"):
        _run("add_upsample", 2, 2, "x", "y", "NN")


def test_images_of_another_size():
    builder = _builder()
    builder.add_activation("layer", "RELU", "x", "y")
    with pytest.raises(ValueError, match="x is"):
        mlmodel_interpreter.run(builder.spec, {"x": IMAGE[:, :, 1:]})


def test_counting_names_activations():
    builder = _builder()
    builder.add_activation("first", "RELU", "x", "between")
    builder.add_elementwise("second", ["between"], "y", "MULTIPLY", alpha=2)
    assert mlmodel_interpreter.count_layers(builder.spec) == {"ReLU": 1, "multiply": 1}
