"""benchmarks/edges.py: its texture test on refinements whose result is known."""

import importlib.util

import numpy as np
import pytest
from project import ROOT

from portrait.io.images import resize


@pytest.fixture(scope="module")
def edges():
    spec = importlib.util.spec_from_file_location("edges", ROOT / "benchmarks" / "edges.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_amplitude_of_the_texture(edges):
    """Square waves of amplitude 1 contain a sine of amplitude 4 / pi."""
    stripes = edges.textures()["stripes of 16"]

    def enlarged(image, coarse):
        return resize(coarse, image.shape[:2])

    def copies(image, coarse):
        return enlarged(image, coarse) * 0.5 + 0.05 * np.sign(image[:, -1:, 1] - np.float32(98))

    assert edges.copied_texture(enlarged, stripes) == 0
    assert edges.copied_texture(copies, stripes) == pytest.approx(1e3 * 0.05 * 4 / np.pi, rel=0.01)


def test_the_guided_filter_copies_less_than_before(edges):
    for scenes in edges.textures().values():
        before, now = (
            edges.copied_texture(step, scenes)
            for step in (edges.guided_before, edges.refinements()["guided"])
        )
        assert now < 0.85 * before
