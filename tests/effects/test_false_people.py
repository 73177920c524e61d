"""Tests which parts of an alpha are taken for people."""

import numpy as np
import pytest

from portrait.effects.false_people import only_people


def test_ghosts_go_and_hair_stays():
    alpha = np.zeros((100, 100), np.float32)
    alpha[40:, 20:50], alpha[30:40, 20:50] = 1.0, 0.2  # a person and hair
    alpha[10:60, 70:90] = 0.7  # a ghost
    kept = only_people(alpha)
    assert np.array_equal(kept[:, :60], alpha[:, :60]) and not kept[:, 60:].any()
    # One that was a person in the frame before stays a little longer.
    alpha[10:22, 70:90] = 0.99
    before = np.where(np.arange(100) >= 60, alpha, 0).astype(np.float32)
    assert not only_people(alpha)[:, 60:].any()
    assert only_people(alpha, before)[10:60, 70:90].all()


@pytest.mark.parametrize(("core", "stays"), [(0.96, True), (0.94, False)])
def test_how_certain_the_network_must_be(core, stays):
    alpha = np.zeros((100, 100), np.float32)
    alpha[20:80, 20:80], alpha[20:40, 20:80] = 0.7, core  # a third of the part is the core
    assert only_people(alpha).any() == stays
