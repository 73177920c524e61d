"""Tests the conversion and the loading of EfficientNet-Lite0's weights."""

import cv2
import keras
import numpy as np
import pytest
from scipy.signal import correlate2d
from skimage import data

from portrait.errors import UserError
from portrait.models.build import build
from portrait.models.start import efficientnet_lite0, make_efficientnet_lite0

# The first six stages of EfficientNet-B0 as its paper has them (1905.11946, table 1): how many
# blocks, kernel, expansion, channels in and out.
STAGES = [
    *((1, 3, 1, 32, 16), (2, 3, 6, 16, 24), (2, 5, 6, 24, 40)),
    *((3, 3, 6, 40, 80), (3, 5, 6, 80, 112), (4, 5, 6, 112, 192)),
]
NO_PICTURES = np.zeros((0, 64, 64, 3), np.uint8)


@pytest.fixture(scope="module")
def state():
    """A PyTorch state dict of EfficientNet-Lite0 with random numbers."""
    rng = np.random.default_rng(0)
    arrays = {}

    def layer(conv: str, norm: str, *shape: int):
        arrays[f"{conv}.weight"] = rng.normal(size=shape).astype(np.float32)
        for part in ("weight", "bias", "running_mean", "running_var"):
            arrays[f"{norm}.{part}"] = rng.uniform(0.5, 2, shape[0]).astype(np.float32)
        arrays[f"{norm}.num_batches_tracked"] = np.int64(7)

    layer("_conv_stem", "_bn0", 32, 3, 3, 3)
    number = 0
    for count, kernel, expansion, inputs, filters in STAGES:
        for _ in range(count):
            block, inner = f"_blocks.{number}.", inputs * expansion
            if expansion > 1:
                layer(f"{block}_expand_conv", f"{block}_bn0", inner, inputs, 1, 1)
            layer(f"{block}_depthwise_conv", f"{block}_bn1", inner, 1, kernel, kernel)
            layer(f"{block}_project_conv", f"{block}_bn2", filters, inner, 1, 1)
            number, inputs = number + 1, filters
    layer("_blocks.15._project_conv", "_blocks.15._bn2", 320, 1152, 1, 1)
    arrays["_fc.bias"] = np.zeros(1000, np.float32)
    return arrays


@pytest.fixture(scope="module")
def arrays(state):
    return make_efficientnet_lite0.convert(state)


@pytest.fixture(scope="module")
def started(arrays, tmp_path_factory):
    """The big network, filled from a converted file."""
    path = tmp_path_factory.mktemp("weights") / "converted.npz"
    np.savez(path, **arrays)
    model = build("lite_unet", (64, 64))
    efficientnet_lite0.start(model, path, NO_PICTURES)
    return model


def places(state, conv: str, pictures: np.ndarray, filter_: int) -> np.ndarray:
    """Computes a filter of a PyTorch convolution on pictures (C, H, W), "valid"."""
    kernel = state[f"{conv}.weight"][filter_]
    pairs = zip(pictures, kernel, strict=True)
    return sum(correlate2d(picture, weights, "valid") for picture, weights in pairs)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("stem", "_conv_stem"),
        ("stage2_block2_expand", "_blocks.2._expand_conv"),
        ("stage6_block4_project", "_blocks.14._project_conv"),
    ],
)
def test_convolutions_do_what_they_did_in_pytorch(state, started, ours, theirs):
    layer = started.get_layer(ours)
    kernel = keras.ops.convert_to_tensor(layer.kernel)
    picture = np.random.default_rng(1).normal(size=(9, 8, kernel.shape[2])).astype(np.float32)
    found = np.asarray(keras.ops.conv(picture[None], kernel, padding="valid"))[0, ..., 5]
    wanted = places(state, theirs, picture.transpose(2, 0, 1), 5)
    # A float16 is within 2^-11 of its number.
    assert np.abs(found - wanted).max() < 2**-11 * 10 * np.sqrt(np.prod(kernel.shape[:3]))


