"""The shipped files for GPUs, and the pictures on which the tests run them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from project import ROOT

from portrait.data.sample.sample import sample_portrait
from portrait.io.images import resize
from portrait.models import registry
from portrait.tflite import graph
from portrait.tflite.runtime import TfliteModel

SHIPPED = sorted(
    file
    for file in (ROOT / "trained_models").glob("*/*float16.tflite")
    if not registry.takes_alpha(file.parent.name)
)
# The network for phones, and one without normalisation layers, whose activations have a wide range.
# A software GPU needs up to a minute for a file of the others.
_QUICK = ("selfie_net_big", "mattingnet_small")
_REAL = ROOT.parent / "shared" / "data" / "portraits" / "selfies" / "testing"


def parameters(files: list[Path] = SHIPPED) -> list:
    """Returns the files as parameters of a test; only those of `_QUICK` are not slow."""
    return [
        pytest.param(
            path, id=path.stem, marks=() if path.parent.name in _QUICK else pytest.mark.slow
        )
        for path in files
    ]


def pictures(file: Path) -> np.ndarray:
    """Three portraits of the file's size, uint8 RGB (3, H, W, 3).

    Photographs of the data sets if they are available, or three parts of the built-in photograph.
    """
    size = TfliteModel(file, file.name).input_shape
    if _REAL.is_dir():
        paths = sorted(_REAL.glob("*[0-9].jpg"))[::50][:3]
        photos = [np.asarray(Image.open(path).convert("RGB")) for path in paths]
    else:
        photo, _ = sample_portrait()
        height, width = photo.shape[:2]
        photos = [photo, photo[:, width // 4 :], photo[: 3 * height // 4]]
    return np.stack([resize(photo, size) for photo in photos])


def overflowing(file: Path) -> bytes:
    """Returns the network of a file with activations beyond the range of float16.

    They occur in the middle of separable convolutions, whose depthwise kernels are multiplied by
    2^14, and pointwise kernels by 2^-14.
    """
    model = graph.parse(file.read_bytes())
    main = model.subgraphs[0]
    names = [graph.op_name(code) for code in model.operatorCodes]
    maker = {op.outputs[0]: op for op in main.operators}

    def multiply(tensor: int, factor: float) -> None:
        while tensor in maker:  # DEQUANTIZE of float16 values
            tensor = maker[tensor].inputs[0]
        buffer = model.buffers[main.tensors[tensor].buffer]
        kind = np.float16 if main.tensors[tensor].type == 1 else np.float32
        values = np.asarray(buffer.data, np.uint8).view(kind)
        buffer.data = (values.astype(np.float32) * factor).astype(kind).view(np.uint8)

    for op in main.operators:
        before = maker.get(op.inputs[0])
        pair = before and (names[before.opcodeIndex], names[op.opcodeIndex])
        if pair == ("DEPTHWISE_CONV_2D", "CONV_2D"):
            multiply(before.inputs[1], 2.0**14)
            multiply(op.inputs[1], 2.0**-14)
    return graph.pack(model)
