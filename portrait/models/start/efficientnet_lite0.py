"""EfficientNet-Lite0's ImageNet weights, from which `lite_unet` starts.

`efficientnet_lite0.npz` holds the layers that `lite_unet` has, in float16 and under their names
(`stem/kernel`). `make_efficientnet_lite0.py` made the file, `efficientnet_lite0.LICENSE` names its
source.
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
_PICTURES = 96  # at most so many show which channels of the big network matter


def start(model: keras.Model, path: Path | None, pictures: np.ndarray) -> None:
    """Fills the encoder of a fresh `lite_unet`; the small network gets all of its weights.

    The small network is cut out of the big one (`slimming.py`).

    Args:
        model: a `lite_unet`, big or small.
        path: an `.npz` file like `SHIPPED`; None: `SHIPPED`. The small network also takes trained
            weights of the big one, as a file or a run's folder.
        pictures: uint8 (N, H, W, 3) in 0..255, of the network's size, such as it will be trained
            on. Only the small network needs them.

    Raises:
        UserError: there is no such file, or it holds something else.
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
    """Gives the layers of the encoder the arrays of the file: all, or none on an error."""
    arrays = read_arrays(path)
    encoder = [layer for layer in model.layers if layer.name.startswith(("stem", "stage"))]
    weights = {f"{layer.name}/{each.name}": each for layer in encoder for each in layer.weights}
    for name, weight in weights.items():
        found, shape = arrays.get(name), tuple(weight.shape)
        if found is None or found.shape != shape or found.dtype.kind != "f":
            it = "missing" if found is None else f"{found.dtype} {found.shape}"
            raise UserError(
                f"{path} does not hold EfficientNet-Lite0's weights: {name} is {it}, not a float "
                f"array {shape}"
            )
    for name, weight in weights.items():
        weight.assign(arrays[name].astype(np.float32))