def test_depthwise_convolutions_do_what_they_did_in_pytorch(state, started):
    kernel = keras.ops.convert_to_tensor(started.get_layer("stage5_block1_depthwise").kernel)
    picture = np.random.default_rng(1).normal(size=(9, 8, kernel.shape[2])).astype(np.float32)
    found = np.asarray(keras.ops.depthwise_conv(picture[None], kernel, padding="valid"))[0, ..., 5]
    wanted = places(state, "_blocks.8._depthwise_conv", picture[None, ..., 5], 5)
    assert np.abs(found - wanted).max() < 2**-11 * 10 * 5


def test_normalizations_do_what_they_did_in_pytorch(state, started):
    x = np.random.default_rng(1).normal(size=(6, 144)).astype(np.float32)
    gamma, beta, mean, variance = (
        state[f"_blocks.2._bn1.{part}"]
        for part in ("weight", "bias", "running_mean", "running_var")
    )
    wanted = (x - mean) / np.sqrt(variance + 1e-3) * gamma + beta
    layer = started.get_layer("stage2_block2_depthwise_norm")
    found = np.asarray(layer(x[:, None, None], training=False))[:, 0, 0]
    assert np.abs(found - wanted).max() < 0.02


def test_only_the_layers_of_lite_unet_are_converted(arrays, started):
    assert all(array.dtype == np.float16 for array in arrays.values())
    layers = {layer.name for layer in started.layers}
    assert {name.partition("/")[0] for name in arrays} <= layers


def test_a_state_dict_of_another_network(state):
    others = {name: array for name, array in state.items() if name != "_blocks.7._bn1.bias"}
    with pytest.raises(UserError, match=r"_blocks\.7\._bn1\.bias"):
        make_efficientnet_lite0.convert(others)


def test_the_shipped_statistics_fit_photographs():
    """Each normalization sees about the means and variances that it has learnt on ImageNet."""
    model = build("lite_unet", (224, 224))
    efficientnet_lite0.start(model, None, NO_PICTURES)
    norms = [layer for layer in model.layers if layer.name.startswith(("stem", "stage"))]
    norms = [layer for layer in norms if layer.name.endswith("_norm")]
    photos = [data.chelsea(), data.astronaut(), data.coffee()]
    squares = [cv2.resize(photo, (224, 224), interpolation=cv2.INTER_AREA) for photo in photos]
    inputs = keras.Model(model.input, [layer.input for layer in norms])
    for layer, maps in zip(norms, inputs(np.float32(squares), training=False), strict=True):
        seen, learnt = np.asarray(maps), np.asarray(layer.moving_variance)
        live = learnt > layer.epsilon
        away = np.abs(seen.mean((0, 1, 2)) - np.asarray(layer.moving_mean))
        assert np.median(away[live] / np.sqrt(learnt[live])) < 0.5, layer.name
        spread = np.log(seen.var((0, 1, 2))[live] + 1e-9)
        assert np.corrcoef(spread, np.log(learnt[live]))[0, 1] > 0.25, layer.name


def test_other_files(tmp_path, arrays):
    model = build("lite_unet", (64, 64))
    before = model.get_weights()

    def refused(name: str, match: str):
        with pytest.raises(UserError, match=match) as caught:
            efficientnet_lite0.start(model, tmp_path / name, NO_PICTURES)
        assert "\n" not in str(caught.value)

    refused("gone.npz", r"gone\.npz")
    (tmp_path / "text.npz").write_text("no archive")
    refused("text.npz", r"text\.npz")
    refused("big.weights.h5", r"big\.weights\.h5")
    name = "stage6_block4_project_norm/beta"
    np.savez(tmp_path / "short.npz", **{key: each for key, each in arrays.items() if key != name})
    refused("short.npz", rf"short\.npz.*{name}")
    np.savez(tmp_path / "other.npz", **{**arrays, name: arrays[name][:7]})
    refused("other.npz", rf"other\.npz.*{name}.*\(7,\).*\(192,\)")
    np.savez(tmp_path / "pickled.npz", **{**arrays, name: np.array([{}])})
    refused("pickled.npz", r"pickled\.npz")
    np.savez(tmp_path / "words.npz", **{**arrays, name: np.full(192, "word")})
    refused("words.npz", rf"words\.npz.*{name}")
    assert all(map(np.array_equal, before, model.get_weights()))
