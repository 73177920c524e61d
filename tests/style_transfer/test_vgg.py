"""Tests the extractor layer by layer against `keras.applications.VGG16`."""

import keras
import numpy as np
import pytest
from style_networks import picture, random_vgg

from portrait.errors import UserError
from portrait.models import vgg16
from portrait.style_transfer.vgg import extractor


def test_every_layer_equals_keras_applications():
    reference = keras.applications.VGG16(include_top=False, weights=None)
    weights = random_vgg()
    for layer in vgg16.LAYERS:
        arrays = [weights[f"{layer}/kernel"], weights[f"{layer}/bias"]]
        reference.get_layer(layer).set_weights(arrays)
    outputs = [reference.get_layer(layer).output for layer in vgg16.LAYERS]
    image = picture(48, 64)[None].astype(np.float32)
    prepared = keras.applications.vgg16.preprocess_input(image.copy())
    expected = keras.Model(reference.input, outputs)(prepared)
    found = extractor(vgg16.LAYERS, weights)(image)
    for layer, activations in zip(vgg16.LAYERS, expected, strict=True):
        activations = np.asarray(activations)
        # Float32 sums of up to 4608 products; both run the same convolutions.
        np.testing.assert_allclose(
            np.asarray(found[layer]), activations, rtol=1e-4, atol=1e-5 * activations.max()
        )


def test_ends_at_the_deepest_wanted_layer_and_cannot_be_trained():
    model = extractor(["block2_conv1", "block1_conv2"], random_vgg())
    assert list(model(picture(16, 16)[None].astype(np.float32))) == ["block2_conv1", "block1_conv2"]
    assert {layer.name for layer in model.layers} & set(vgg16.LAYERS) == {
        "block1_conv1",
        "block1_conv2",
        "block2_conv1",
    }
    assert not model.trainable_variables


def test_names_an_unknown_layer():
    with pytest.raises(UserError, match="block6_conv1"):
        extractor(["block6_conv1"], random_vgg())
