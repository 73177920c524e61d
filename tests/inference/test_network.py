"""Tests loading of trained networks from names, files and folders."""

from pathlib import Path

import numpy as np
import pytest
import tiny_network
import tiny_tflite
from skimage import data

from metrics import person_iou
from portrait.errors import UserError
from portrait.inference import network as networks
from portrait.inference.network import Network
from portrait.io.images import resize
from portrait.models.build import build
from portrait.models.registry import DEFAULT
from portrait.models.weights import SHIPPED

PORTRAIT = np.ascontiguousarray(data.astronaut()[:448, 40:376])
SIZE = (32, 24)


def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)


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
    assert {"fast_scnn", "mattingnet_small", DEFAULT} <= set(names)
    assert not any("rgba" in name for name in names)
    assert names["fast_scnn"].name == "fast_scnn_float16.tflite"
    for name in ("selfie_net_big_256x256", "selfie_net_big"):  # the latter is its folder
        assert networks.load(name).input_shape == (256, 256)


def test_files_are_named_where_they_are_wrong(tmp_path):
    (tmp_path / "bad.tflite").write_bytes(b"no network")
    (tmp_path / "alone.weights.h5").touch()
    for source in ("resnet", tmp_path / "gone.tflite", tmp_path / "bad.tflite"):
        with pytest.raises(UserError, match=Path(source).name):
            networks.load(source)
    for name in ("gone", "alone"):  # the second has no run.json
        with pytest.raises(UserError, match=rf"{name}\.weights\.h5"):
            networks.load(tmp_path / f"{name}.weights.h5")


ONE = b"\1\0\0\0\0\0\x80\x3f"  # the std in the metadata: one number, 1.0


@pytest.mark.parametrize(
    "changed",
    [
        lambda data: b"\xff\xff\xff\x7f" + data[4:],  # the place of the first table
        lambda data: data.replace(ONE, ONE[:4] + bytes(4), 1),  # a std of 0
    ],
)
def test_metadata_that_cannot_be_used_are_one_line(changed, tmp_path):
    file = tiny_tflite.convolution(SIZE)
    start = file.index(b"M001") - 4
    (tmp_path / "own.tflite").write_bytes(file[:start] + changed(file[start:]))
    with pytest.raises(UserError, match=r"own\.tflite: cannot read its metadata"):
        networks.load(tmp_path / "own.tflite")


def test_weights_and_the_file_made_of_them_agree():
    weights = networks.load(SHIPPED / "selfie_net_big")
    assert weights.input_shape == (256, 256)  # as it was trained
    small = resize(PORTRAIT, (256, 256))
    tflite, keras = networks.load("selfie_net_big_256x256").run(small), weights.run(small)
    # Weights of half precision change single pixels of steep outlines more.
    assert np.abs(tflite - keras).mean() < 1e-3
    assert person_iou(tflite, keras) > 0.999


@pytest.mark.parametrize(
    ("pixels", "expected"),
    [
        ("0..1", picture()[..., 0] / 255),
        ("-1..1", (picture()[..., 0] / 127.5 - 1)),
        ("0..255", picture()[..., 0]),
    ],
)
def test_pixels_are_scaled_as_the_file_wants(pixels, expected, tmp_path):
    path = tmp_path / "red.tflite"
    path.write_bytes(tiny_tflite.convolution(SIZE, (1, 0, 0), stated=False))
    network = networks.load(path, input_range=pixels)
    np.testing.assert_allclose(network.run(picture()), expected, rtol=1e-5, atol=1e-6)
    networks.check_input_range(network, pixels)
    with pytest.raises(UserError, match=r"red\.tflite .*--input_range"):
        networks.load(path)


def test_an_input_range_that_is_unknown_or_has_no_effect_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"--input_range=banana: give 0\.\.1"):
        networks.load(input_range="banana")
    (tmp_path / "red.tflite").write_bytes(tiny_tflite.convolution(SIZE, (1, 0, 0)))
    stated = networks.load(tmp_path / "red.tflite", input_range="0..1")
    with pytest.raises(UserError, match=r"no effect on red\.tflite"):
        networks.check_input_range(stated, "0..1")
    networks.check_input_range(stated, "")


