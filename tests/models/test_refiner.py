"""Tests the input, the size and the learning of the refiner."""

import keras
import numpy as np
import pytest

from portrait import losses
from portrait.models.build import build, for_inference


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return build("refiner", (64, 64))


def test_maps_of_the_size_of_the_tile(model):
    assert model.input_shape == (None, 64, 64, 5)
    assert 8e4 < model.count_params() < 1.5e5
    tile = np.random.default_rng(0).uniform(0, 255, (2, 64, 64, 5)).astype(np.float32)
    for each in model(tile, training=False).values():
        assert each.shape == (2, 64, 64, 1)
    alone = for_inference(model)
    assert np.asarray(alone(tile)) == pytest.approx(np.asarray(model(tile)["output"]), abs=1e-6)
    for channel in (3, 4):  # both alphas count
        changed = tile.copy()
        changed[..., channel] = 0
        assert np.abs(np.asarray(alone(tile)) - np.asarray(alone(changed))).max() > 1e-3


@pytest.mark.parametrize("trusted", [0, 1, 2])
def test_the_alpha_is_mixed_from_both_alphas_and_a_new_one(model, trusted):
    """With all trust in one map, the others do not matter."""
    trust, fine = model.get_layer("trust"), model.get_layer("fine")
    before = trust.get_weights(), fine.get_weights()
    trust.set_weights([0 * before[0][0], 50 * np.eye(3, dtype=np.float32)[trusted]])
    fine.set_weights([0 * before[1][0], np.zeros(1, np.float32)])
    tile = np.random.default_rng(1).uniform(0, 255, (1, 64, 64, 5)).astype(np.float32)
    maps = [tile[..., 3:4] / 255, tile[..., 4:] / 255, np.full((1, 64, 64, 1), 0.5)]
    assert np.asarray(for_inference(model)(tile)) == pytest.approx(maps[trusted], abs=1e-5)
    trust.set_weights(before[0])
    fine.set_weights(before[1])


def test_in_half_precision_a_trusted_alpha_stays_exact():
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        half = build("refiner", (64, 64))
    finally:
        keras.mixed_precision.set_global_policy("float32")
    trust = half.get_layer("trust")
    trust.set_weights([0 * trust.get_weights()[0], np.float32([0, 50, 0])])
    tile = np.random.default_rng(1).uniform(0, 255, (1, 64, 64, 5)).astype(np.float32)
    alpha = np.asarray(half(tile, training=False)["output"])
    assert alpha == pytest.approx(tile[..., 4:] / 255, abs=1e-5)


def test_it_is_fully_convolutional(model):
    larger = build("refiner", (96, 128))
    larger.set_weights(model.get_weights())
    assert for_inference(larger).output_shape == (None, 96, 128, 1)


def test_steps_lower_the_loss(model):
    random = np.random.default_rng(0)
    matte = (random.random((4, 8, 8, 1)) > 0.5).astype(np.float32).repeat(8, 1).repeat(8, 2)
    rough = np.full_like(matte, 128).repeat(2, axis=3)
    tile = np.concatenate([255 * matte.repeat(3, axis=3), rough], axis=3)
    model.compile(
        keras.optimizers.Adam(1e-2),
        loss=losses.training_losses("detail"),
        loss_weights=losses.output_weights(0.1),
        run_eagerly=True,  # tracing takes longer than a few steps
    )
    targets = {"output": matte, "boundary_attention": 0 * matte}
    steps = [float(model.train_on_batch(tile, targets)[0]) for _ in range(8)]
    assert steps[-1] < 0.8 * steps[0]
