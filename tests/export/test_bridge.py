"""Tests that networks have the same alphas in tf_keras, and after the way back."""

import keras
import numpy as np
import pytest
import tf_keras
import tiny_network

from portrait.errors import UserError
from portrait.export.compress import bridge
from portrait.models import vgg16
from portrait.models.build import build, for_inference
from portrait.models.registry import SPECS, full_name

# The last size of each network has every kind of layer of the other sizes.
NETWORKS = [
    pytest.param(
        (spec.name, size),
        id=full_name(spec.name, size),
        marks=() if size in ("", *spec.sizes[-1:]) else pytest.mark.slow,
    )
    for spec in SPECS.values()
    for size in spec.sizes or ("",)
    if spec.builder and not spec.unexportable and not spec.takes_alpha
]


def all_sorts(x):
    """A network of layers or options that no network of the project uses."""
    layers = keras.layers
    x = layers.SeparableConv2D(
        9, 3, padding="same", depth_multiplier=2, use_bias=False, activation="hard_silu"
    )(x)
    x = layers.BatchNormalization(scale=False)(layers.ReLU(4.0, negative_slope=0.1)(x))
    whole = layers.GlobalAveragePooling2D(keepdims=True)(x)
    x = layers.Multiply()([x, layers.Activation("hard_sigmoid")(whole)])
    x = layers.Cropping2D(((1, 0), (2, 1)))(layers.ZeroPadding2D(((0, 1), (1, 2)))(x))
    return layers.Conv2D(8, 3, padding="same", groups=1, dilation_rate=2)(x)


@pytest.fixture(scope="module", params=[pytest.param((), id="tiny"), *NETWORKS])
def pair(request):
    """A network whose weights all differ from initial values, and its copy in tf_keras."""
    if request.param:
        name, *size = filter(None, request.param)
        model = build(name, (32, 32), *size)
    else:
        model = tiny_network.build(tail=all_sorts)
    random = np.random.default_rng(0)
    for layer in model.layers:
        weights = layer.get_weights()
        layer.set_weights(
            [np.where(w, w, 1e-3) * random.uniform(0.5, 1.5, w.shape) for w in weights]
        )
    return model, bridge.twin(model)


def compare(network, wanted, batch, tolerance):
    for name, found in zip(
        ("output", "boundary_attention"), network(batch, training=False), strict=True
    ):
        assert np.std(found) > 0
        np.testing.assert_allclose(found, wanted[name], rtol=0, atol=tolerance)


def test_outputs_are_equal(pair):
    model, network = pair
    batch = tiny_network.pictures(2, model.input_shape[1:3]).astype(np.float32)
    if vgg16.uses_vgg16(model):  # it has no normalisation, and saturates with initial weights
        batch = 118 + (batch - 128) / 64
    wanted = model(batch, training=False)
    compare(network, wanted, batch, 1e-4)
    # The remaining difference is the rounding of tf_keras's batch normalisation.
    for layer in network.layers:
        if isinstance(layer, tf_keras.layers.BatchNormalization):
            layer.fused = False
    compare(network, wanted, batch, 1e-6)


def test_there_and_back(pair):
    model, network = pair
    before = model.get_weights()
    model.set_weights([np.ones_like(each) for each in before])
    bridge.take_weights(model, network)
    for mine, its in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(its, mine)


def test_absorbing_changes_no_output():
    network = bridge.twin(tiny_network.build(tail=all_sorts))
    batch = tiny_network.pictures(2).astype(np.float32)
    before = network(batch, training=False)
    bridge.absorb_batch_norms(network)
    for mine, its in zip(before, network(batch, training=False), strict=True):
        np.testing.assert_allclose(its, mine, atol=1e-5)
    # The normalisation only adds.
    x = np.random.default_rng(0).normal(size=(1, 2, 2, 32)).astype(np.float32)
    added = network.get_layer("norm")(x, training=False).numpy() - x
    assert np.abs(added).max() > 0.1
    np.testing.assert_allclose(added, np.broadcast_to(added[:, :1, :1], x.shape), atol=1e-5)


def test_layers_keep_their_names_and_what_is_frozen():
    network = bridge.twin(tiny_network.build())
    assert {"normalize", "stem", "separable.depthwise", "output"} <= {
        layer.name for layer in network.layers
    }
    assert not network.get_layer("normalize").trainable
    assert network.get_layer("stem").trainable


def test_it_is_the_same_after_the_layers_were_used_for_rgba():
    model = tiny_network.build()
    for_inference(model, 4)
    batch = tiny_network.pictures(2).astype(np.float32)
    compare(bridge.twin(model), model(batch, training=False), batch, 1e-5)


@keras.saving.register_keras_serializable("test")
class Own(keras.layers.Layer):
    def call(self, x):
        return 2 * x


def test_layers_that_cannot_be_rebuilt_are_named():
    shared = keras.layers.Conv2D(9, 1, name="shared")
    tails = {
        "mine": Own(name="mine"),
        "shared": lambda x: shared(shared(x)),
        "multiply": lambda x: x * 2,
        "layer_norm": keras.layers.LayerNormalization(name="layer_norm"),
        "inner": keras.Sequential([keras.layers.Conv2D(9, 1)], name="inner"),
    }
    for name, tail in tails.items():
        with pytest.raises(UserError, match=rf"\b{name}"):
            bridge.twin(tiny_network.build(tail=tail))
    with pytest.raises(UserError, match="face_frame"):
        bridge.twin(build("portrait_fcn_plus", (32, 32)))
