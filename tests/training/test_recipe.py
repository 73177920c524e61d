"""Tests the learning rate over a training, and the span of the moving average."""

import keras
import numpy as np
import pytest

from portrait.training.recipe import SCHEDULES, Recipe, make_optimizer


def rates(schedule, epochs, steps, at):
    optimizer = make_optimizer(Recipe(epochs, lr=0.8, schedule=schedule), steps)
    found = []
    for step in at:
        optimizer.iterations.assign(step)
        found.append(float(np.asarray(optimizer.learning_rate)))
    return found


def test_constant():
    assert rates("constant", 10, 10, [0, 50, 99]) == pytest.approx([0.8] * 3)


def test_halving_after_each_fifth():
    at = [0, 19, 20, 39, 40, 60, 80, 99]
    expected = [0.8, 0.8, 0.4, 0.4, 0.2, 0.1, 0.05, 0.05]
    assert rates("halving", 10, 10, at) == pytest.approx(expected)


def test_cosine_with_warm_up():
    # 200 steps: 10 of warm-up from a twentieth, then 190 along half a cosine to a hundredth.
    at = [0, 5, 10, 10 + 95, 200, 300]
    expected = [0.04, 0.42, 0.8, 0.8 * (0.01 + 0.99 / 2), 0.008, 0.008]
    assert rates("cosine", 20, 10, at) == pytest.approx(expected, rel=1e-5)
    falling = rates("cosine", 20, 10, range(10, 200))
    assert (np.diff(falling) < 0).all()


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_single_step(schedule):
    (rate,) = rates(schedule, 1, 1, [0])
    assert 0 < rate <= 0.8 * (1 + 1e-6)


@pytest.mark.parametrize(
    ("epochs", "momentum"), [(1, 0.0), (2, 0.0), (4, 0.5), (100, 0.98), (10**6, 0.999)]
)
def test_moving_average_over_a_twentieth_of_the_steps(epochs, momentum):
    optimizer = make_optimizer(Recipe(epochs), steps_per_epoch=10)
    assert optimizer.use_ema and optimizer.ema_momentum == pytest.approx(momentum)
    assert not make_optimizer(Recipe(epochs, ema=False), 10).use_ema


def test_gradients_are_clipped_as_keras_does_on_one_device():
    found = []
    for ours in (True, False):
        random = np.random.default_rng(0)
        recipe = Recipe(10, lr=0.1, schedule="constant", ema=False)
        optimizer = make_optimizer(recipe, 1) if ours else keras.optimizers.Adam(0.1, clipnorm=1.0)
        variables = [keras.Variable(np.ones(shape, np.float32)) for shape in ((3, 4), (5,))]
        for scale in (0.01, 9, 0.1):
            gradients = [np.float32(scale * random.normal(size=each.shape)) for each in variables]
            optimizer.apply(list(map(keras.ops.convert_to_tensor, gradients)), variables)
        found.append([np.asarray(each) for each in variables])
    for one, other in zip(*found, strict=True):
        assert one == pytest.approx(other, abs=1e-6)
