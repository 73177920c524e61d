"""Tests that the notebook's feature maps are those of the network."""

import keras
import numpy as np
import pytest
import tiny_network

from portrait.evaluation.feature_maps import feature_maps
from portrait.models.build import build


@pytest.fixture(scope="module")
def image():
    return tiny_network.pictures(1)[0].astype(np.float32)


def test_the_last_features_of_each_size(image):
    model = tiny_network.build()
    half, full = feature_maps(model, image, count=5)
    assert (half.layer, half.channels, full.layer, full.channels) == (
        "separable",
        80,
        "concatenate",
        9,
    )
    assert half.maps.shape == (5, 24, 16) and full.maps.shape == (5, 48, 32)


def test_the_maps_that_vary_most_stretched(image):
    model = tiny_network.build()
    stage = feature_maps(model, image, count=5)[0]
    layer = keras.Model(model.input, model.get_layer(stage.layer).output)
    features = np.asarray(layer(image[None]))[0].reshape(-1, stage.channels)
    chosen = sorted(range(stage.channels), key=lambda c: features[:, c].std())[-5:]
    for shown, channel in zip(stage.maps, sorted(chosen), strict=True):
        values = features[:, channel]
        expected = (values - values.min()) / np.ptp(values)
        assert shown.ravel() == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("name", ["mattingnet", "fast_scnn"])
def test_networks_show_features_from_fine_to_coarse(name):
    image = np.random.default_rng(0).uniform(0, 255, (64, 64, 3)).astype(np.float32)
    stages = feature_maps(build(name, (64, 64)), image, count=2)
    sizes = {stage.maps.shape[1] for stage in stages}
    assert max(sizes) == 64 and min(sizes) in (2, 4) and len(sizes) == len(stages)
