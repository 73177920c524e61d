"""Tests size, range, learning and files of networks without their own test file."""

import os
import subprocess
import sys
import warnings
from importlib.util import find_spec

import keras
import numpy as np
import pytest
from project import ROOT
from tiny_portraits import draw

from portrait import losses
from portrait.errors import UserError
from portrait.models.build import build, for_inference
from portrait.models.layers import MEAN, STD
from portrait.models.registry import split_name
from portrait.models.weights import load_weights

# Name, size, parameters that train, and that do not: the 12 of `normalize`, and the moving mean
# and variance of each channel that is batch-normalised. The ensemble normalises twice.
NETWORKS = {
    "mattingnet_big": ("mattingnet", "big", 926_838, 12),
    "mattingnet_small": ("mattingnet", "small", 260_066, 12),
    "fast_scnn": ("fast_scnn", "big", 1_137_584, 12 + 2 * 11_855),
    "fast_scnn_skips": ("fast_scnn_skips", "big", 1_144_642, 12 + 2 * 12_064),
    "lite_unet": ("lite_unet", "big", 2_421_362, 12 + 2 * 17_936),
    "ensemble": ("ensemble", "big", 2_706_982, 2 * 12 + 2 * (17_936 + 3_144)),
    "selfie_net_big": ("selfie_net", "big", 285_522, 12 + 2 * 3_144),
    "selfie_net_deep": ("selfie_net", "deep", 541_338, 12 + 2 * 4_728),
    "selfie_net_small": ("selfie_net", "small", 108_394, 12 + 2 * 1_976),
}
# Other sizes, or additions, of networks that the quick tests train.
_SLOW = ("fast_scnn_skips", "ensemble", "selfie_net_deep", "selfie_net_small")
SHAPE = (64, 32)


def predict(model, images):
    return {name: np.asarray(value) for name, value in model(images, training=False).items()}


@pytest.fixture(
    scope="module",
    params=[pytest.param(key, marks=[pytest.mark.slow] * (key in _SLOW)) for key in NETWORKS],
)
def trained(request):
    """A network after three steps on one batch, the batch, and the logs of each step."""
    name, size, *_ = NETWORKS[request.param]
    keras.utils.set_random_seed(0)
    model = build(name, SHAPE, size)
    model.compile(
        keras.optimizers.Adam(1e-3),
        loss=losses.training_losses(),
        loss_weights=losses.OUTPUT_WEIGHTS,
        run_eagerly=True,  # tracing takes longer than three steps
        jit_compile=False,
    )
    images, mattes = draw(4, SHAPE)
    images = images.astype(np.float32)
    matte = mattes[..., None] / np.float32(255)
    targets = {"output": matte, "boundary_attention": np.float32((matte > 0) & (matte < 1))}
    logs = []
    for _ in range(3):
        model.reset_metrics()
        logs.append(model.train_on_batch(images, targets, return_dict=True))
    return request.param, model, images, logs


def test_parameters(trained):
    key, model, _, _ = trained
    _, _, training, fixed = NETWORKS[key]
    assert sum(np.prod(each.shape) for each in model.trainable_weights) == training
    assert sum(np.prod(each.shape) for each in model.non_trainable_weights) == fixed
    assert model.count_params() == training + fixed
    assert model.name == key


def test_two_maps_from_raw_pictures_of_another_size_too(trained):
    key, model, images, _ = trained
    name, size, *_ = NETWORKS[key]
    larger = build(name, (96, 128), size)
    larger.set_weights(model.get_weights())
    noise = np.random.default_rng(0).uniform(0, 255, (1, 96, 128, 3)).astype(np.float32)
    for network, batch in ((model, images), (larger, noise)):
        outputs = predict(network, batch)
        assert list(outputs) == ["output", "boundary_attention"]
        for alpha in outputs.values():
            assert (alpha.shape, alpha.dtype) == ((*batch.shape[:3], 1), np.float32)
            assert alpha.min() >= 0 and alpha.max() <= 1 and alpha.std() > 0


def test_pictures_are_normalised_inside(trained):
    key, model, images, _ = trained
    others = {"lite_unet": (127, 128), "ensemble": (127, 128), "selfie_net": (0, 255)}
    mean, std = others.get(NETWORKS[key][0], (MEAN, STD))
    layer = model.get_layer("normalize")
    # Numbers of about 2, made from numbers of about 4 in float32: a few units of 2^-22.
    assert np.asarray(layer(images)) == pytest.approx((images - mean) / std, abs=2e-6)
    assert not layer.trainable


def test_steps_lower_the_loss(trained):
    _, _, _, logs = trained
    assert logs[2]["loss"] < logs[1]["loss"] < logs[0]["loss"]
    for log in logs:
        parts = [weight * log[f"{name}_loss"] for name, weight in losses.OUTPUT_WEIGHTS.items()]
        assert log["loss"] == pytest.approx(sum(parts), rel=1e-5)


