"""Tests terms of the loss against numbers computed by hand, and against NumPy in float64."""

import keras
import numpy as np
import pytest
from sklearn.metrics import log_loss

from portrait import losses


def pixels(*values):
    """A picture of one row."""
    return np.array(values, np.float32).reshape(1, 1, -1, 1)


def number(value):
    return float(np.asarray(value)[0])


@pytest.fixture
def random_pair():
    """Soft mattes and predictions of three pictures, without 0 and 1, which would be clipped."""
    return np.random.default_rng(0).uniform(0.01, 0.99, (2, 3, 5, 4, 1)).astype(np.float32)


def test_cross_entropy():
    mask, p = [1, 0, 1, 0, 0], [0.9, 0.2, 0.4, 0.7, 0.01]
    found = number(losses.binary_cross_entropy(pixels(*mask), pixels(*p)))
    assert found == pytest.approx(log_loss(mask, p), rel=1e-6)
    # A correct half-transparent pixel has its entropy, ln 2, as its loss.
    assert number(losses.binary_cross_entropy(pixels(0.5), pixels(0.5))) == pytest.approx(np.log(2))


def test_certain_and_wrong_is_finite():
    # The loss of a wrong pixel is -ln(1e-6); 1 - 1e-6 is rounded to a multiple of 2^-24.
    for y in 0, 1:
        found = number(losses.binary_cross_entropy(pixels(y), pixels(1 - y)))
        assert found == pytest.approx(-np.log(1e-6), rel=0.01)
        assert number(losses.binary_cross_entropy(pixels(y), pixels(y))) < 2e-6


def test_focal():
    # The paper's formula for masks: alpha (1 - p_t)^2 (-ln p_t).
    for y, p, expected in (
        (1, 0.5, 0.25 * 0.5**2 * np.log(2)),
        (0, 0.5, 0.75 * 0.5**2 * np.log(2)),
        (1, 0.9, 0.25 * 0.1**2 * -np.log(0.9)),
        (0, 0.2, 0.75 * 0.2**2 * -np.log(0.8)),
    ):
        assert number(losses.focal(pixels(y), pixels(p))) == pytest.approx(expected, rel=1e-4)
    found = number(losses.focal(pixels(0), pixels(0.2), alpha=0.4, gamma=3))
    assert found == pytest.approx(0.6 * 0.2**3 * -np.log(0.8), rel=1e-4)


@pytest.mark.parametrize("y", [0.1, 0.25, 0.5, 0.8])
def test_focal_is_least_at_the_matte(y):
    p = np.linspace(0.005, 0.995, 199, dtype=np.float32).reshape(-1, 1, 1, 1)
    values = np.asarray(losses.focal(np.full_like(p, y), p))
    best = p[values.argmin()].item()
    assert best == pytest.approx(y, abs=0.0026)  # half a step
    assert (np.diff(values[p.ravel() <= best]) < 0).all()
    assert (np.diff(values[p.ravel() >= best]) > 0).all()


def test_dice():
    four = pixels(1, 1, 0, 0)
    assert number(losses.dice(four, four)) == pytest.approx(0)
    # 1 - (2 x 1 + 1) / (2 + 1 + 1)
    assert number(losses.dice(four, pixels(1, 0, 0, 0))) == pytest.approx(1 / 4)
    # 1 - (2 (0.5 + 0.5) + 1) / (2 + 2 + 1)
    assert number(losses.dice(four, pixels(0.5, 0.5, 0.5, 0.5))) == pytest.approx(2 / 5)


def test_dice_of_a_picture_without_a_person():
    blank = np.zeros((1, 6, 5, 1), np.float32)
    assert number(losses.dice(blank, blank)) == 0
    assert number(losses.dice(blank, blank + 1)) == pytest.approx(1 - 1 / 31)


def test_squared_error():
    found = losses.squared_error(pixels(1, 0, 0.5, 0), pixels(0.5, 0.5, 0.5, 1))
    assert number(found) == pytest.approx((0.25 + 0.25 + 0 + 1) / 4)


def test_every_term_of_soft_mattes_in_float64(random_pair):
    y, p = random_pair.astype(np.float64)
    entropy = -(y * np.log(p) + (1 - y) * np.log(1 - p))
    expected = {
        "focal": ((0.25 * y + 0.75 * (1 - y)) * (y - p) ** 2 * entropy).mean((1, 2, 3)),
        "bce": entropy.mean((1, 2, 3)),
        "dice": 1 - (2 * (y * p).sum((1, 2, 3)) + 1) / ((y + p).sum((1, 2, 3)) + 1),
        "mse": ((y - p) ** 2).mean((1, 2, 3)),
        "mad": abs(y - p).mean((1, 2, 3)),
        "gradient": abs(np.diff(y - p, axis=1)).mean((1, 2, 3))
        + abs(np.diff(y - p, axis=2)).mean((1, 2, 3)),
    }
    found = losses.matte_terms(*random_pair)
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        assert np.asarray(found[name]) == pytest.approx(values, rel=1e-4), name
    total = 0.7 * expected["focal"] + 0.2 * (expected["bce"] + expected["dice"])
    total += 0.1 * expected["mse"]
    focal = losses.MatteLoss(losses.MATTE_WEIGHTS["focal"])
    assert float(focal(*random_pair)) == pytest.approx(total.mean(), rel=1e-5)
    assert float(losses.BoundaryLoss()(*random_pair)) == pytest.approx(entropy.mean(), rel=1e-5)


def test_half_precision_predictions_are_summed_in_full(random_pair):
    y, p = random_pair
    half = p.astype(np.float16)
    for name, term in losses.MATTE_TERMS.items():
        full = np.asarray(term(y, half.astype(np.float32)))
        assert np.asarray(term(y, half)) == pytest.approx(full, rel=1e-6), name


def test_other_weights_survive_the_round_trip(random_pair):
    loss = losses.MatteLoss({"bce": 1.0, "mse": 3.0}, name="mine")
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert (again.weights, again.name) == ({"bce": 1.0, "mse": 3.0}, "mine")
    terms = losses.matte_terms(*random_pair)
    expected = np.mean(terms["bce"] + 3 * terms["mse"])
    for each in (loss, again):
        assert float(each(*random_pair)) == pytest.approx(expected, rel=1e-6)


def test_named_weightings(random_pair):
    assert losses.OUTPUT_WEIGHTS == {"output": 0.8, "boundary_attention": 0.2}
    terms = losses.matte_terms(*random_pair)
    focal, entropy, dice, squares, absolute, gradient = (
        np.mean(terms[name]) for name in ("focal", "bce", "dice", "mse", "mad", "gradient")
    )
    half_each = (entropy + dice) / 2
    for both, expected in (
        (losses.training_losses(), half_each),
        (losses.training_losses("bce_dice"), half_each),
        (losses.training_losses("bce_dice_mad"), half_each + absolute),
        (losses.training_losses("detail"), entropy / 10 + absolute + gradient),
        (losses.training_losses("focal"), 0.7 * focal + 0.2 * (entropy + dice) + 0.1 * squares),
    ):
        assert both.keys() == losses.OUTPUT_WEIGHTS.keys()
        assert float(both["output"](*random_pair)) == pytest.approx(expected, rel=1e-5)
        assert float(both["boundary_attention"](*random_pair)) == pytest.approx(entropy, rel=1e-5)
