"""Tests that choices and help of the flags of main.py come from the registries."""

import re

import pytest

from portrait import losses
from portrait.commands.flags import FLAGS
from portrait.data.reading import CACHES
from portrait.export.formats import FORMATS
from portrait.matting.refine import METHODS
from portrait.models.registry import SPECS
from portrait.training.recipe import SCHEDULES


@pytest.mark.parametrize(
    ("flag", "expected"),
    [
        ("model", SPECS),
        ("model_size", {size for spec in SPECS.values() for size in spec.sizes}),
        ("loss", losses.MATTE_WEIGHTS),
        ("schedule", SCHEDULES),
        ("cache", CACHES),
        ("refine", {"none", *METHODS}),
    ],
)
def test_choices_are_those_of_the_modules(flag, expected):
    assert set(FLAGS[flag].parser.enum_values) == set(expected)


def test_the_help_names_all_formats():
    (names,) = re.findall(r"export: (.*)\. Default", FLAGS["formats"].help)
    assert set(re.findall(r"\w+(?=[,;]| \(|$)", names)) == FORMATS.keys()


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_the_help_has_what_the_registry_says_of_a_network(spec):
    if spec.sizes:
        assert f"{spec.name}: {', '.join(spec.sizes)}" in FLAGS["model_size"].help
    if spec.takes:
        assert re.search(rf"\b{spec.name}\b[\w, ]*: {re.escape(spec.takes)}", FLAGS["start"].help)
    for flag, field in (
        ("input_shape", "input_shape"),
        ("lr", "learning_rate"),
        ("lr", "tuned_learning_rate"),
    ):
        value, usual = getattr(spec, field), getattr(type(spec), field)
        exception = re.search(rf"\b{value} for [\w, ]*\b{spec.name}\b", FLAGS[flag].help)
        assert bool(exception) == (value != usual)
