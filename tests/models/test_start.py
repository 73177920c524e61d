"""Tests the values of `--start`; the tiny network's "ImageNet weights" are 1."""

import numpy as np
import pytest
import tiny_network
import tiny_spec

from portrait.errors import UserError
from portrait.models.registry import SPECS
from portrait.models.start.start import check_source, start

PICTURES = tiny_network.pictures(1)


def started(source: str) -> float:
    """The bias of the network's last layer after `start`; 0 before."""
    model = tiny_network.build()
    start(model, source, PICTURES)
    return float(np.asarray(model.get_layer("output").bias)[0])


@pytest.mark.parametrize(
    ("imagenet", "source", "expected"),
    [(True, "", 1), (True, "imagenet", 1), (True, "none", 0), (False, "", 0), (False, "none", 0)],
)
def test_names(monkeypatch, imagenet, source, expected):
    tiny_spec.register(monkeypatch, imagenet=imagenet)
    assert started(source) == expected


def test_a_file(monkeypatch, tmp_path):
    tiny_spec.register(monkeypatch, imagenet=True)
    (tmp_path / "three").write_text("3")
    assert started(str(tmp_path / "three")) == 3


def test_what_there_is_not(monkeypatch, tmp_path):
    tiny_spec.register(monkeypatch)
    with pytest.raises(UserError, match=r"--start=imagenet.*tiny"):
        started("imagenet")
    with pytest.raises(UserError, match=f"--start={tmp_path / 'gone'}"):
        started(str(tmp_path / "gone"))
    tiny_spec.register(monkeypatch, start="")
    (tmp_path / "three").write_text("3")
    with pytest.raises(UserError, match=f"--start={tmp_path / 'three'}.*tiny"):
        started(str(tmp_path / "three"))


@pytest.mark.parametrize("name", SPECS)
def test_every_network_starts_from_what_its_entry_says(name, tmp_path):
    """As far as names tell; networks whose files are wrong say so themselves."""
    spec = SPECS[name]
    (tmp_path / "file").touch()
    check_source(name, "")
    check_source(name, "none")
    for source, is_taken in (("imagenet", spec.imagenet), (str(tmp_path / "file"), spec.start)):
        if is_taken:
            check_source(name, source)
            continue
        with pytest.raises(UserError, match=f"--start={source}"):
            check_source(name, source)
