"""Tests the ensemble: its start from the weights of its two networks."""

import keras
import numpy as np
import pytest

from portrait.errors import UserError
from portrait.models import ensemble, selfie_net
from portrait.models.build import build
from portrait.models.registry import split_name
from portrait.models.start.start import start

SHAPE = (64, 96)
NAMES = ("lite_unet", "selfie_net_big")


def logits(model, images):
    """The logit of the alpha, which does not saturate."""
    head = model.get_layer("output")
    x = np.asarray(keras.Model(model.input, head.input)(images))
    kernel, bias = head.get_weights()
    # A transposed convolution whose kernel is as large as its stride: each pixel makes 2x2.
    blocks = np.einsum("nhwc,ijoc->nhiwjo", x, kernel) + bias
    return blocks.reshape(len(x), 2 * x.shape[1], 2 * x.shape[2])


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(1).uniform(0, 255, (2, *SHAPE, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def members(tmp_path_factory, images):
    """Two networks with random weights and statistics, and the folder of their files."""
    folder = tmp_path_factory.mktemp("members")
    numbers = np.random.default_rng(0)
    networks = []
    for name in NAMES:
        network = build(split_name(name)[0], SHAPE, split_name(name)[1])
        network.set_weights(
            [
                each + numbers.uniform(0, 0.2, each.shape).astype(np.float32)
                for each in network.get_weights()
            ]
        )
        # The addition above has changed the kernel that normalises.
        fixed = build(split_name(name)[0], SHAPE, split_name(name)[1]).get_layer("normalize")
        network.get_layer("normalize").set_weights(fixed.get_weights())
        # Logits of both signs, below and above the limit.
        head = network.get_layer("output")
        found = logits(network, images)
        factor = (
            2 * max(ensemble.LIMITS) / min(found.max() - found.mean(), found.mean() - found.min())
        )
        kernel, bias = head.get_weights()
        head.set_weights([factor * kernel, factor * (bias - found.mean())])
        network.save_weights(folder / f"{name}.weights.h5")
        networks.append(network)
    return networks, folder


@pytest.fixture(scope="module")
def started(members):
    model = build("ensemble", SHAPE)
    start(model, str(members[1]), np.zeros((1, *SHAPE, 3), np.uint8))
    return model


def test_logits_are_the_mean_of_the_limited_ones_of_the_members(members, started, images):
    unet, selfie = (logits(network, images) for network in members[0])
    assert np.abs(unet - selfie).max() > 0.1
    for each, limit in ((unet, 16), (selfie, 6)):
        assert each.max() > limit and each.min() < -limit and (abs(each) < limit).mean() > 0.1
    mean = (unet.clip(-16, 16) + selfie.clip(-6, 6)) / 2
    alpha = np.asarray(started(images)["output"])[..., 0]
    assert alpha == pytest.approx(1 / (1 + np.exp(-mean)), abs=1e-4)


def test_the_band_is_that_of_the_unet(members, started, images):
    band = np.asarray(started(images)["boundary_attention"])
    assert band == pytest.approx(np.asarray(members[0][0](images)["boundary_attention"]), abs=1e-4)


def test_the_second_normalisation_gives_the_pixels_of_selfie_net(images):
    model = build("ensemble", SHAPE)
    layer = model.get_layer(f"{ensemble.PREFIX}normalize")
    pixels = np.asarray(keras.Model(model.input, layer.output)(images))
    assert pixels == pytest.approx((images - selfie_net.MEAN) / selfie_net.STD, abs=1e-5)
    assert not layer.trainable


def test_without_weights_it_starts_from_imagenet():
    model, unet = build("ensemble", SHAPE), build("lite_unet", SHAPE)
    for network in (model, unet):
        start(network, "", np.zeros((1, *SHAPE, 3), np.uint8))
    for name in ("stem", "stage1_block1_project", "stage6_block4_depthwise"):
        ours, theirs = (network.get_layer(name).get_weights()[0] for network in (model, unet))
        assert np.array_equal(ours, theirs)


@pytest.mark.parametrize("missing", NAMES)
def test_a_missing_file_is_named(members, tmp_path, missing):
    for name in NAMES:
        if name != missing:
            (tmp_path / f"{name}.weights.h5").symlink_to(members[1] / f"{name}.weights.h5")
    with pytest.raises(UserError, match=f"{missing}.weights.h5"):
        start(build("ensemble", SHAPE), str(tmp_path), np.zeros((1, *SHAPE, 3), np.uint8))


def test_the_files_of_the_members_are_not_mixed_up(members, tmp_path):
    for name, other in zip(NAMES, reversed(NAMES), strict=True):
        (tmp_path / f"{name}.weights.h5").symlink_to(members[1] / f"{other}.weights.h5")
    with pytest.raises(UserError, match="does not contain the weights of lite_unet"):
        start(build("ensemble", SHAPE), str(tmp_path), np.zeros((1, *SHAPE, 3), np.uint8))
