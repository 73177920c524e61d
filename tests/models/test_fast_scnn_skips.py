"""Fast-SCNN with a decoder: it starts with the features of Fast-SCNN."""

import keras
import numpy as np
import pytest

from fast_scnn import FEATURES
from portrait.errors import UserError
from portrait.models.build import build
from portrait.models.start.start import start

SHAPE = (64, 32)
PICTURES = np.random.default_rng(0).uniform(0, 255, (2, *SHAPE, 3)).astype(np.float32)


def features(model):
    return np.asarray(keras.Model(model.input, model.get_layer(FEATURES).output)(PICTURES))


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A Fast-SCNN whose statistics are not those of a new network, and its file."""
    keras.utils.set_random_seed(1)
    network = build("fast_scnn", SHAPE)
    random = np.random.default_rng(0)
    network.set_weights([w + 0.05 * random.random(w.shape) for w in network.get_weights()])
    path = tmp_path_factory.mktemp("weights") / "001-0.1.weights.h5"
    network.save_weights(path)
    return network, path


def test_it_starts_with_the_features_of_fast_scnn(plain):
    network, path = plain
    keras.utils.set_random_seed(2)
    model = build("fast_scnn_skips", SHAPE)
    decoder = model.get_layer("output").get_weights()
    assert np.abs(features(model) - features(network)).max() > 0.01
    start(model, str(path), PICTURES)
    assert np.array_equal(features(model), features(network))
    for before, after in zip(decoder, model.get_layer("output").get_weights(), strict=True):
        assert np.array_equal(before, after)


def test_weights_of_another_network_are_refused(tmp_path):
    build("selfie_net", SHAPE, "small").save_weights(path := tmp_path / "a.weights.h5")
    with pytest.raises(UserError, match="weights"):
        start(build("fast_scnn_skips", SHAPE), str(path), PICTURES)


def test_details_of_half_size_reach_the_alpha():
    """Fast-SCNN's alpha is computed at 1/8, so that it cannot follow stripes of 4 pixels."""
    stripes = np.tile(np.repeat([0.0, 255.0], 2), SHAPE[1] // 4)
    picture = np.broadcast_to(stripes[None, None, :, None], (1, *SHAPE, 3)).astype(np.float32)
    ripple = {}
    for name in ("fast_scnn", "fast_scnn_skips"):
        keras.utils.set_random_seed(3)
        model = build(name, SHAPE)
        logits = keras.Model(model.input, model.outputs[0])(picture)
        row = np.asarray(logits)[0, 32, 8:24, 0]
        ripple[name] = np.abs(row - np.convolve(row, np.ones(8) / 8, mode="same"))[4:-4].max()
    assert ripple["fast_scnn_skips"] > 10 * ripple["fast_scnn"]
