"""Tests K-means on drawn pictures, against scikit-learn, and on the command line."""

import command_line
import cv2
import numpy as np
import pytest
from skimage import data
from sklearn.cluster import KMeans

from metrics import person_iou
from portrait.io.images import read_image, write_png
from portrait.models.baselines import kmeans


@pytest.fixture(scope="module")
def drawn():
    """A bust in front of a wall, with specks of the wall's colour, and its matte."""
    matte = np.zeros((200, 160), np.uint8)
    cv2.circle(matte, (80, 70), 35, 1, -1)
    cv2.ellipse(matte, (80, 200), (70, 90), 0, 0, 360, 1, -1)
    image = np.where(matte[..., None] == 1, np.uint8((210, 150, 120)), np.uint8((60, 90, 160)))
    image[::9, ::9] = (60, 90, 160)
    return image, matte.astype(np.float32)


def test_the_person_is_cut_out_and_specks_are_voted_away(drawn):
    image, matte = drawn
    alpha = kmeans.matte(image)
    assert (alpha.dtype, alpha.shape) == (np.float32, matte.shape)
    assert alpha.min() >= 0 and alpha.max() <= 1
    assert person_iou(alpha, matte) > 0.95
    assert np.array_equal(alpha, kmeans.matte(image))


def test_inverted_colours_are_the_same_person(drawn):
    image, matte = drawn
    assert person_iou(kmeans.matte(255 - image), matte) > 0.95


def test_clusters_are_the_best_of_many_starts(drawn):
    """The result is as good as scikit-learn's from twenty random starts."""
    image = cv2.resize(data.astronaut(), (32, 32), interpolation=cv2.INTER_AREA)
    pixels = kmeans.features(image).reshape(-1, 5)
    clusters = kmeans.cluster(image).ravel()

    def spread(labels):
        groups = [pixels[labels == index] for index in (0, 1)]
        return sum(((group - group.mean(axis=0)) ** 2).sum() for group in groups)

    many = KMeans(2, init="random", n_init=20, random_state=1).fit_predict(pixels)
    assert spread(clusters) == pytest.approx(spread(many), rel=1e-3)


def test_features_by_hand():
    """White is L = 100, a = b = 0; the last pixel of 4 x 2 lies at x = 1/4, y = 3/4."""
    found = kmeans.features(np.full((4, 2, 3), 255, np.uint8))[3, 1]
    weights = kmeans.WEIGHTS
    expected = [weights["L"], 0, 0, weights["x"] / 4, weights["y"] * 3 / 4]
    assert found == pytest.approx(expected, abs=1e-4)


def test_which_cluster_is_the_person():
    clusters = np.zeros((30, 20), int)
    clusters[10:, 5:15] = 1
    assert kmeans.person_cluster(clusters) == 1
    assert kmeans.person_cluster(1 - clusters) == 0


def test_neighbours_outvote():
    mask = np.zeros((20, 20), bool)
    mask[:, 10:] = True
    noisy = mask.copy()
    noisy[5, 4] = noisy[12, 2] = True
    noisy[8, 15] = False
    assert np.array_equal(kmeans.smooth(noisy), mask)


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (3, 300)])
def test_odd_pictures(shape):
    alpha = kmeans.matte(np.full((*shape, 3), 7, np.uint8))
    assert alpha.shape == shape and np.isfinite(alpha).all()


def test_on_the_command_line(drawn, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    image, matte = drawn
    (tmp_path / "data").mkdir()
    write_png(tmp_path / "data" / "a.png", image)
    write_png(tmp_path / "data" / "a_matte.png", np.uint8(matte * 255))
    status, out, _ = command_line.run(
        "--model=kmeans", "--evaluate=True", "--data=data", "--predict=data/a.png", "--refine=crf"
    )
    assert status == 0 and "person" in out
    alpha = read_image(tmp_path / "output" / "a_alpha.png")[..., 0] / np.float32(255)
    assert person_iou(alpha, matte) > 0.95
