"""Tests that entries of the registry exist and agree with the documentation."""

import re

import pytest
from project import ROOT

from portrait.errors import UserError
from portrait.models import registry
from portrait.models.registry import SPECS, Spec


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_what_an_entry_names_exists(spec):
    assert SPECS[spec.name] is spec
    assert bool(spec.builder) != bool(spec.matte)
    for place in filter(None, (spec.builder, spec.start, spec.matte)):
        assert callable(registry.imported(place))
    assert bool(spec.takes) == bool(spec.start)
    assert spec.start or not (spec.imagenet or spec.complete)
    registry.parse_input_shape(spec.input_shape)


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_full_names_and_their_parts(spec):
    assert len({*spec.names}) == max(1, len(spec.sizes))
    for name, size in zip(spec.names, spec.sizes or registry.SIZES[:1], strict=True):
        assert registry.full_name(spec.name, size) == name
        assert registry.split_name(name) == (spec.name, size)


def test_names_of_nothing():
    with pytest.raises(UserError, match=r"'unet'.*mattingnet"):
        registry.find("unet")
    with pytest.raises(UserError, match="kmeans"):
        registry.builder("kmeans")
    with pytest.raises(UserError, match=r"--model_size=deep: mattingnet.*big, small"):
        registry.builder("mattingnet", "deep")
    assert registry.split_name("mattingnet_deep") == ("mattingnet_deep", registry.SIZES[0])


def test_what_cannot_be_exported():
    registry.check_exportable("mattingnet_small")
    with pytest.raises(UserError, match="portrait_fcn_plus"):
        registry.check_exportable("portrait_fcn_plus")


def row(spec: Spec) -> list[str]:
    """Returns the cells of a network in the table of docs/extending.md."""
    start = "random weights" if spec.builder else "no weights"
    exported = "yes" if spec.builder and not spec.unexportable else "no"
    return [
        *(f"`{spec.name}`", spec.title, ", ".join(spec.sizes), spec.input_shape),
        *("ImageNet" if spec.imagenet else start, exported),
    ]


def test_the_table_of_the_networks_says_what_the_entries_say():
    page = (ROOT / "docs" / "extending.md").read_text()
    section = page.partition("\n## Networks\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if re.match(r"\| `", line)]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert cells == [row(spec) for spec in SPECS.values()]
