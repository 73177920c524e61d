"""Tests VGG16 against `keras.applications`, and files without its weights."""

import keras
import numpy as np
import pytest

from portrait.errors import UserError
from portrait.models import vgg16
from portrait.models.build import build
from portrait.models.start.start import start

PICTURES = np.random.default_rng(0).uniform(0, 255, (2, 32, 48, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def theirs():
    keras.utils.set_random_seed(0)
    return keras.applications.VGG16(include_top=False, weights=None)


@pytest.fixture(scope="module")
def weights(theirs):
    """Weights in the form of `vgg16.conv_weights`."""
    arrays = {}
    for name in vgg16.LAYERS:
        kernel, bias = theirs.get_layer(name).get_weights()
        arrays |= {f"{name}/kernel": kernel, f"{name}/bias": bias}
    return arrays


def first_blocks(count: int, dilation: int = 1, channels: int = 3) -> keras.Model:
    """VGG16 up to the end of block `count`, without `normalize`."""
    image = x = keras.Input((32, 48, channels))
    for number in range(1, count + 1):
        x = vgg16.block(x, number, dilation)
        if number < count:
            x = keras.layers.MaxPooling2D(2)(x)
    return keras.Model(image, x)


def test_it_is_the_network_of_keras_applications(theirs, weights):
    ours = first_blocks(5)
    vgg16.load_into(ours, weights)
    same = keras.Model(theirs.input, theirs.get_layer("block5_conv3").output)
    expected = np.asarray(same(PICTURES))
    assert np.asarray(ours(PICTURES)) == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_input_is_that_of_keras_applications():
    image = keras.Input((32, 48, 3))
    model = keras.Model(image, vgg16.normalize(image))
    expected = keras.applications.vgg16.preprocess_input(PICTURES.copy())
    # Numbers of about 2^7 in float32: a few units of 2^-17.
    assert np.asarray(model(PICTURES)) == pytest.approx(expected, abs=5e-5)
    assert not model.trainable_weights


def test_dilated_it_sees_every_second_pixel(weights):
    dilated, dense = first_blocks(1, dilation=2), first_blocks(1)
    vgg16.load_into(dilated, weights)
    vgg16.load_into(dense, weights)
    half = PICTURES[:, ::2, ::2]
    expected = np.asarray(dense(np.tile(half, (1, 2, 2, 1))))[:, :15, :23]
    found = np.asarray(dilated(half.repeat(2, axis=1).repeat(2, axis=2)))[:, :30:2, :46:2]
    # All but the two rows and columns that see the repetition.
    assert found[:, :-1, :-1] == pytest.approx(expected[:, :-1, :-1], rel=1e-4, abs=1e-4)


def test_further_channels_start_without_effect(weights):
    plain, wider = first_blocks(1), first_blocks(1, channels=6)
    vgg16.load_into(plain, weights)
    vgg16.load_into(wider, weights)
    more = np.random.default_rng(1).normal(0, 99, (2, 32, 48, 3)).astype(np.float32)
    found = np.asarray(wider(np.concatenate([PICTURES, more], axis=-1)))
    assert found == pytest.approx(np.asarray(plain(PICTURES)), rel=1e-4, abs=1e-4)


def test_frozen_or_trainable(weights):
    model = first_blocks(2)
    vgg16.load_into(model, weights, trainable=False)
    assert not model.trainable_weights
    vgg16.load_into(model, weights)
    assert len(model.trainable_weights) == 8


def test_a_network_without_its_layers(weights):
    image = keras.Input((8, 8, 3))
    other = keras.Model(image, keras.layers.Conv2D(4, 3)(image), name="other")
    assert not vgg16.uses_vgg16(other) and vgg16.uses_vgg16(first_blocks(1))
    with pytest.raises(ValueError, match="other"):
        vgg16.load_into(other, weights)


def test_weights_from_a_file(weights, tmp_path):
    np.savez(tmp_path / "vgg16.npz", other=1, **weights)
    found = vgg16.conv_weights(str(tmp_path / "vgg16.npz"))
    assert found.keys() == weights.keys()
    assert all(np.array_equal(found[name], weights[name]) for name in weights)


def test_weights_from_keras(theirs, weights, monkeypatch):
    monkeypatch.setattr(keras.applications, "VGG16", lambda include_top, weights: theirs)
    found = vgg16.conv_weights()
    assert all(np.array_equal(found[name], weights[name]) for name in weights)


def test_a_download_that_fails(monkeypatch):
    def fail(**_):
        raise Exception("URL fetch failure on https://a/b.h5:\nno route")

    monkeypatch.setattr(keras.applications, "VGG16", fail)
    with pytest.raises(UserError, match=r"VGG16.*https://a/b\.h5.*\.npz") as error:
        vgg16.conv_weights()
    assert "\n" not in str(error.value)


def test_files_that_are_not_it(weights, tmp_path):
    np.savez(tmp_path / "good.npz", **{"block1_conv1/kernel": weights["block1_conv1/kernel"]})
    whole = (tmp_path / "good.npz").read_bytes()
    (tmp_path / "half.npz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.npz").write_text("not weights")
    np.save(tmp_path / "array.npy", np.zeros(3))
    np.savez(tmp_path / "shape.npz", **(weights | {"block2_conv1/bias": np.zeros(64)}))
    for name, named in {
        "gone.npz": "",
        "half.npz": "",
        "text.npz": "",
        "array.npy": "",
        "good.npz": r" .*block1_conv1/bias.*\(64,\)",
        "shape.npz": r" .*block2_conv1/bias.*\(64,\).*\(128,\)",
    }.items():
        with pytest.raises(UserError, match=f"{name}{named}") as error:
            vgg16.conv_weights(str(tmp_path / name))
        assert "\n" not in str(error.value)


def test_a_network_starts_from_a_file(weights, tmp_path):
    np.savez(tmp_path / "vgg16.npz", **weights)
    model = build("cnn_resnet", (32, 32))
    start(model, str(tmp_path / "vgg16.npz"), np.zeros((1, 32, 32, 3), np.uint8))
    for name in ("block1_conv1", "block3_conv3"):
        kernel, bias = model.get_layer(name).get_weights()
        assert np.array_equal(kernel, weights[f"{name}/kernel"])
        assert np.array_equal(bias, weights[f"{name}/bias"])


def test_the_real_weights_tell_texture_from_nothing(portrait_data):
    path = portrait_data / "vgg16" / "vgg16_notop.npz"
    if not path.is_file():
        pytest.skip("no VGG16 weights")
    kernel = vgg16.conv_weights(str(path))["block1_conv1/kernel"]
    # The first filters are edge and colour detectors: some sum to about nothing, none is noise.
    contrast = np.abs(kernel.sum(axis=(0, 1))).max(axis=0) / np.abs(kernel).sum(axis=(0, 1, 2))
    assert contrast.min() < 0.02
