"""Tests styles that effects load from files."""

import json

import numpy as np
import pytest
import tiny_tflite
from skimage import data

from portrait.effects import styles
from portrait.errors import UserError
from portrait.inference.network import shipped_files

PICTURE = np.ascontiguousarray(data.astronaut()[:70, 40:130])


def test_a_style_from_a_tflite_file(tmp_path):
    """A style that swaps red and blue."""
    path = tmp_path / "swap.tflite"
    path.write_bytes(tiny_tflite.convolution((32, 48), np.eye(3)[::-1]))
    picture = np.full((70, 90, 3), (200, 100, 10), np.uint8)
    painted = styles.load(str(path))(picture)
    assert (painted.dtype, painted.shape) == (np.uint8, picture.shape)
    assert np.abs(painted.astype(int) - (10, 100, 200)).max() <= 1


def test_a_tflite_file_of_another_shape_does_not_distort(tmp_path):
    """A square picture gets the left half of a network that is twice as wide as high."""
    pattern = np.zeros((32, 64, 3), np.float32)
    pattern[:, 32:] = 100
    path = tmp_path / "half.tflite"
    path.write_bytes(tiny_tflite.convolution((32, 64), np.eye(3), pattern))
    assert (styles.load(str(path))(np.full((96, 96, 3), 50, np.uint8)) == 50).all()


def test_strength_is_the_opacity_of_the_style(tmp_path):
    path = tmp_path / "swap.tflite"
    path.write_bytes(tiny_tflite.convolution((32, 48), np.eye(3)[::-1]))
    full = styles.load(str(path))(PICTURE)
    assert np.array_equal(styles.load(str(path), strength=0)(PICTURE), PICTURE)
    half = styles.load(str(path), strength=0.5)(PICTURE)
    assert np.abs(half - (np.float32(full) + PICTURE) / 2).max() <= 0.5


def test_a_segmenter_is_no_style():
    file = shipped_files()["fast_scnn"]
    with pytest.raises(UserError, match=file.name):
        styles.load(str(file))


@pytest.mark.slow
def test_a_style_that_stylize_has_trained(tmp_path):
    from portrait.style_transfer import transform_net

    network = transform_net.build(size="small", styles=2)
    random = np.random.default_rng(0)  # fresh styles are alike
    network.set_weights(
        [each + random.normal(0, 0.1, each.shape) for each in network.get_weights()]
    )
    network.save_weights(tmp_path / "style.weights.h5")
    settings = {"styles": ["udnie", "wave"], "flags": {"model_size": "small"}}
    (tmp_path / "run.json").write_text(json.dumps(settings))
    paint = styles.load(str(tmp_path / "style.weights.h5"))
    small = paint(PICTURE)
    assert (small.dtype, small.shape) == (np.uint8, (70, 90, 3))
    assert (styles.load(f"{tmp_path}:wave:2")(PICTURE) != small).any()
    with pytest.raises(UserError, match="udnie, wave"):
        styles.load(f"{tmp_path}:scream")
    with pytest.raises(UserError):
        paint(np.zeros((3, 4, 3), np.uint8))
    # Frames are painted by LiteRT, and like a photo if there is none before.
    frames = paint.video()
    assert np.abs(frames(PICTURE).astype(int) - small).max() <= 1
    smaller = styles.load(str(tmp_path / "style.weights.h5"), size=40)
    assert smaller(PICTURE).shape == PICTURE.shape and (smaller(PICTURE) != small).any()
