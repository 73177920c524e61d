"""Loads the ImageNet weights of EfficientNet-Lite0 into `lite_unet`.

`efficientnet_lite0.npz` contains the layers that `lite_unet` has, as float16 arrays with names such
as `stem/kernel`. It was made by `make_efficientnet_lite0.py`; `efficientnet_lite0.LICENSE` states
its source.
"""

from pathlib import Path

import keras
import numpy as np

from portrait.errors import UserError
from portrait.models.weights import read_arrays

SHIPPED = Path(__file__).with_suffix(".npz")


def start(model: keras.Model, path: Path | None, pictures: np.ndarray) -> None:
    """Loads the encoder's initial weights of a `lite_unet`, for `models.start.start`.

    Args:
        model: a `lite_unet`.
        path: an `.npz` file with the arrays of `SHIPPED`, which None stands for.
        pictures: unused.

    Raises:
        UserError: the file does not exist, or does not contain these weights. The weights of
            `model` are unchanged.
    """
    path = path or SHIPPED
    if path.suffix != ".npz":
        raise UserError(f"{path}: {model.name} starts from an .npz file of EfficientNet-Lite0")
    arrays = read_arrays(path)
    encoder = [layer for layer in model.layers if layer.name.startswith(("stem", "stage"))]
    weights = {f"{layer.name}/{each.name}": each for layer in encoder for each in layer.weights}
    for name, weight in weights.items():
        found, shape = arrays.get(name), tuple(weight.shape)
        if found is None or found.shape != shape or found.dtype.kind != "f":
            it = "missing" if found is None else f"{found.dtype} {found.shape}"
            raise UserError(
                f"{path} does not contain EfficientNet-Lite0's weights: {name} is {it}, not a "
                f"float array {shape}"
            )
    for name, weight in weights.items():
        weight.assign(arrays[name].astype(np.float32))
