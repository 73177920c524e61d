"""Parity figures by hand, with runtimes that are functions."""

import keras
import numpy as np
import pytest
from scipy.stats import sem

from portrait.export import verify
from portrait.export.formats import EIGHT_BIT, HALF, Tolerance
from portrait.export.tflite import FORMATS

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
    # The differences are 0 and -1. In pictures of 2 x 2 a mask is its own rim.
    assert parity.iou == parity.boundary_iou == parity.agreement == (0.5, 1, 0.5)
    assert parity.iou.change == -0.5


def test_mattes_without_a_person_have_no_iou():
    blank = MATTES.copy()
    blank[0] = 0
    changes = np.zeros((2, 2, 2))
    changes[0, 0] = -0.8  # loses the first person, who is not in the matte
    parity, _ = verify.compare(_runtime(changes), PICTURES, EXPECTED, blank)
    assert parity.iou == (1, 1, np.inf)  # of one picture, which has no standard error
    parity, _ = verify.compare(_runtime(changes), PICTURES, EXPECTED)
    assert parity.iou is None and parity.boundary_iou is None


LOST = "changed by -0.5000, with a standard error of 0.5000: the limit is 0.1"


@pytest.mark.parametrize(
    ("change", "mattes", "tolerance", "beyond"),
    [
        (0.02, MATTES, Tolerance(0.03, 0.1), None),
        (0.02, MATTES, Tolerance(0.01, None), "0.02, over 0.01"),
        (-0.2, MATTES, Tolerance(None, None), None),
        (-0.2, MATTES, Tolerance(None, None, mean=0.03), None),
        (-0.2, MATTES, Tolerance(None, None, mean=0.02), "0.025 on average, over 0.02"),
        (-0.2, MATTES, Tolerance(None, 0.1), f"person IoU {LOST}"),
        (-0.2, MATTES, Tolerance(None, 0.1, gains=False), f"person IoU {LOST}"),
        (-0.2, None, Tolerance(None, 0.1), f"masks {LOST}"),
        (-0.2, MATTES, Tolerance(None, None, boundary=0.2), None),
        (-0.2, MATTES, Tolerance(None, None, boundary=0.1), f"boundary IoU {LOST}"),
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
    assert parity.iou.change == 0.5
    assert verify.problem(parity, Tolerance(None, 0.1))
    # But not for the worse: a network that was trained on may have become better.
    assert verify.problem(parity, Tolerance(None, 0.1, gains=False)) is None


def _parity(lost):
    """A file that loses these pixels of people of 1000 pixels, one number for each picture."""
    pictures = np.zeros((len(lost), 20, 50, 3), np.uint8)
    pictures[..., 0] = np.arange(len(lost))[:, None, None]
    whole = np.ones((len(lost), 20, 50), np.float32)

    def run(picture):
        alpha = np.ones(1000, np.float32)
        alpha[: lost[picture[0, 0, 0]]] = 0
        return alpha.reshape(20, 50)

    return verify.compare(run, pictures, whole, np.uint8(255 * whole))[0]


@pytest.mark.parametrize(
    ("lost", "refused"),
    [
        # One picture of n that changes by x: both the mean and its standard error are x / n. Such a
        # change is beyond the limit only if it is more than three times as large.
        ([10] + 11 * [0], False),  # 0.0008
        ([17] + 11 * [0], False),  # 0.0014
        ([19] + 11 * [0], True),  # 0.0016
        ([40] + 99 * [0], False),  # 0.0004
        (12 * [0], False),
        (12 * [1], True),  # 0.001 without any error
        (6 * [0, 1], False),  # 0.0005
        (50 * [0, 1, 2], True),  # 0.001 with an error of 0.00007
        ([1], False),  # One picture: only the triple counts.
        ([2], True),
        ([0, 2], False),  # 0.001
        ([2, 2], True),
        ([0, 7], True),
    ],
)
def test_a_change_is_beyond_the_limit_by_two_standard_errors_or_by_its_triple(lost, refused):
    parity = _parity(lost)
    expected = verify.Score(1 - np.mean(lost) / 1000, 1, parity.iou.standard_error)
    assert parity.iou == pytest.approx(expected, abs=1e-9)
    if len(lost) > 1:
        assert parity.iou.standard_error == pytest.approx(sem(np.divide(lost, 1000)), abs=1e-9)
    assert bool(verify.problem(parity, Tolerance(None, 0.0005))) == refused
    same = parity._replace(iou=verify.Score(1, 1, 0), boundary_iou=parity.iou)
    assert bool(verify.problem(same, Tolerance(None, boundary=0.0005))) == refused
    assert verify.problem(same, Tolerance(None, 0.0005)) is None


@pytest.mark.parametrize(
    ("limits", "loss"), [(HALF, 0.003), (EIGHT_BIT, 0.02), (FORMATS["dynamic"].tolerance, 0.01)]
)
def test_no_number_of_pictures_lets_a_bad_file_through(limits, loss):
    lost = verify.Score(0.9 - loss, 0.9, np.inf)
    kept = verify.Score(0.9, 0.9, np.inf)
    parity = verify.Parity(0.1, 0, kept, lost, kept, 0, [])
    assert f"changed by {-loss:.4f}" in verify.problem(parity, limits)
    assert verify.problem(parity._replace(iou=kept), limits) is None


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


@pytest.mark.parametrize("channels", [3, 4])
def test_the_rounding_error_of_a_network_with_functions_of_keras(channels):
    """The heads of the VGG16 networks split their scores with `keras.ops`."""
    image = keras.Input((4, 4, channels))
    scores = keras.layers.Conv2D(2, 1, activation="softmax")(image)
    model = keras.Model(image, keras.ops.split(scores, 2, axis=-1)[0])
    pictures = np.random.default_rng(0).integers(0, 2, (2, 4, 4, 3), np.uint8)
    assert 0 < verify.rounding_error(model, pictures) < 1e-5
