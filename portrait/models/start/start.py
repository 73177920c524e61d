"""Where the weights of a fresh network come from: `--start`."""

from pathlib import Path

import numpy as np

from portrait.errors import UserError
from portrait.models.registry import find, imported, split_name


def start(model, source: str, pictures: np.ndarray, **options) -> None:
    """Fills a fresh network with the weights that its training starts from.

    Args:
        model: a `keras.Model` as `models.build.build` makes it.
        source: "imagenet"; "none", which leaves the random weights; or a file or the folder of a
            run, see `Spec.takes`. Empty: "imagenet" where the network has such weights.
        pictures: uint8 (N, H, W, 3) of the network's size, such as it will be trained on.
        options: of the network's own function, `Spec.start`.

    Raises:
        UserError: there are no such weights, or they do not fit the network.
    """
    spec = find(split_name(model.name)[0])
    check_source(spec.name, source)
    if source == "none" or (not source and not spec.imagenet):
        return
    path = None if source in ("", "imagenet") else Path(source)
    imported(spec.start)(model, path, pictures, **options)


def check_source(name: str, source: str) -> None:
    """Raises UserError if the network `name` cannot start from `source`, as far as names tell."""
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
