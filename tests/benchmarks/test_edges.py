"""benchmarks/edges.py: its texture test on refinements whose result is known."""

import importlib.util

import numpy as np
import pytest
from PIL import Image
from project import ROOT

from portrait.io.images import resize, write_png


@pytest.fixture(scope="module")
def edges():
    spec = importlib.util.spec_from_file_location("edges", ROOT / "benchmarks" / "edges.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_photographs_are_used_again_if_there_are_fewer_than_people(edges, tmp_path):
    person = np.zeros((96, 64, 4), np.uint8)
    person[24:, 16:48, 3] = 255
    Image.fromarray(person).save(tmp_path / "person.png")
    for name, level in ("a", 40), ("b", 200):
        write_png(tmp_path / f"{name}.png", np.full((90, 60, 3), level, np.uint8))
    photos = [tmp_path / "a.png", tmp_path / "b.png"]
    scenes = [scene for scene, _ in edges.compositions(3 * [tmp_path / "person.png"], photos)]
    assert [int(image[0, 0, 0]) for image, _ in scenes] == [40, 200, 40]


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
