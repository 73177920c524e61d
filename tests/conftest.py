"""Fixtures that several test files share."""

import os
from pathlib import Path

import numpy as np
import pytest
import tiny_portraits
import tiny_tflite
from PIL import Image
from project import ROOT


@pytest.fixture(scope="session")
def portrait_data() -> Path:
    """The folder of real data (`portraits/`, `photos/`, ...), which a user does not have."""
    folder = Path(os.environ.get("PORTRAIT_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "portraits").is_dir():
        pytest.skip("no real data: set PORTRAIT_DATA to the folder that holds portraits/")
    return folder


@pytest.fixture(scope="module")
def eager():
    """Makes TensorFlow run functions op by op, because tracing takes longer than a few steps."""
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture(scope="module")
def portrait(tmp_path_factory):
    """A portrait of scikit-image as a file."""
    from skimage import data

    path = tmp_path_factory.mktemp("photos") / "me.jpg"
    Image.fromarray(data.astronaut()[:448, 40:376]).save(path, quality=95)
    return path


@pytest.fixture(scope="module")
def red(tmp_path_factory):
    """A network whose alpha is the red channel, without metadata."""
    path = tmp_path_factory.mktemp("networks") / "red.tflite"
    path.write_bytes(tiny_tflite.convolution((56, 42), (1, 0, 0), stated=False))
    return path


@pytest.fixture
def street(tmp_path):
    """Six whole bodies, in the layout of PFCN+."""
    folder = tmp_path / "street" / "training"
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    for number in range(6):
        mask = tiny_portraits.standing(left=60 + 20 * number)
        photo = random.integers(0, 99, (*mask.shape, 3), np.uint8) + mask[..., None] // 2
        Image.fromarray(photo).save(folder / f"{number:05}.jpg", quality=90)
        Image.fromarray(mask).save(folder / f"{number:05}_matte.png")
    return folder.parent