def test_saved_and_loaded_it_predicts_the_same(trained, tmp_path):
    key, model, images, _ = trained
    name, size, *_ = NETWORKS[key]
    model.save_weights(tmp_path / "a.weights.h5")
    keras.utils.set_random_seed(1)
    fresh = build(name, SHAPE, size)
    before = predict(model, images)
    assert np.abs(predict(fresh, images)["output"] - before["output"]).max() > 1e-3
    load_weights(fresh, tmp_path / "a.weights.h5")
    for output, values in predict(fresh, images).items():
        assert np.array_equal(values, before[output])


def test_archived_and_loaded_it_predicts_the_same(tmp_path):
    """An archive holds the project's own layers and losses."""
    model = build("fast_scnn", SHAPE)
    model.compile("sgd", losses.training_losses(), losses.OUTPUT_WEIGHTS)
    model.optimizer.build(model.trainable_variables)
    model.save(tmp_path / "a.keras")
    archived = keras.models.load_model(tmp_path / "a.keras")
    assert isinstance(archived.loss["output"], losses.MatteLoss)
    images = draw(2, SHAPE)[0].astype(np.float32)
    before = predict(model, images)
    for output, values in predict(archived, images).items():
        assert np.array_equal(values, before[output])


@pytest.mark.parametrize("channels", [3, 4])
def test_for_inference(trained, channels):
    _, model, images, _ = trained
    network = for_inference(model, channels)
    assert network.input_shape == (None, *SHAPE, channels)
    assert network.output_shape == (None, *SHAPE, 1)
    alpha_channel = np.random.default_rng(0).uniform(0, 255, (*images.shape[:3], 1))
    pictures = np.concatenate([images, alpha_channel.astype(np.float32)], axis=-1)[..., :channels]
    # The fourth column of the first convolution may order its sum anew.
    alpha = np.asarray(network(pictures, training=False))
    assert alpha == pytest.approx(predict(model, images)["output"], abs=1e-5)


def test_what_is_asked_for_wrongly():
    with pytest.raises(UserError, match=r"unet.*mattingnet, fast_scnn"):
        build("unet", SHAPE)
    with pytest.raises(ValueError, match="not 1"):
        for_inference(build("mattingnet", SHAPE, "small"), channels=1)


def test_weights_of_older_keras_and_wrong_files(tmp_path):
    small = build("mattingnet", SHAPE, "small")
    small.save(tmp_path / "old.h5")
    fresh = build("mattingnet", SHAPE, "small")
    load_weights(fresh, tmp_path / "old.h5")
    for ours, theirs in zip(fresh.get_weights(), small.get_weights(), strict=True):
        assert np.array_equal(ours, theirs)
    with pytest.raises(UserError, match=r"gone\.h5"):
        load_weights(small, tmp_path / "gone.h5")
    small.save_weights(tmp_path / "small.weights.h5")
    whole = (tmp_path / "small.weights.h5").read_bytes()
    (tmp_path / "half.weights.h5").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.weights.h5").write_text("not weights")
    (tmp_path / "empty.h5").touch()
    (tmp_path / "weights.bin").write_bytes(whole)
    (tmp_path / "new_as_old.h5").write_bytes(whole)
    big = build("mattingnet", SHAPE, "big")
    cases = {"small.weights.h5": big, "old.h5": big, "half.weights.h5": small, "empty.h5": small}
    cases |= {"text.weights.h5": small, "weights.bin": small, "new_as_old.h5": small}
    for name, model in cases.items():
        with (
            warnings.catch_warnings(action="error"),
            pytest.raises(UserError, match="mattingnet") as error,
        ):
            load_weights(model, tmp_path / name)
        assert "\n" not in str(error.value)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_other_backends_predict_the_same_and_train(backend, tmp_path):
    if find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    images, mattes = (each.astype(np.float32) for each in draw(2, SHAPE))
    np.save(tmp_path / "images.npy", images)
    np.save(tmp_path / "matte.npy", mattes[..., None] / 255)
    expected = {}
    for name, size, *_ in NETWORKS.values():
        model = build(name, SHAPE, size)
        model.save_weights(tmp_path / f"{model.name}.weights.h5")
        expected[model.name] = predict(model, images)
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    env = os.environ | {"KERAS_BACKEND": backend, "PYTHONPATH": os.pathsep.join(paths)}
    script = ROOT / "tests" / "helpers" / "three_steps.py"
    networks = [f"{name}:{size}" for name, size, *_ in NETWORKS.values()]
    subprocess.run([sys.executable, script, tmp_path, *networks], env=env, check=True)
    for name, outputs in expected.items():
        with np.load(tmp_path / f"{name}.npz") as found:
            assert found["steps"][2] < found["steps"][0]
            for output, values in outputs.items():
                # Other orders of summation, some fifty layers deep, in float32.
                assert found[output] == pytest.approx(values, abs=1e-5)


def test_a_size_that_a_network_does_not_come_in():
    with pytest.raises(UserError, match=r"--model_size=deep.*big, small"):
        build("mattingnet", SHAPE, "deep")
    assert split_name("selfie_net_deep") == ("selfie_net", "deep")
    assert split_name("mattingnet_deep") == ("mattingnet_deep", "big")
