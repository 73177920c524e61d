"""VGG16 with random weights and transform networks whose styles differ, for tests."""

import contextlib
import functools
import json
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import pytest

from portrait.models import vgg16
from portrait.style_transfer import transform_net


@functools.cache
def random_vgg() -> dict[str, np.ndarray]:
    """He-normal weights, with which activations neither vanish nor explode."""
    rng = np.random.default_rng(0)
    weights, inputs = {}, 3
    for layer in vgg16.LAYERS:
        filters = vgg16.BLOCKS[int(layer[5]) - 1][0]
        scale = np.float32(np.sqrt(2 / (9 * inputs)))
        kernel = rng.standard_normal((3, 3, inputs, filters), np.float32) * scale
        weights |= {f"{layer}/kernel": kernel, f"{layer}/bias": np.zeros(filters, np.float32)}
        inputs = filters
    return weights


@contextlib.contextmanager
def tiny_vgg() -> Iterator[dict[str, np.ndarray]]:
    """Gives VGG16 eight filters in every convolution meanwhile; yields random weights for it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vgg16, "BLOCKS", tuple((8, count) for _, count in vgg16.BLOCKS))
        yield random_vgg.__wrapped__()


@contextlib.contextmanager
def tiny() -> Iterator[None]:
    """Gives small transform networks one residual block and few channels meanwhile."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transform_net, "RESIDUAL_BLOCKS", 1)
        patch.setitem(transform_net.CHANNELS, "small", (4, 8, 16))
        yield


def random_network(styles: int, input_shape=(None, None)):
    """A small transform network whose styles differ."""
    rng = np.random.default_rng(1)
    keras.utils.set_random_seed(1)  # the kernels
    network = transform_net.build(input_shape, "small", styles)
    for layer in network.layers:
        if layer.name.startswith("affine_"):
            layer.set_weights([rng.normal(0, 0.03, each.shape) for each in layer.get_weights()])
    return network


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Uint8 (height, width, 3): noise over a gradient, so that no two areas are alike."""
    rng = np.random.default_rng(seed)
    ramp = np.add.outer(np.linspace(0, 100, height), np.linspace(0, 100, width))
    return (ramp[..., None] + rng.uniform(0, 55, (height, width, 3))).astype(np.uint8)


def write_run(folder: Path, network, names: list[str]) -> Path:
    """Writes the files of a training that painting needs; returns the folder."""
    folder.mkdir(parents=True)
    network.save_weights(folder / "0001-1.0000.weights.h5")
    about = {"flags": {"model_size": "small"}, "styles": names}
    (folder / "run.json").write_text(json.dumps(about))
    return folder
