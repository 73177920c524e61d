"""Parity figures by hand, with runtimes that are functions."""

import keras
import numpy as np
import pytest

from portrait.export import verify
from portrait.export.formats import Tolerance

PICTURES = np.zeros((2, 2, 2, 3), np.uint8)
PICTURES[1] = 255
EXPECTED = np.float32([[[0.9, 0.9], [0.1, 0.1]], [[0.6, 0.1], [0.1, 0.1]]])
MATTES = np.uint8([[[255, 255], [0, 0]], [[255, 0], [0, 0]]])


def _runtime(changes):
    """Gives the expected alphas plus `changes` (2, 2, 2)."""

    def run(picture):
        index = int(picture[0, 0, 0] > 0)
        return EXPECTED[index] + np.float32(changes)[index]

    return run


def test_figures():
    changes = np.zeros((2, 2, 2))
    changes[0, 0, 0] = 0.02  # a mean of 0.005 in the first picture
    changes[1, 0, 0] = -0.2  # loses the only pixel of the second person
    parity, alphas = verify.compare(_runtime(changes), PICTURES, EXPECTED, MATTES)
    np.testing.assert_allclose(alphas, EXPECTED + changes, rtol=1e-6)
    assert parity.max_error == pytest.approx(0.2, rel=1e-5)
    assert parity.mean_error == pytest.approx((0.02 + 0.2) / 8, rel=1e-5)
    assert parity.worst == 1
    assert [each.mean_error for each in parity.pictures] == pytest.approx([0.005, 0.05], rel=1e-5)
    assert (parity.keras_iou, parity.iou, parity.iou_change) == (1.0, 0.5, -0.5)
    assert parity.agreement == 0.5
    # In pictures of 2 x 2 a mask is its own rim.
    assert (parity.keras_boundary_iou, parity.boundary_iou, parity.boundary_change) == (
        1,
        0.5,
        -0.5,
    )


def test_mattes_without_a_person_have_no_iou():
    blank = MATTES.copy()
    blank[0] = 0
    parity, _ = verify.compare(_runtime(np.zeros((2, 2, 2))), PICTURES, EXPECTED, blank)
    assert [each.iou for each in parity.pictures] == [None, 1.0]
    assert parity.iou_change == 0
    parity, _ = verify.compare(_runtime(np.zeros((2, 2, 2))), PICTURES, EXPECTED)
    assert parity.iou_change is None


@pytest.mark.parametrize(
    ("change", "mattes", "tolerance", "beyond"),
    [
        (0.02, MATTES, Tolerance(0.03, 0.1), None),
        (0.02, MATTES, Tolerance(0.01, None), "0.02, over 0.01"),
        (-0.2, MATTES, Tolerance(None, None), None),
        (-0.2, MATTES, Tolerance(None, None, mean=0.03), None),
        (-0.2, MATTES, Tolerance(None, None, mean=0.02), "0.025 on average, over 0.02"),
        (-0.2, MATTES, Tolerance(None, 0.4), "0.5000, over 0.4"),
        (-0.2, MATTES, Tolerance(None, 0.4, gains=False), "0.5000"),
        (-0.2, None, Tolerance(None, 0.4), "0.5000, over 0.4"),
        (-0.2, MATTES, Tolerance(None, None, boundary=0.6), None),
        (-0.2, MATTES, Tolerance(None, None, boundary=0.4), "0.5000, over 0.4"),
        (np.nan, MATTES, Tolerance(None, None), "NaN"),
    ],
)
def test_tolerance(change, mattes, tolerance, beyond):
    changes = np.zeros((2, 2, 2))
    changes[1, 0, 0] = change
    parity, _ = verify.compare(_runtime(changes), PICTURES, EXPECTED, mattes)
    found = verify.problem(parity, tolerance)
    assert found is None if beyond is None else beyond in found


def test_an_improvement_is_a_change_too():
    changes = np.zeros((2, 2, 2))
    changes[1, 0, 0] = 0.4
    keras = EXPECTED - np.float32(changes)  # misses the second person, where the file does not
    parity, _ = verify.compare(_runtime(np.zeros((2, 2, 2))), PICTURES, keras, MATTES)
    assert parity.iou_change == 0.5
    assert verify.problem(parity, Tolerance(None, 0.4))
    # But not for the worse: a network that was trained on may have become better.
    assert verify.problem(parity, Tolerance(None, 0.4, gains=False)) is None


def test_painted_pictures_have_errors_in_levels_and_no_masks():
    painted = np.full((2, 2, 2, 3), 100, np.float32)
    parity, outputs = verify.compare(
        lambda picture: painted[0] + np.float32([0, 0, 3 if picture.any() else 0]),
        PICTURES,
        painted,
    )
    assert outputs.shape == painted.shape
    assert (parity.max_error, parity.mean_error, parity.worst) == (3, 0.5, 1)
    assert parity.agreement is None and parity.iou is None
    assert verify.problem(parity, Tolerance(3, mean=0.5)) is None
    assert verify.problem(parity, Tolerance(2.9)) and verify.problem(parity, Tolerance(3, mean=0.4))


def test_pictures_become_input():
    picture = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    batch = verify.as_input(picture, 4)
    assert (batch.shape, batch.dtype) == ((1, 2, 2, 4), np.float32)
    np.testing.assert_array_equal(batch[0, ..., :3], picture)
    assert (batch[..., 3] == 255).all()
    assert verify.as_input(picture, 3).shape == (1, 2, 2, 3)


def test_keras_is_shown_transparent_pictures():
    """RGBA networks must not look at their fourth channel; files are shown opaque ones."""
    image = keras.Input((2, 2, 4))
    model = keras.Model(image, image[..., 3:] / 255)
    assert not verify.keras_outputs(model, PICTURES).any()
