"""The network of tiny_network.py as an entry of the registry, called "tiny"."""

import dataclasses
from pathlib import Path

import keras
import numpy as np
import pytest

from portrait.models import registry

SPEC = registry.Spec(
    "tiny",
    "a network for tests",
    "tiny_network:build",
    input_shape="64x32",
    start="tiny_spec:fill",
    takes="a text file with a number",
)


def fill(
    model: keras.Model, path: Path | None, pictures: np.ndarray, exactly: bool = False
) -> None:
    """Sets the biases of the heads to the number in a file, or to 1 as "ImageNet's weights"."""
    for name in ("output", "boundary_attention"):
        bias = model.get_layer(name).bias
        bias.assign(np.full(bias.shape, float(path.read_text()) if path else 1.0))


def register(patch: pytest.MonkeyPatch, **changes) -> None:
    """Adds the network to the registry for as long as `patch` holds.

    Args:
        patch: undoes it.
        changes: attributes of the entry that differ from those of `SPEC`.
    """
    patch.setitem(registry.SPECS, "tiny", dataclasses.replace(SPEC, **changes))
