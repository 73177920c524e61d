"""Loads the ImageNet weights of EfficientNet-Lite0 into `lite_unet`.

`efficientnet_lite0.npz` contains the layers that `lite_unet` has, as float16 arrays with names such
as `stem/kernel`. It was made by `make_efficientnet_lite0.py`; `efficientnet_lite0.LICENSE` states
its source.
"""

from pathlib import Path

import keras
import numpy as np

from portrait.errors import UserError
from portrait.models import lite_unet
from portrait.models.start import slimming
from portrait.models.weights import load_weights, read_arrays, weights_file
from portrait.util import evenly

SHIPPED = Path(__file__).with_suffix(".npz")
_PICTURES = 96  # at most, for measuring which channels of the big network matter


def start(model: keras.Model, path: Path | None, pictures: np.ndarray) -> None:
    """Loads the initial weights of a `lite_unet`.

    The big network gets the encoder's weights. The small network gets all of its weights from the
    big network by channel pruning (`slimming.py`).

    Args:
        model: a `lite_unet`, big or small.
        path: an `.npz` file with the arrays of `SHIPPED`, which None stands for. The small network
            also takes trained weights of the big one, as a file or a run's folder.
        pictures: typical training pictures, uint8 (N, H, W, 3), of the network's size. Only the
            small network needs them.

    Raises:
        UserError: the file does not exist, or does not contain these weights.
    """
    path = path or SHIPPED
    small = model.name == "lite_unet_small"
    big = lite_unet.build(model.input_shape[1:3], "big") if small else model
    if path.suffix == ".npz":
        _fill(big, path)
    elif small:
        load_weights(big, weights_file(path))
    else:
        raise UserError(f"{path}: {model.name} starts from an .npz file of EfficientNet-Lite0")
    if small:
        slimming.slim(big, model, np.stack(evenly(pictures, _PICTURES)))


def _fill(model: keras.Model, path: Path) -> None:
    """Sets the encoder's weights from the file; an error leaves all weights unchanged."""
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
