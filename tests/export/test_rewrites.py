"""Tests that rewritten files compute the same function."""

import keras
import numpy as np
import pytest

from portrait.export import rewrites, tflite
from portrait.models.build import for_inference
from portrait.models.layers import MEAN, STD, normalize
from portrait.tflite import graph
from portrait.tflite.graph import pack
from portrait.tflite.runtime import TfliteModel

SIDE = 12
RANDOM = np.random.default_rng(0)


def network(
    channels: int, kernel: int, stride: int, bias: bool = True, mean=MEAN, std=STD
) -> keras.Model:
    keras.utils.set_random_seed(channels)
    large = keras.initializers.RandomNormal(stddev=1.0)  # otherwise all alphas are about 0.5
    image = keras.Input((SIDE, SIDE, 3))
    x = normalize(image, mean, std)
    x = keras.layers.Conv2D(5, 3, padding="same", activation="relu")(x)
    x = keras.layers.Conv2DTranspose(
        channels,
        kernel,
        strides=stride,
        padding="same",
        use_bias=bias,
        kernel_initializer=large,
        bias_initializer=large,
    )(x)
    return keras.Model(image, keras.layers.Activation("sigmoid")(x))


def converted(model: keras.Model, int8: bool) -> bytes:
    """Returns the bytes of the converter."""
    pictures = RANDOM.integers(0, 256, (4, SIDE, SIDE, 3), np.uint8)
    return tflite.run_converter(model, "int8" if int8 else "float32", pictures)


def rewritten(file: bytes) -> tuple[bytes, int]:
    model = graph.parse(file)
    count = rewrites.rewrite(model)
    return pack(model), count


def answer(file: bytes, xnnpack: bool) -> np.ndarray:
    run = TfliteModel(file, "file", xnnpack=xnnpack)
    shape = (*run.input_shape, run.channels)
    return run(np.random.default_rng(1).integers(0, 256, shape).astype(np.float32))


@pytest.mark.parametrize("int8", [False, True])
@pytest.mark.parametrize("channels, block", [(1, 2), (3, 2), (2, 4)])
def test_the_same_numbers(int8, channels, block):
    file = converted(network(channels, block, block), int8)
    new, count = rewritten(file)
    assert count == 1
    names = [op.name for op in graph.read(new).ops]
    assert "TRANSPOSE_CONV" not in names
    assert names.count("DEPTH_TO_SPACE") == 1
    expected = answer(file, xnnpack=True)
    assert expected.std() > 0.05
    assert np.abs(answer(new, xnnpack=True) - expected).max() <= (0 if int8 else 1e-6)
    # LiteRT's int8 kernels round some values of a transposed convolution differently, by a step.
    error = np.abs(answer(new, xnnpack=False) - answer(file, xnnpack=False))
    assert error.mean() < (1e-4 if int8 else 1e-7)


@pytest.mark.parametrize("kernel, stride, bias", [(3, 2, True), (4, 2, True), (2, 2, False)])
def test_what_overlaps_or_has_no_bias_stays(kernel, stride, bias):
    file = converted(network(1, kernel, stride, bias), int8=False)
    new, count = rewritten(file)
    assert count == 0
    assert [op.name for op in graph.read(new).ops].count("TRANSPOSE_CONV") == 1


@pytest.mark.parametrize("mean, ops", [(127, ["MUL", "ADD"]), (0, ["MUL"])])
def test_one_mean_for_all_channels_needs_no_convolution(mean, ops):
    file = converted(network(1, 3, 2, mean=(mean,) * 3, std=(128,) * 3), int8=True)
    new, count = rewritten(file)
    assert count == 1
    names = [op.name for op in graph.read(new).ops]
    assert names[: len(ops) + 2] == ["QUANTIZE", *ops, "CONV_2D"]
    assert names.count("CONV_2D") == 1
    for xnnpack in (True, False):
        expected = answer(file, xnnpack)
        assert expected.std() > 0.05
        assert np.array_equal(answer(new, xnnpack), expected)


@pytest.mark.parametrize("int8, mean, std", [(True, MEAN, STD), (False, (127,) * 3, (128,) * 3)])
def test_other_normalisations_stay_convolutions(int8, mean, std):
    file = converted(network(1, 3, 2, mean=mean, std=std), int8)
    assert rewritten(file)[1] == 0


@pytest.mark.parametrize("channels", [3, 4])
def test_a_normalisation_without_a_mean_is_part_of_the_next_convolution(channels):
    image = keras.Input((SIDE, SIDE, 3))
    scaled = normalize(image, (0, 0, 0), (255, 200, 100))
    conv = keras.layers.Conv2D(5, 3, strides=2, padding="same", bias_initializer="normal")
    model = keras.Model(image, {"output": keras.layers.Activation("sigmoid")(conv(scaled))})
    file = converted(for_inference(model, channels), int8=False)
    new, count = rewritten(file)
    assert count == 1
    names = [op.name for op in graph.read(new).ops]
    assert names == ["CONV_2D", "LOGISTIC"]
    expected = answer(file, xnnpack=True)
    assert expected.std() > 0.05
    assert np.abs(answer(new, xnnpack=True) - expected).max() <= 1e-6


def test_exports_have_it():
    file = tflite.convert(network(1, 2, 2), "float32")
    assert {"DEPTH_TO_SPACE", "CONV_2D"} <= set(graph.read(file).counts())