def test_a_fourth_channel_is_opaque():
    file = tiny_tflite.convolution(SIZE, (0, 0, 0, 1 / 255))
    network = networks.from_tflite(file, "opaque")
    assert network.channels == 4
    assert network.run(picture()) == pytest.approx(np.ones(SIZE))


def test_the_alpha_before_is_empty_unless_it_is_given(tmp_path):
    """A file that answers with its fourth channel, and says that this is the alpha before."""
    path = tmp_path / "mine.tflite"
    path.write_bytes(tiny_tflite.convolution(SIZE, (0, 0, 0, 1 / 255), name="selfie_net_video_big"))
    network = networks.load(path)
    assert network.takes_previous and not networks.load().takes_previous
    before = picture()[..., 1]
    for image in (picture(), picture().astype(np.float32)):
        given = network.run(np.dstack([image, before]))
        assert given == pytest.approx(before / 255, abs=1e-6)
        assert not network.run(image).any()
    assert not network.matte(picture()).any()


def test_a_keras_network_for_videos_takes_the_alpha_before(tmp_path):
    model = build("selfie_net_video", (64, 32), "small")
    plain = np.random.default_rng(1).normal(0, 0.1, (3, 3, 4, 16))
    model.get_layer("stem").set_weights([plain])
    network = networks.from_keras(model)
    assert network.takes_previous and network.input_shape == (64, 32)
    image = np.full((64, 32, 3), 90, np.uint8)
    empty, full = (np.dstack([image, np.full((64, 32), each, np.uint8)]) for each in (0, 255))
    assert np.array_equal(network.run(image), network.run(empty))
    assert not np.allclose(network.run(image), network.run(full), atol=1e-4)
    tiny = networks.from_keras(tiny_network.build())
    assert not tiny.takes_previous and tiny.channels == 3


def test_what_gives_no_alpha_is_no_segmenter():
    with pytest.raises(UserError, match="classes"):
        networks.from_tflite(tiny_tflite.convolution(SIZE, np.eye(3)), "classes")


def test_a_network_of_this_process_answers_with_its_alpha():
    model = tiny_network.build()
    (image,) = tiny_network.pictures(1)
    network = networks.from_keras(model)
    assert (network.name, network.input_shape) == (model.name, tiny_network.SIZE)
    expected = np.asarray(model(image[None].astype(np.float32))["output"])[0, ..., 0]
    assert network.run(image) == pytest.approx(expected, abs=1e-5)


def test_a_network_s_matte_has_the_photograph_s_size():
    """A network that returns the position of the column, for squeezed pictures."""
    seen = []

    def run(image):
        seen.append(image)
        return np.tile(np.linspace(0, 1, 12, dtype=np.float32), (16, 1))

    image = np.zeros((64, 96, 3), np.uint8)
    image[:, 48:] = (250, 0, 100)
    alpha = Network("columns", (16, 12), run).matte(image)
    assert (seen[0].shape, seen[0].dtype) == ((16, 12, 3), np.float32)
    assert np.array_equal(np.unique(seen[0][..., 0]), [0, 250])
    assert (seen[0][:, 6:] == (250, 0, 100)).all()
    assert (alpha.shape, alpha.dtype) == ((64, 96), np.float32)
    # Column x of 96 lies at (x + 1/2) / 8 - 1/2 of the network's 12.
    places = ((np.arange(96) + 0.5) / 8 - 0.5).clip(0, 11) / 11
    assert alpha == pytest.approx(np.tile(places, (64, 1)), abs=1e-6)


def test_values_beyond_the_range_are_clipped():
    network = Network("far", (4, 4), lambda image: image[..., 0] - 100)
    assert (network.matte(np.full((4, 4, 3), 99, np.uint8)) == 0).all()
    assert (network.matte(np.full((4, 4, 3), 250, np.uint8)) == 1).all()


def test_a_refiner_is_no_network_for_photographs():
    file = SHIPPED / "refiner" / "refiner_float16.tflite"
    with pytest.raises(UserError, match="--refine=learned"):
        networks.load(str(file), input_range="0..255")
