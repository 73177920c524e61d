"""Tests the errors and the table of the comparison with Gatys' method."""

import numpy as np
import pytest
from style_networks import picture, random_vgg

from benchmarks import style_losses
from portrait.style_transfer import perceptual


def test_photograph_and_painting_are_the_two_ends(monkeypatch):
    monkeypatch.setattr(perceptual, "SCALES", (1.0,))
    photo, painting = picture(48, 48, 1), picture(48, 48, 2)
    loss = perceptual.PerceptualLoss([painting], random_vgg(), perceptual.Weights(1, 1, 0))
    content, style = style_losses.errors(loss, photo, photo)
    assert content == 0 and style > 0
    content, style = style_losses.errors(loss, photo, painting)
    assert content > 0 and style == pytest.approx(0, abs=1e-6)


def test_the_table_has_means_of_each_style_and_of_all():
    rows = {"red": [(0, 1, 2, 3, 4, 5), (0, 3, 2, 3, 4, 5)], "blue": [(0, 5, 2, 3, 4, 8)]}
    lines = [line.split() for line in style_losses.table(rows).splitlines()[2:]]
    assert lines[0] == ["red", "2", "0.000", "2.000", "2.000", "3.000", "4.000", "5.000"]
    assert lines[1][:2] == ["blue", "1"] and lines[2][:2] == ["all", "3"]
    assert np.float64(lines[2][3]) == 3.0 and np.float64(lines[2][7]) == 6.0
