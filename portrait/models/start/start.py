"""Loads the initial weights of a network that is trained, `--start`."""

from pathlib import Path

import numpy as np

from portrait.errors import UserError
from portrait.models.registry import find, imported, split_name


def start(model, source: str, pictures: np.ndarray, **options) -> None:
    """Loads the initial weights of a network.

    Args:
        model: a `keras.Model` from `models.build.build`.
        source: "imagenet"; "none", which keeps the random weights; or a file or a run's folder, see
            `Spec.takes`. Empty: "imagenet" if the network has such weights, otherwise "none".
        pictures: typical training pictures, uint8 (N, H, W, 3), of the network's size.
        options: further arguments of the network's function `Spec.start`.

    Raises:
        UserError: the weights do not exist, or do not fit the network.
    """
    spec = find(split_name(model.name)[0])
    check_source(spec.name, source)
    if source == "none" or (not source and not spec.imagenet):
        return
    path = None if source in ("", "imagenet") else Path(source)
    imported(spec.start)(model, path, pictures, **options)


def check_source(name: str, source: str) -> None:
    """Raises UserError if `source` does not exist or is no source for the network `name`."""
    spec = find(name)
    if source in ("", "none", "imagenet"):
        if source == "imagenet" and not spec.imagenet:
            raise UserError(f"--start=imagenet: there are no ImageNet weights for {name}")
        return
    if not spec.start:
        raise UserError(
            f"--start={source}: {name} starts from random weights (--start=none) or from trained "
            "ones (--weight_dir=FILE)"
        )
    if not Path(source).exists():
        raise UserError(f"--start={source}: there is no such file")
