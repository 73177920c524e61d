"""Tests the formats against the documentation."""

import re
from fractions import Fraction

import pytest
from project import ROOT

from portrait.export.formats import FORMATS, RGBA_FORMATS, load_format


def test_android_has_the_formats_that_are_known_to_be_its():
    assert {name for name in FORMATS if load_format(name).rgba} == set(RGBA_FORMATS)


EIGHT_BITS = ("int8", "uint8", "mlpackage_int8", "mlpackage_palettized")


@pytest.mark.parametrize(
    ("row", "names"),
    [
        ("float32", ("float32", "mlpackage_float32", "mlmodel")),
        ("float16 (TFLite, Core ML)", ("float16", "mlpackage_float16")),
        ("`dynamic`", ("dynamic",)),
        ("8 bits", EIGHT_BITS),
    ],
)
def test_how_far_a_file_may_be_off_is_what_the_documentation_says(row, names):
    """In the table under "What is checked": the alpha, its mean, and the two IoUs."""
    page = (ROOT / "docs" / "export.md").read_text()
    table = page.partition("## What is checked")[2]
    ((line),) = re.findall(rf"^\| {re.escape(row)}.*$", table, re.MULTILINE)
    _, *limits = (cell.strip() for cell in line.strip("|").split("|"))
    numbers = [re.match(r"[\d./]+", limit) for limit in limits]
    expected = [float(Fraction(number[0])) if number else None for number in numbers]
    for name in names:
        tolerance = load_format(name).tolerance
        limits = [tolerance.largest, tolerance.mean, tolerance.iou, tolerance.boundary]
        assert limits == expected, name
