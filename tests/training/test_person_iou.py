"""Tests the streaming metric against `metrics.py`: unequal batches, float16, in Keras."""

import keras
import numpy as np
import pytest

import metrics
from portrait.training.person_iou import PersonIoU


@pytest.fixture
def pairs():
    """Nine random pairs, (truth, prediction); 0: both blank, 1: false person, 2: missed person."""
    true, predicted = np.random.default_rng(0).random((2, 9, 16, 12, 1)).astype(np.float32)
    true[:2] *= 0.4
    predicted[[0, 2]] *= 0.4
    return true, predicted


def mean_of_pictures(true, predicted):
    ious = [metrics.person_iou(p, t) for t, p in zip(true[..., 0], predicted[..., 0], strict=True)]
    assert ious[:3] == [1, 0, 0]
    return np.mean(ious)


def test_mean_over_pictures_whatever_the_batches(pairs):
    true, predicted = pairs
    metric = PersonIoU()
    for part in slice(0, 4), slice(4, 8), slice(8, 9):
        metric.update_state(true[part], predicted[part])
    assert float(metric.result()) == pytest.approx(mean_of_pictures(*pairs), abs=1e-6)
    metric.reset_state()
    metric.update_state(true[:1], predicted[:1])
    assert float(metric.result()) == 1


def test_half_precision_counts_a_full_picture_exactly():
    true = np.ones((1, 256, 192, 1), np.float16)
    predicted = true.copy()
    predicted[0, 0, 0] = 0
    metric = PersonIoU()
    metric.update_state(true, predicted)
    assert float(metric.result()) == pytest.approx(1 - 1 / (256 * 192), abs=1e-7)


def test_weights_count_pictures():
    true = np.ones((2, 4, 4, 1), np.float32)
    predicted = np.stack([true[0], 0 * true[1]])
    metric = PersonIoU()
    metric.update_state(true, predicted, sample_weight=np.array([3.0, 1.0]))
    assert float(metric.result()) == 0.75


def test_inside_a_model_that_is_saved_and_loaded(pairs, tmp_path):
    true, predicted = pairs
    image = keras.Input((16, 12, 1))
    model = keras.Model(image, keras.layers.Identity(name="output")(image))
    model.compile(loss="mse", metrics=[PersonIoU(), keras.metrics.MeanAbsoluteError(name="mad")])
    model.save(tmp_path / "model.keras")
    model = keras.models.load_model(tmp_path / "model.keras")
    scores = model.evaluate(predicted, true, batch_size=4, verbose=0, return_dict=True)
    assert scores["person_iou"] == pytest.approx(mean_of_pictures(*pairs), abs=1e-6)
    assert scores["mad"] == pytest.approx(np.abs(predicted - true).mean(), 1e-5)
