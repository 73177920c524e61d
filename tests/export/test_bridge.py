"""A network and its twin in the older Keras: the same weights, the same alphas, there and back."""

import functools

import keras
import numpy as np
import pytest
import tiny_network

from portrait.errors import UserError
from portrait.export.compress import bridge
from portrait.models.registry import MODELS, compressible

NETWORKS = {
    "tiny": tiny_network.build,
    "mattingnet_big": functools.partial(MODELS["mattingnet"], (32, 32), size="big"),
    "mattingnet_small": functools.partial(MODELS["mattingnet"], (32, 32), size="small"),
    "fast_scnn": functools.partial(MODELS["fast_scnn"], (32, 32)),
    "lite_unet_big": functools.partial(MODELS["lite_unet"], (32, 32), size="big"),
    "lite_unet_small": functools.partial(MODELS["lite_unet"], (32, 32), size="small"),
}


@pytest.fixture(scope="module", params=NETWORKS)
def pair(request):
    """A network none of whose weights is what a fresh one has, its twin, and their builder."""
    build = NETWORKS[request.param]
    model = build()
    random = np.random.default_rng(0)
    for layer in model.layers:
        layer.set_weights([w * random.uniform(0.5, 1.5, w.shape) for w in layer.get_weights()])
    return model, bridge.twin(model, build), build


def test_weights_are_equal_layer_by_layer(pair):
    model, network, _ = pair
    ours, theirs = bridge.weights_by_layer(model), bridge.weights_by_layer(network)
    assert set(ours) == set(theirs)
    assert sum(w.size for ws in ours.values() for w in ws) == model.count_params()
    for layer in ours:
        for mine, its in zip(ours[layer], theirs[layer], strict=True):
            np.testing.assert_allclose(its, mine, rtol=0, atol=1e-6, err_msg=layer)


def test_outputs_are_equal(pair):
    model, network, _ = pair
    batch = tiny_network.pictures(2, model.input_shape[1:3]).astype(np.float32)
    wanted = model(batch, training=False)
    found = network(batch, training=False)
    for name, output in zip(("output", "boundary_attention"), found, strict=True):
        # The same sums, by another kernel where a separable convolution was split.
        np.testing.assert_allclose(output, wanted[name], atol=1e-4)


def test_absorbing_changes_no_output(pair):
    model, _, build = pair
    network = bridge.twin(model, build)
    batch = tiny_network.pictures(2, model.input_shape[1:3]).astype(np.float32)
    before = network(batch, training=False)
    bridge.absorb_batch_norms(network)
    for mine, its in zip(before, network(batch, training=False), strict=True):
        np.testing.assert_allclose(its, mine, atol=1e-4)
    for layer in network.layers:
        if "batch_norm" in layer.name:
            gamma, _, mean, variance = layer.get_weights()
            assert (gamma == 1).all() and (mean == 0).all() and len(np.unique(variance)) == 1


def test_there_and_back(pair):
    model, network, build = pair
    other = build()
    bridge.take_weights(other, network)
    for mine, its in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(its, mine)


def test_names_do_not_depend_on_what_was_built_before():
    first, second = (bridge.weights_by_layer(tiny_network.build()) for _ in range(2))
    assert list(first) == list(second)
    assert {"prelu:0", "separable:0/depthwise", "separable:0/pointwise"} <= set(first)


def test_frozen_stays_frozen():
    network = bridge.twin(tiny_network.build(), tiny_network.build)
    assert not network.get_layer("normalize").trainable
    assert network.get_layer("stem").trainable


def test_which_networks_have_a_twin():
    with_twin = {"tiny": False, "selfie_net_big": False, "refine_unet": False, "style_net": False}
    with_twin |= {name: True for name in NETWORKS if name != "tiny"}
    assert {name: compressible(name) for name in with_twin} == with_twin


def test_a_builder_for_one_keras_only():
    def build():
        return tiny_network.build()

    with pytest.raises(UserError, match="tiny cannot be compressed"):
        bridge.twin(build(), build)


def test_other_networks_are_refused():
    longer = tiny_network.build(tail=keras.layers.Conv2D(9, 1, name="more"))
    with pytest.raises(ValueError, match="lacks: more:0"):
        bridge.twin(longer, tiny_network.build)
