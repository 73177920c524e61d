"""A wide network that gives what a narrow one gives, and learns with all that it has."""

import keras
import numpy as np
import pytest
from tiny_portraits import draw

from portrait import losses
from portrait.errors import UserError
from portrait.models.build import build
from portrait.models.start import mediapipe
from portrait.models.start.start import start

SHAPE = (64, 32)


@pytest.fixture(scope="module")
def narrow() -> keras.Model:
    keras.utils.set_random_seed(0)
    return build("selfie_net", SHAPE, "small")


@pytest.fixture
def wide() -> keras.Model:
    keras.utils.set_random_seed(1)
    return build("selfie_net", SHAPE, "big")


def test_the_same_from_more_channels(narrow, wide):
    images = draw(2, SHAPE)[0].astype(np.float32)
    before = wide(images, training=False)
    mediapipe.widen(narrow, wide)
    assert wide.count_params() > 2 * narrow.count_params()
    for name, expected in narrow(images, training=False).items():
        found = np.asarray(wide(images, training=False)[name])
        assert np.abs(np.asarray(before[name]) - found).max() > 1e-3
        # Sums with zeros among them, in another order.
        assert found == pytest.approx(np.asarray(expected), abs=1e-6)


def test_new_channels_learn(narrow, wide):
    mediapipe.widen(narrow, wide)
    names = ("block5_expand", "block5_squeeze", "block5_depthwise", "block5_project")
    before = {name: wide.get_layer(name).get_weights()[0] for name in names}
    wide.compile(
        keras.optimizers.Adam(1e-3),
        loss=losses.training_losses(),
        loss_weights=losses.OUTPUT_WEIGHTS,
        run_eagerly=True,
        jit_compile=False,
    )
    images, mattes = draw(4, SHAPE)
    matte = mattes[..., None] / np.float32(255)
    targets = {"output": matte, "boundary_attention": matte}
    for _ in range(3):  # at first nothing takes anything from them
        wide.train_on_batch(images.astype(np.float32), targets)
    for name, old in before.items():
        new = wide.get_layer(name).get_weights()[0]
        old_channels = narrow.get_layer(name).kernel.shape[2]
        assert np.abs(new - old)[:, :, old_channels:].max() > 1e-4, name


def test_the_big_one_starts_from_weights_of_the_small_one(narrow, wide, tmp_path):
    images = draw(2, SHAPE)[0]
    narrow.save_weights(tmp_path / "small.weights.h5")
    start(wide, images, selfie_weights=tmp_path / "small.weights.h5")
    expected = np.asarray(narrow(images.astype(np.float32), training=False)["output"])
    found = np.asarray(wide(images.astype(np.float32), training=False)["output"])
    assert found == pytest.approx(expected, abs=1e-6)
    wide.save_weights(tmp_path / "big.weights.h5")
    deep = build("selfie_net", SHAPE, "deep")
    start(deep, images, selfie_weights=tmp_path / "big.weights.h5")
    found = np.asarray(deep(images.astype(np.float32), training=False)["output"])
    assert found == pytest.approx(expected, abs=1e-6)
    assert deep.count_params() > 1.8 * wide.count_params()
    with pytest.raises(UserError, match="does not hold the weights of selfie_net_small"):
        start(wide, images, selfie_weights=tmp_path / "big.weights.h5")
