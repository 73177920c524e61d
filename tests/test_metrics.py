"""Tests every metric against a computation by hand and another library."""

import cv2
import numpy as np
import pytest
from scipy import ndimage
from sklearn import metrics as sklearn_metrics

import metrics
from portrait.tflite.runtime import TfliteModel


@pytest.fixture(params=[(40, 30), (61, 97)], ids=str)
def pair(request):
    """A soft matte at the border, a separate part, and an alpha with errors everywhere."""
    rng = np.random.default_rng(7)
    height, width = request.param
    matte = np.zeros(request.param, np.float32)
    cv2.ellipse(matte, (width // 2, height), (width // 3, height * 2 // 3), 0, 0, 360, 1.0, -1)
    matte[2 : height // 6, 2 : width // 6] = 1
    matte = cv2.GaussianBlur(matte, (0, 0), 1.5)
    noise = cv2.GaussianBlur(rng.random(request.param).astype(np.float32), (0, 0), 2) - 0.5
    alpha = np.clip(np.roll(matte, 2, axis=1) + 2 * noise, 0, 1)
    assert 0.2 < metrics.person_iou(alpha, matte) < 0.98
    return alpha, matte


# Four pixels: one true positive, one false negative, one false positive, one true negative.
ALPHA = np.array([[1.0, 0.2], [0.5, 0.0]], np.float32)
MATTE = np.array([[1.0, 1.0], [0.0, 0.0]], np.float32)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("person_iou", 1 / 3),
        ("mean_iou", 1 / 3),
        ("pixel_accuracy", 2 / 4),
        ("mean_accuracy", (1 / 2 + 1 / 2) / 2),
        ("frequency_weighted_iou", (2 * 1 / 3 + 2 * 1 / 3) / 4),
        ("boundary_iou", 1 / 3),
        ("mad", (0.8 + 0.5) / 4),
        ("mse", (0.64 + 0.25) / 4),
        ("sad", (0.8 + 0.5) / 1000),
    ],
)
def test_four_pixels_by_hand(name, value):
    assert metrics.METRICS[name].function(ALPHA, MATTE) == pytest.approx(value, rel=1e-6)


def test_hard_metrics_against_scikit_learn(pair):
    predicted, true = (mask.ravel() >= 0.5 for mask in pair)
    ious = sklearn_metrics.jaccard_score(true, predicted, average=None)
    for function, value in [
        (metrics.person_iou, ious[1]),
        (metrics.mean_iou, ious.mean()),
        (metrics.pixel_accuracy, sklearn_metrics.accuracy_score(true, predicted)),
        (metrics.mean_accuracy, sklearn_metrics.balanced_accuracy_score(true, predicted)),
        (
            metrics.frequency_weighted_iou,
            sklearn_metrics.jaccard_score(true, predicted, average="weighted"),
        ),
    ]:
        assert function(*pair) == pytest.approx(value, rel=1e-12)


def test_soft_metrics_against_scikit_learn(pair):
    alpha, matte = (values.ravel().astype(np.float64) for values in pair)
    distance = sklearn_metrics.mean_absolute_error(matte, alpha)
    assert metrics.mad(*pair) == pytest.approx(distance, rel=1e-6)
    assert metrics.sad(*pair) == pytest.approx(distance * matte.size / 1000, rel=1e-6)
    squared = sklearn_metrics.mean_squared_error(matte, alpha)
    assert metrics.mse(*pair) == pytest.approx(squared, rel=1e-5)


def test_boundary_iou_against_distance_transform(pair):
    width = max(1, round(0.02 * np.linalg.norm(pair[0].shape)))
    rims = []
    for soft in pair:
        depth = ndimage.distance_transform_cdt(np.pad(soft >= 0.5, 1), metric="chessboard")
        rims.append(((depth > 0) & (depth <= width))[1:-1, 1:-1])
    value = sklearn_metrics.jaccard_score(rims[1].ravel(), rims[0].ravel())
    assert metrics.boundary_iou(*pair) == pytest.approx(value, rel=1e-12)


def test_boundary_iou_rim_is_two_percent_of_the_diagonal():
    # 300 x 400: diagonal 500, rim 10. A shift by 10 px leaves the rims' long sides apart.
    matte, alpha = np.zeros((2, 300, 400), np.float32)
    matte[100:200, 100:300] = 1
    alpha[100:200, 110:310] = 1
    rim = 100 * 200 - 80 * 180
    ends_in_common = 2 * 10 * 190
    value = ends_in_common / (2 * rim - ends_in_common)
    assert metrics.boundary_iou(alpha, matte) == pytest.approx(value, rel=1e-12)


def test_gradient_error_against_scipy(pair):
    grid = np.arange(-4, 5)
    gauss = ndimage.gaussian_filter(np.eye(1, 81, 40)[0], 1.4)[36:45]
    kernel = np.outer(gauss, -grid * gauss)
    kernel /= np.sqrt((kernel**2).sum())
    strengths = [
        np.hypot(
            ndimage.convolve(soft.astype(np.float64), kernel, mode="nearest"),
            ndimage.convolve(soft.astype(np.float64), kernel.T, mode="nearest"),
        )
        for soft in pair
    ]
    value = ((strengths[0] - strengths[1]) ** 2).sum() / 1000
    assert metrics.gradient_error(*pair) == pytest.approx(value, rel=1e-4)


def test_gradient_error_does_not_see_a_constant():
    ramp = np.tile(np.linspace(0, 0.5, 40, dtype=np.float32), (30, 1))
    assert metrics.gradient_error(ramp + 0.4, ramp) == pytest.approx(0, abs=1e-9)
    assert metrics.gradient_error(ramp, np.zeros_like(ramp)) > 1e-3


def connectivity_by_definition(alpha, matte):
    """Computes phi by Rhemann's definition, level by level, with SciPy's labelling."""
    level = np.zeros(alpha.shape)
    lost = np.zeros(alpha.shape, bool)
    for threshold in np.arange(1, 11, dtype=np.float32) / 10:
        labels, count = ndimage.label((alpha >= threshold) & (matte >= threshold))
        sizes = np.bincount(labels.ravel(), minlength=2)[1:]
        lost |= labels != (sizes.argmax() + 1 if count else -1)
        level[~lost] = threshold
    phi = [1 - np.where(soft - level >= 0.15, soft - level, 0) for soft in (alpha, matte)]
    return np.abs(phi[0] - phi[1]).sum() / 1000


def test_connectivity_error_against_scipy(pair):
    value = connectivity_by_definition(*pair)
    assert value > 0
    assert metrics.connectivity_error(*pair) == pytest.approx(value, rel=1e-5)


def test_connectivity_error_by_hand():
    matte = np.zeros((5, 9), np.float32)
    matte[1:4, 1:5] = 1
    alpha = matte.copy()
    alpha[1:3, 7] = 1  # Two pixels are disconnected, 1 each.
    alpha[1, 1] = 0.5  # One pixel is connected up to 0.5, and the matte is 0.5 above that.
    assert metrics.connectivity_error(alpha, matte) == pytest.approx(2.5e-3, rel=1e-6)
    alpha[1, 1] = 0.92  # Connected up to 0.9; 0.1 above is within the tolerance of 0.15.
    assert metrics.connectivity_error(alpha, matte) == pytest.approx(2e-3, rel=1e-6)


@pytest.mark.parametrize(("level", "error"), [(0.15, 0.15e-3), (0.14, 0)])
def test_connectivity_counts_from_the_tolerance_on(level, error):
    matte = np.zeros((5, 9), np.float32)
    matte[1:4, 1:5] = 1
    alpha = matte.copy()
    matte[2, 7] = level
    assert metrics.connectivity_error(alpha, matte) == pytest.approx(error, rel=1e-6)


def test_connectivity_that_is_lost_is_not_regained():
    matte = np.zeros((5, 9), np.float32)
    matte[1:4, 1:5] = 0.5
    matte[1, 7:9] = 0.9
    alpha = np.where(matte > 0.5, np.float32(1), matte)
    # Above 0.5 the pair on the right is the largest part, but below it hangs loose: level 0, above
    # which its pixels stand 1.0 and 0.9.
    assert metrics.connectivity_error(alpha, matte) == pytest.approx(0.2e-3, rel=1e-5)


def test_corners_do_not_connect():
    matte = np.zeros((5, 9), np.float32)
    matte[1:4, 1:5] = 1
    matte[4, 5] = 0.9
    alpha = np.ceil(matte)
    assert metrics.connectivity_error(alpha, matte) == pytest.approx(0.1e-3, rel=1e-5)


def test_the_same_matte_is_perfect(pair):
    for name, value in metrics.all_metrics(pair[1], pair[1].copy()).items():
        best = 1 if "iou" in name or "accuracy" in name else 0
        # OpenCV's filters may round differently with another memory alignment.
        assert value == pytest.approx(best, abs=1e-12), name


def test_blank_photographs_have_no_nan():
    blank = np.zeros((20, 30), np.float32)
    perfect = metrics.all_metrics(blank, blank)
    assert all(value == (1 if "iou" in n or "accuracy" in n else 0) for n, value in perfect.items())
    false = blank.copy()
    false[5:11, 10:15] = 1
    scores = metrics.all_metrics(false, blank)
    assert scores["person_iou"] == scores["boundary_iou"] == 0
    assert scores["mean_iou"] == pytest.approx(0.95 / 2)
    assert scores["mean_accuracy"] == scores["frequency_weighted_iou"] == pytest.approx(0.95)
    assert metrics.false_person_share(false) == 0.05
    everybody = metrics.all_metrics(blank + 1, blank + 1)
    assert everybody["mean_iou"] == everybody["boundary_iou"] == 1
    assert np.isfinite(list(metrics.all_metrics(blank, blank + 1).values())).all()


@pytest.mark.parametrize("name", metrics.METRICS)
def test_other_shapes_are_refused(name):
    with pytest.raises(ValueError, match=r"\(4, 3, 1\)"):
        metrics.METRICS[name].function(np.zeros((4, 3, 1)), np.zeros((4, 3)))


def test_dt_ssd_by_hand():
    mattes = np.zeros((3, 2, 2))
    alphas = mattes.copy()
    alphas[1, 0, 0] = 1.0  # a quarter of the pixels is wrong by 1 each time
    assert metrics.dt_ssd(alphas, mattes) == pytest.approx(100 * 0.5)
    assert metrics.dt_ssd(mattes + 0.3, mattes) == pytest.approx(0)


def test_flicker_counts_what_is_hardly_seen():
    images, alphas = np.zeros((2, 4, 4, 3), np.uint8), np.zeros((2, 4, 4), np.float32)
    alphas[:, 0] = 0.01  # smaller alphas count as no person
    alphas[1, 1] = 0.1
    assert metrics.flicker(alphas, images) == pytest.approx(100)


def test_flicker_by_hand():
    images = np.zeros((2, 20, 20, 3), np.uint8)
    images[1, :, 10:] = 200  # the right half moves, and possibly 2 pixels beside it
    alphas = np.zeros((2, 20, 20), np.float32)
    alphas[:, :, :4], alphas[1, :, :4] = 0.5, 0.75
    alphas[1, :, 12:] = 1.0
    assert metrics.flicker(alphas, images) == pytest.approx(250)
    assert metrics.flicker(np.zeros((2, 20, 20)), images) == 0


def test_a_published_network_scores_as_measured_before(portrait_data):
    """Compares MediaPipe's network on 145 selfies with an independent measurement."""
    path = portrait_data / "peers" / "mediapipe_selfie_segmentation.tflite"
    network = TfliteModel(path, path.name)
    scores = []
    for path in sorted((portrait_data / "portraits/selfies/testing").glob("*.jpg")):
        photo = cv2.imread(str(path))[..., ::-1]
        matte = cv2.imread(str(path.with_name(f"{path.stem}_matte.png")), cv2.IMREAD_GRAYSCALE)
        alpha = network(cv2.resize(photo, (256, 256)).astype(np.float32) / 255)[..., 0]
        alpha = cv2.resize(alpha, photo.shape[1::-1])
        functions = metrics.person_iou, metrics.mean_iou, metrics.boundary_iou, metrics.mad
        scores.append([function(alpha, matte / np.float32(255)) for function in functions])
    assert len(scores) == 145
    # Half of the last digit, and as much for the rounding of another processor.
    assert np.mean(scores, axis=0) == pytest.approx([0.9537, 0.9424, 0.7264, 0.0296], abs=1e-4)
