"""Tests `rescale` with networks scaled beyond the range of float16."""

import keras
import numpy as np
import pytest
import tiny_network

from network import build as build_mattingnet
from portrait.models.build import build
from portrait.models.rescale import balance, largest_activations, rescale, rescaled

FAR = 2.0**17  # half of it is beyond float16's 65,504
SIZE = (32, 32)


def outputs(model, pictures):
    found = model.predict_on_batch(pictures.astype(np.float32))
    return {name: np.asarray(value) for name, value in found.items()}


def far_network():
    """Two convolutions of one channel and a residual sum, whose activations are `FAR` at least."""
    image = keras.Input((*SIZE, 3), name="image")
    x = keras.layers.Conv2D(4, 1, kernel_initializer="ones", name="stem")(image)
    y = keras.layers.PReLU(shared_axes=[1, 2], name="prelu")(x)
    y = keras.layers.SeparableConv2D(4, 3, padding="same", name="branch")(y)
    x = keras.layers.Add(name="sum")([x, y])
    alpha = keras.layers.Conv2D(1, 1, activation="sigmoid", name="output")(x)
    model = keras.Model(image, {"output": alpha})
    model.get_layer("stem").set_weights([np.full((1, 1, 3, 4), FAR, np.float32), np.ones(4)])
    kernel, bias = model.get_layer("output").get_weights()
    model.get_layer("output").set_weights([kernel / FAR / 1000, bias])
    return model


@pytest.fixture
def pictures():
    return tiny_network.pictures(2, SIZE)


def test_the_largest_activation_of_a_convolution_by_hand():
    image = keras.Input((*SIZE, 3), name="image")
    x = keras.layers.Conv2D(1, 1, kernel_initializer="ones", name="sum")(image)
    x = keras.layers.SeparableConv2D(1, 1, name="separable")(x)
    model = keras.Model(image, x)
    model.get_layer("separable").set_weights(
        [np.full((1, 1, 1, 1), -3.0), np.ones((1, 1, 1, 1)), np.zeros(1)]
    )
    pictures = np.full((2, *SIZE, 3), 10, np.uint8)
    pictures[1, 5, 7] = (20, 30, 40)
    # The sum of the channels, then -3 times that.
    assert largest_activations(model, pictures) == {"sum": 90, "separable": 270}


def test_the_depthwise_part_counts():
    image = keras.Input((*SIZE, 3), name="image")
    model = keras.Model(image, keras.layers.SeparableConv2D(1, 1, name="separable")(image))
    weights = [np.full((1, 1, 3, 1), 100.0), np.zeros((1, 1, 3, 1)), np.zeros(1)]
    model.get_layer("separable").set_weights(weights)
    pictures = np.full((1, *SIZE, 3), 7, np.uint8)
    assert largest_activations(model, pictures) == {"separable": 700}


def test_activations_come_into_range_and_outputs_stay(pictures):
    model = far_network()
    before = outputs(model, pictures)
    assert np.std(before["output"]) > 1e-3
    assert max(largest_activations(model, pictures).values()) > 65_504
    rescale(model, pictures)
    assert max(largest_activations(model, pictures).values()) < 1000
    np.testing.assert_array_equal(outputs(model, pictures)["output"], before["output"])
    kernel = model.get_layer("stem").get_weights()[0]
    assert np.log2(kernel).max() % 1 == 0  # a power of two of a power of two


def scale_kernel(layer, factor):
    kernel, bias = layer.get_weights()
    layer.set_weights([kernel * factor, bias])


@pytest.mark.parametrize(
    ("size", "heads"),
    [
        ("small", ("conv2d_5", "conv2d_transpose_4")),
        pytest.param("big", ("boundary_attention", "conv2d_5"), marks=pytest.mark.slow),
    ],
)
def test_mattingnet(pictures, size, heads):
    keras.backend.clear_session()  # which starts the numbers in layers' names from 0
    keras.utils.set_random_seed(1)
    model = build_mattingnet(SIZE, size)
    scale_kernel(model.get_layer("conv2d"), FAR)
    for head in heads:
        scale_kernel(model.get_layer(head), 1 / FAR)
    before = outputs(model, pictures)
    assert max(largest_activations(model, pictures).values()) > 65_504
    rescale(model, pictures)
    found = largest_activations(model, pictures)
    assert max(found.values()) < 1000
    for name, values in outputs(model, pictures).items():
        np.testing.assert_array_equal(values, before[name])
    weights = model.get_weights()
    rescale(model, pictures)  # it is in range: nothing is left to do
    assert all(map(np.array_equal, weights, model.get_weights()))


def test_a_network_in_range_keeps_its_weights(pictures):
    keras.utils.set_random_seed(1)
    model = build_mattingnet(SIZE, "small")
    weights = model.get_weights()
    rescale(model, pictures)
    assert all(map(np.array_equal, weights, model.get_weights()))


def test_balanced_it_has_the_weights_that_it_began_with(pictures):
    """Fresh kernels have He's deviation; here the first is made small, as `rescale` does."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(1)
    model = build_mattingnet(SIZE, "small")
    weights, before = model.get_weights(), outputs(model, pictures)
    balance(model)
    assert all(map(np.array_equal, weights, model.get_weights()))
    scale_kernel(model.get_layer("conv2d"), 2.0**-6)
    for head in ("conv2d_5", "conv2d_transpose_4"):
        scale_kernel(model.get_layer(head), 2.0**6)
    balance(model)
    assert all(map(np.array_equal, weights, model.get_weights()))
    for name, values in outputs(model, pictures).items():
        np.testing.assert_array_equal(values, before[name])


@pytest.mark.parametrize("name", ["fast_scnn", "selfie_net"])
def test_batch_normalisation_stays_as_it_is(name):
    """Tensors after a layer that is not homogeneous must not be scaled."""
    keras.utils.set_random_seed(1)
    size = (64, 64)
    model = build(name, size)
    for layer in model.layers:  # far beyond the range
        if isinstance(layer, keras.layers.Conv2D) and layer.trainable:
            layer.set_weights([each * 100 for each in layer.get_weights()])
    pictures = tiny_network.pictures(1, size)
    before = outputs(model, pictures)
    rescale(model, pictures)
    for output, values in outputs(model, pictures).items():
        np.testing.assert_array_equal(values, before[output])


def test_for_a_while(pictures):
    model = far_network()
    weights = model.get_weights()
    with rescaled(model, pictures):
        assert max(largest_activations(model, pictures).values()) < 1000
    assert all(map(np.array_equal, weights, model.get_weights()))


def test_a_network_with_another_input_keeps_its_weights(pictures):
    one = far_network()
    box = keras.Input((4,), name="face")
    image = keras.Input((*SIZE, 3), name="image")
    two = keras.Model({"image": image, "face": box}, one(image))
    weights = two.get_weights()
    rescale(two, pictures)
    assert all(map(np.array_equal, weights, two.get_weights()))
