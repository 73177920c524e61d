"""The picture of cases: colours of errors, and shapes kept."""

import numpy as np
import pytest

from portrait.evaluation.cases import FALSE, MISSED, Case, draw_cases, error_overlay

GREEN = (0, 200, 0)


def make_case(height, width, name="name"):
    image = np.full((height, width, 3), GREEN, np.uint8)
    return Case(image, np.zeros((height, width)), np.zeros((height, width)), name, "IoU 0.5")


def test_missed_is_red_false_is_blue_right_is_grey():
    image = np.full((1, 4, 3), 100, np.uint8)
    matte, alpha = np.array([[1.0, 0.0, 1.0, 0.0]]), np.array([[0.0, 1.0, 1.0, 0.0]])
    missed, false, hit, background = error_overlay(image, matte, alpha)[0]
    assert tuple(missed) == MISSED and tuple(false) == FALSE
    assert tuple(hit) == tuple(background) == (150, 150, 150)


@pytest.mark.parametrize(("height", "width"), [(320, 240), (30, 90), (400, 100)])
def test_nothing_is_stretched_or_cut(height, width):
    sheet = draw_cases({"worst": [make_case(height, width)], "best": []})
    rows, columns = np.nonzero((sheet == GREEN).all(axis=2))
    shape = np.ptp(rows) + 1, np.ptp(columns) + 1
    assert len(rows) == shape[0] * shape[1]
    assert shape[1] / shape[0] == pytest.approx(width / height, abs=1 / shape[0])


def test_every_case_is_shown_however_it_is_named():
    hard_names = ["x" * 300, "\udcff not UTF-8", "Größe 写真", ""]
    cases = [make_case(80, 60, name) for name in hard_names]
    one, five = draw_cases({"all": cases[:1]}), draw_cases({"worst": cases, "best": cases[:1]})
    green = [(sheet == GREEN).all(axis=2).sum() for sheet in (one, five)]
    assert green[1] == 5 * green[0]
