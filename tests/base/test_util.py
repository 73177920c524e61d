"""Tests the alignment and the digits of tables."""

import pytest

from portrait import util


def test_words_are_flush_left_and_figures_flush_right():
    rows = [("set", "model", "IoU"), ("a", "long name", "1"), ("selfies", "x", "0.25")]
    assert util.aligned(rows, words=2) == [
        "set      model       IoU",
        "a        long name     1",
        "selfies  x          0.25",
    ]
    assert util.aligned(rows)[2] == "selfies          x  0.25"


@pytest.mark.parametrize(
    ("value", "scale", "text"),
    [(0.93456, 1, "0.9346"), (0.0456, 1e3, "45.60"), (123.456, 1, "123.46"), (None, 1, "-")],
)
def test_figures(value, scale, text):
    assert util.figure(value, scale) == text
