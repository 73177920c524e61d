"""Tests borders, sizes, normalisation and styles of the transform network."""

import keras
import numpy as np
import pytest
from style_networks import picture, random_network

from portrait.style_transfer import transform_net
from portrait.style_transfer.transform_net import InstanceNormalization, ReflectionPadding


def test_reflection_padding_is_numpys():
    x = np.random.default_rng(0).normal(size=(2, 6, 5, 3)).astype(np.float32)
    padded = np.asarray(ReflectionPadding(4)(x))
    np.testing.assert_array_equal(padded, np.pad(x, ((0, 0), (4, 4), (4, 4), (0, 0)), "reflect"))
    assert ReflectionPadding(4).compute_output_shape((None, None, 5, 3)) == (None, None, 13, 3)


def test_instance_normalization_is_of_each_picture_and_channel():
    x = np.random.default_rng(0).normal(3, 5, (2, 40, 30, 4)).astype(np.float32)
    y = np.asarray(InstanceNormalization()(x))
    np.testing.assert_allclose(y.mean((1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(y.std((1, 2)), 1, atol=1e-5)
    np.testing.assert_allclose(y[1], np.asarray(InstanceNormalization()(x[1:]))[0], atol=1e-6)


def test_design_sizes():
    # 9x9x3x32 + 3x3x32x64 + 3x3x64x128 + 10 (3x3x128x128) + 3x3x128x64 + 3x3x64x32 + 9x9x32x3 + 3
    # + 12 of the frozen normalisation, and a scale and a shift after each of 15 convolutions.
    convolutions = 7776 + 18432 + 73728 + 10 * 147456 + 73728 + 18432 + 7776 + 3
    affine = 2 * (32 + 64 + 128 + 10 * 128 + 64 + 32)
    assert transform_net.build(size="big").count_params() == convolutions + affine + 12
    big, six = transform_net.build(size="big", styles=1), transform_net.build(size="big", styles=6)
    assert six.count_params() - big.count_params() == 5 * affine


@pytest.mark.parametrize("shape", [(16, 16), (64, 96), (100, 52)])
def test_paints_any_multiple_of_four(shape):
    painted = np.asarray(random_network(0)(picture(*shape)[None].astype(np.float32)))
    assert painted.shape == (1, *shape, 3)
    assert painted.min() >= 0 and painted.max() <= 255


def test_a_plain_picture_stays_plain_up_to_its_borders():
    """Zeros around a picture leave a frame, and transposed convolutions a checkerboard."""
    network = random_network(3)
    plain = np.full((1, 48, 64, 3), (200, 120, 40), np.float32)
    painted = np.asarray(network({"image": plain, "mix": np.float32([[0, 1, 0]])}))
    # The normalisation divides rounding errors by sqrt(1e-4).
    np.testing.assert_allclose(painted - painted[:, :1, :1], 0, atol=0.05)


@pytest.mark.parametrize("mix", [(1, 0), (0, 1), (0.3, 0.7)])
def test_a_fixed_style_paints_as_the_network_of_all(mix):
    network = random_network(2)
    image = picture(32, 40)[None].astype(np.float32)
    expected = np.asarray(network({"image": image, "mix": np.float32([mix])}))
    fixed = transform_net.fix_style(network, mix, (32, 40))
    assert fixed.input_shape == (None, 32, 40, 3)
    # The epsilon of the normalisation counts more where the kernels were larger.
    np.testing.assert_allclose(np.asarray(fixed(image)), expected, atol=0.5)
    other = np.asarray(network({"image": image, "mix": np.float32([[0.5, 0.5]])}))
    assert np.abs(other - expected).max() > 1


def test_a_fixed_style_keeps_within_float16_whatever_the_scale_of_its_kernels():
    network = random_network(2)
    for layer in network.layers:
        if layer.name.startswith("conv_"):
            layer.set_weights([1000 * each for each in layer.get_weights()])
    fixed = transform_net.fix_style(network, [1, 0], (32, 40))
    image = picture(32, 40)[None].astype(np.float32)
    outputs = [layer.output for layer in fixed.layers if layer.name.startswith("conv_")]
    largest = max(float(np.abs(each).max()) for each in keras.Model(fixed.input, outputs)(image))
    assert largest**2 < 65504
    expected = np.asarray(network({"image": image, "mix": np.float32([[1, 0]])}))
    np.testing.assert_allclose(np.asarray(fixed(image)), expected, atol=0.5)


def test_weights_survive_a_keras_archive(tmp_path):
    network = random_network(2)
    network.save(tmp_path / "style.keras")
    loaded = keras.models.load_model(tmp_path / "style.keras")
    for before, after in zip(network.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)
