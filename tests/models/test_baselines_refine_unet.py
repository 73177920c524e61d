"""Tests the receptive field of Refine U-Net, and the loss of its second stage."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest

from portrait import losses
from portrait.models.baselines import refine_unet


def seen(rates: tuple[int, ...], size: int = 21) -> np.ndarray:
    """How often each pixel (size, size) counts in the middle of `refine_unet.dilated`'s output.

    All kernels are ones; the input has one channel, and its pixels are lit one at a time.
    """
    image = keras.Input((size, size, 1))
    model = keras.Model(image, refine_unet.dilated(image, 1, rates))
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D):
            layer.kernel.assign(np.ones(layer.kernel.shape))
    impulses = np.eye(size * size, dtype=np.float32).reshape(-1, size, size, 1)
    middle = np.asarray(model(impulses, training=False))[:, size // 2, size // 2, 0]
    return middle.reshape(size, size)


def test_hybrid_dilation_sees_every_pixel_in_reach():
    counts = seen(refine_unet.HYBRID)
    assert refine_unet.HYBRID == (1, 2, 3)
    # 1 + 2 (1 + 2 + 3) = 13 pixels across, from 4 to 16 in a picture of 21.
    inside = np.zeros((21, 21), bool)
    inside[4:17, 4:17] = True
    assert np.array_equal(counts > 0, inside)


def test_equal_dilation_leaves_holes():
    counts = seen((2, 2, 2))
    # The same reach, but only every second row and column.
    grid = np.zeros((21, 21), bool)
    grid[4:17:2, 4:17:2] = True
    assert np.array_equal(counts > 0, grid)
    assert np.count_nonzero(grid) == 7 * 7


def test_the_network_uses_hybrid_dilations_in_both_stages():
    model = refine_unet.build((32, 32))
    rates = [each.dilation_rate for each in model.layers if isinstance(each, keras.layers.Conv2D)]
    dilations = [rate for rate in rates if rate > (1, 1)]
    assert dilations == [(2, 2), (3, 3)] * 2


def test_edge_cross_entropy_by_hand():
    matte = np.float32([[1, 0, 1, 0]] * 3).reshape(3, 2, 2, 1)
    alpha = np.float32([[0.5, 0.25, 0.9, 0.9]] * 3).reshape(3, 2, 2, 1)
    band = np.float32([[1, 0.5, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]).reshape(3, 2, 2, 1)
    expected = [(1 * np.log(2) + 0.5 * -np.log(0.75)) / 1.5, np.log(2), 0]
    found = np.asarray(refine_unet.edge_cross_entropy(matte, alpha, band))
    assert found == pytest.approx(expected, rel=1e-5)


def compiled_network():
    keras.utils.set_random_seed(0)
    model = refine_unet.build((32, 32))
    model.compile(
        "sgd",
        loss=losses.training_losses(),
        loss_weights=losses.OUTPUT_WEIGHTS,
        metrics={"output": [keras.metrics.MeanAbsoluteError(name="mad")]},
        run_eagerly=True,
    )
    return model


def test_devices_and_repeated_pictures_do_not_change_the_loss(monkeypatch):
    """Keras adds the losses of the devices of TensorFlow; a repeated picture has the weight 0."""
    random = np.random.default_rng(0)
    maps = random.uniform(0.1, 0.9, (5, 4, 32, 32, 1)).astype(np.float32)
    maps[1] *= np.float32([1, 0.1, 0.5, 0.02])[:, None, None, None]  # bands of different sizes
    names = ("output", "boundary_attention", "output", "boundary_attention", "coarse")
    model = compiled_network()

    def loss(part, weights=None):
        each = [(name, values[part]) for name, values in zip(names, maps, strict=True)]
        return float(model.compute_loss(None, dict(each[:2]), dict(each[2:]), weights))

    whole, three = loss(np.s_[:]), loss(np.s_[:3])
    assert loss(np.s_[:], np.float32([4 / 3] * 3 + [0])) == pytest.approx(three, rel=1e-5)
    two = SimpleNamespace(num_replicas_in_sync=2)
    monkeypatch.setattr("tensorflow.distribute.get_strategy", lambda: two)
    assert loss(np.s_[:2]) + loss(np.s_[2:]) == pytest.approx(whole, rel=1e-5)


def test_the_loss_has_both_stages():
    model = compiled_network()
    random = np.random.default_rng(0)
    images = random.uniform(0, 255, (2, 32, 32, 3)).astype(np.float32)
    matte, band = (random.integers(0, 2, (2, 32, 32, 1)).astype(np.float32) for _ in range(2))
    targets = {"output": matte, "boundary_attention": band}
    logs = model.test_on_batch(images, targets, return_dict=True)
    outputs = {name: np.asarray(each) for name, each in model(images, training=False).items()}
    first = losses.MatteLoss(losses.MATTE_WEIGHTS["bce_dice"])(matte, outputs["coarse"])
    edge = np.mean(refine_unet.edge_cross_entropy(matte, outputs["output"], band))
    compiled = 0.8 * logs["output_loss"] + 0.2 * logs["boundary_attention_loss"]
    expected = compiled + 0.5 * float(first) + 0.5 * float(edge)
    assert logs["loss"] == pytest.approx(expected, rel=1e-5)
    assert logs["output_mad"] == pytest.approx(np.abs(outputs["output"] - matte).mean(), rel=1e-5)


def test_the_second_stage_looks_at_the_first_alpha():
    model = refine_unet.build((32, 32))
    images = np.random.default_rng(0).uniform(0, 255, (1, 32, 32, 3)).astype(np.float32)
    before = model(images, training=False)
    coarse = model.get_layer("coarse")
    coarse.set_weights([each + 1 for each in coarse.get_weights()])
    after = model(images, training=False)
    for name in ("output", "boundary_attention", "coarse"):
        assert np.abs(np.asarray(after[name]) - np.asarray(before[name])).max() > 1e-4
