"""Networks and styles from files, by either engine."""

import json

import numpy as np
import pytest
from skimage import data

from metrics import person_iou
from portrait.effects import styles
from portrait.errors import UserError
from portrait.inference import network as networks
from portrait.io.images import resize

PORTRAIT = np.ascontiguousarray(data.astronaut()[:448, 40:376])


def test_the_shipped_network_finds_a_person():
    network = networks.load()
    small = resize(PORTRAIT, network.input_shape)
    alpha = network.run(small)
    assert (alpha.shape, alpha.dtype) == (network.input_shape, np.float32)
    height, width = alpha.shape
    assert alpha[height // 3, width // 2] > 0.9 and alpha[5, 5] < 0.1
    assert np.array_equal(network.run(small.astype(np.float32)), alpha)


def test_names_are_those_of_rgb_files():
    names = networks.shipped_files()
    assert {"fast_scnn", "lite_unet_big", "lite_unet_big_288x224"} <= set(names)
    assert not any("rgba" in name for name in names)
    assert names["fast_scnn"].name == "fast_scnn_float16.tflite"
    assert networks.load(networks.DEFAULT).input_shape == (288, 224)


def test_files_are_named_where_they_are_wrong(tmp_path):
    with pytest.raises(UserError, match=r"there is no network 'resnet': give .*fast_scnn"):
        networks.load("resnet")
    with pytest.raises(UserError, match="there is no file"):
        networks.load(str(tmp_path / "gone.tflite"))
    (tmp_path / "bad.tflite").write_bytes(b"no network")
    with pytest.raises(UserError, match="LiteRT does not load it"):
        networks.load(str(tmp_path / "bad.tflite"))
    with pytest.raises(UserError, match="from a picture to a picture"):
        styles.load(str(networks.SHIPPED / "fast_scnn" / "fast_scnn_float16.tflite"))


@pytest.mark.slow
def test_both_engines_agree():
    small = resize(PORTRAIT, (288, 224))
    tflite, keras = networks.load().run(small), networks.load(engine="keras").run(small)
    # Weights of half precision.
    assert np.abs(tflite - keras).max() < 2e-3
    assert person_iou(tflite, keras) > 0.999


@pytest.fixture(scope="module")
def tflite_files(tmp_path_factory):
    """A style that swaps red and blue, and a network of RGBA and bytes that takes red for alpha."""
    import tensorflow as tf

    def write(name, function, shape, dtypes=None):
        signature = [tf.TensorSpec(shape, tf.float32)]
        concrete = tf.function(function, input_signature=signature).get_concrete_function()
        converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete], tf.Module())
        if dtypes:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.representative_dataset = lambda: iter(
                [[np.linspace(0, 255, np.prod(shape), dtype=np.float32).reshape(shape)]] * 2
            )
            converter.inference_input_type = converter.inference_output_type = dtypes
        path = folder / name
        path.write_bytes(converter.convert())
        return path

    folder = tmp_path_factory.mktemp("tflite")
    red = np.float32([[[[1 / 255], [0], [0], [0]]]])
    swap = np.eye(3, dtype=np.float32)[::-1].reshape(1, 1, 3, 3)
    return (
        write("swap.tflite", lambda x: tf.nn.conv2d(x, swap, 1, "SAME"), (1, 32, 48, 3)),
        write("red.tflite", lambda x: tf.nn.conv2d(x, red, 1, "SAME"), (1, 32, 24, 4), tf.uint8),
    )


@pytest.mark.slow
def test_a_style_from_a_tflite_file(tflite_files):
    picture = np.full((70, 90, 3), (200, 100, 10), np.uint8)
    painted = styles.load(str(tflite_files[0]))(picture)
    assert (painted.dtype, painted.shape) == (np.uint8, picture.shape)
    assert np.abs(painted.astype(int) - (10, 100, 200)).max() <= 1


@pytest.mark.slow
def test_a_quantised_network_of_rgba(tflite_files):
    network = networks.load(str(tflite_files[1]))
    assert network.input_shape == (32, 24)
    image = np.zeros((32, 24, 3), np.uint8)
    image[10:20, :, 0] = 255
    alpha = network.run(image)
    assert alpha.dtype == np.float32
    # Steps of 1/256 at both ends.
    assert alpha == pytest.approx(image[..., 0] / 255.0, abs=0.02)


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
    small = paint(np.ascontiguousarray(PORTRAIT[:70, :90]))
    assert (small.dtype, small.shape) == (np.uint8, (70, 90, 3))
    first, second = (styles.load(f"{tmp_path}{style}") for style in (":udnie", ":wave:2"))
    assert np.array_equal(first(PORTRAIT[:70, :90]), small)
    assert (second(PORTRAIT[:70, :90]) != small).any()
    with pytest.raises(UserError, match="the styles are udnie, wave"):
        styles.load(f"{tmp_path}:scream")
    with pytest.raises(UserError, match="too small"):
        paint(np.zeros((3, 4, 3), np.uint8))
