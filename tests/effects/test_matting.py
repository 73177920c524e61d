"""Tests alphas at the photograph's full size against a known matte."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from portrait.data.sample.astronaut import matted_portrait
from portrait.effects.matting import AUTO, matte
from portrait.inference.network import Network
from portrait.io.images import resize
from portrait.matting.closed_form import cache_folder
from portrait.matting.compositing import blend
from portrait.matting.refine import refine_closed_form, refine_guided
from portrait.matting.trimap import make_trimap


@pytest.fixture(scope="module")
def portrait():
    """A portrait before a plain wall, its true alpha, and the coarse alpha of a network."""
    _, person, alpha = matted_portrait()
    wall = np.full(person.shape, (60, 110, 90), np.uint8)
    coarse = resize(cv2.GaussianBlur(alpha, (0, 0), 3), (112, 128))
    return blend(np.array(person), wall, np.array(alpha)), alpha, coarse


def error(alpha, truth):
    return float(np.abs(alpha - truth).mean())


def test_refinements_come_nearer_to_the_truth(portrait):
    image, truth, coarse = portrait
    stretched = error(resize(coarse, truth.shape), truth)
    guided = refine_guided(image, coarse)
    closed_form = refine_closed_form(image, coarse)
    assert (guided.dtype, guided.shape) == (np.float32, truth.shape)
    assert error(guided, truth) < stretched / 2
    assert error(closed_form, truth) < error(guided, truth)


def test_a_large_photograph_is_solved_small_and_enlarged(portrait):
    image, truth, coarse = portrait
    large, true = resize(image, (1344, 1536)), resize(np.array(truth), (1344, 1536))
    alpha = refine_closed_form(large, coarse)
    assert alpha.shape == true.shape
    assert error(alpha, true) < error(resize(coarse, true.shape), true) / 2


def test_nothing_to_refine():
    image = np.zeros((50, 60, 3), np.uint8)
    for value in (0.0, 1.0):
        alpha = np.full((50, 60), value, np.float32)
        assert refine_guided(image, alpha) == pytest.approx(alpha, abs=1e-5)
        assert np.array_equal(refine_closed_form(image, alpha), alpha)


def test_photographs_are_refined_by_the_learned_refinement():
    image, alpha = np.zeros((96, 128, 3), np.uint8), np.zeros((96, 128), np.float32)
    cv2.circle(image, (70, 50), 30, (220, 200, 180), -1)
    cv2.circle(alpha, (72, 52), 30, 1.0, -1)
    network = Network("test", (48, 64), lambda picture: resize(alpha, (48, 64)))
    auto, learned, guided = (matte(image, network, name) for name in (AUTO, "learned", "guided"))
    assert np.array_equal(auto, learned) and not np.array_equal(auto, guided)
    assert np.array_equal(matte(image, network), auto)


def test_trimap():
    alpha = np.zeros((60, 60), np.float32)
    alpha[:, 30:] = 1
    trimap = make_trimap(alpha, 4)
    assert (trimap[:, :26] == 0).all() and (trimap[:, 34:] == 1).all()
    assert (trimap[:, 26:34] == 0.5).all()


def test_what_is_soft_is_unknown():
    alpha = np.zeros((40, 60), np.float32)
    alpha[:, 40:] = 1
    alpha[:, 20:40] = np.repeat((0.1, 0.4, 0.6, 0.9), 5)
    trimap = make_trimap(alpha, 2)
    assert (trimap[:, 18:42] == 0.5).all()
    assert (trimap[:, :18] == 0).all() and (trimap[:, 42:] == 1).all()


def test_where_numba_keeps_what_it_compiles(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == str(tmp_path / ".cache" / "numba")
    (tmp_path / "file").touch()
    monkeypatch.setenv("HOME", str(tmp_path / "file"))  # in which no folder can be made
    temporary = Path(cache_folder())
    assert temporary.is_dir() and tmp_path not in temporary.parents
