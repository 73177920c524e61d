"""Tests the style network's files for phones."""

import json

import coremltools as ct
import keras
import numpy as np
import pytest
from skimage import data
from style_networks import picture, random_network, tiny, write_run

from portrait.export import FilesRefused
from portrait.export.formats import Tolerance
from portrait.io.images import resize
from portrait.style_transfer import PAINTINGS, export, transform_net
from portrait.style_transfer.painter import load_network
from portrait.tflite.metadata import stated_normalization
from portrait.tflite.runtime import TfliteModel

SHAPE = (32, 64)
STYLE = "red:1,blue:3"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a run; its network has eight convolutions, and two enlargements."""
    with tiny():
        folder = tmp_path_factory.mktemp("style") / "run"
        return write_run(folder, random_network(2), ["red", "blue"])


@pytest.fixture(scope="module")
def exported(trained):
    """The folder and the report of all files."""
    folder = trained.parent / "files"
    with tiny():
        return folder, export.export_style(STYLE, trained, folder, "32x64")


def test_files_and_report(exported):
    folder, report = exported
    assert {path.name for path in folder.iterdir()} == {
        *("red-1-blue-3_32x64_float32.tflite", "red-1-blue-3_32x64_float16.tflite"),
        *("red-1-blue-3_32x64_float16.mlpackage", "red-1-blue-3_32x64_export.json"),
        "red-1-blue-3_32x64_export.png",
    }
    assert json.loads((folder / "red-1-blue-3_32x64_export.json").read_text()) == report
    assert report["input"] == [1, *SHAPE, 3]
    exact, half, package = report["files"]
    for file in (exact, half):
        assert file["gpu"]["verdict"] == "yes" and len(file["against_keras"]) == 2
        assert set(file["latency_ms"]) == {"1", "2"}
        assert file["ops"]["MIRROR_PAD"] == 8 and file["ops"]["RESIZE_BILINEAR"] == 2
    for file in (exact, half, package):
        for figures in file["against_keras"].values():
            assert 0 < figures["mean_error"] < figures["max_error"] < 2


@pytest.mark.parametrize("kind", ["float32", "float16"])
def test_a_tflite_file_takes_and_gives_raw_pixels(trained, exported, kind):
    with tiny():
        network, _ = load_network(trained)
        model = transform_net.fix_style(network, [0.25, 0.75], SHAPE)
    file = TfliteModel(exported[0] / f"red-1-blue-3_32x64_{kind}.tflite", "file")
    assert file.interpreter.get_signature_list() == {
        "serving_default": {"inputs": ["image"], "outputs": ["painted"]}
    }
    assert stated_normalization(file.file, "style") is None
    photo = picture(*SHAPE, seed=5)
    painted = np.asarray(model(np.float32(photo)[None]))[0]
    assert painted.std() > 10
    np.testing.assert_allclose(file(photo), painted, atol=0.5)


def test_a_core_ml_package_takes_and_gives_an_image(exported):
    path = exported[0] / "red-1-blue-3_32x64_float16.mlpackage"
    description = ct.utils.load_spec(str(path)).description
    names = [feature.name for feature in (*description.input, *description.output)]
    assert names == ["image", "painted"]
    for feature in (*description.input, *description.output):
        image = feature.type.imageType
        assert (image.height, image.width) == SHAPE and image.colorSpace == image.RGB
        assert feature.shortDescription


def test_a_file_that_paints_otherwise_is_not_kept(trained, tmp_path, monkeypatch):
    earlier = tmp_path / "blue_32x32_float32.tflite"
    earlier.write_text("the one before")
    monkeypatch.setattr(export, "TOLERANCES", {"float32": Tolerance(largest=1e-9)})
    with tiny(), pytest.raises(FilesRefused, match=r"blue_32x32_float32\.tflite"):
        export.export_style("blue", trained, tmp_path, "32x32")
    assert earlier.read_text() == "the one before"
    (file,) = json.loads((tmp_path / "blue_32x32_export.json").read_text())["files"]
    assert not file["kept"] and "1e-09" in file["refused"]


def test_the_shipped_styles_stay_within_float16():
    """What the normalisations square and take the mean of, in every style, with room to spare."""
    network, names = load_network(PAINTINGS)
    image = np.float32(resize(data.astronaut()[:448, 88:424], (256, 192)))[None]
    for mix in np.eye(len(names)):
        fixed = transform_net.fix_style(network, mix, (256, 192))
        convolved = [layer.output for layer in fixed.layers if layer.name.startswith("conv_")]
        for values in keras.Model(fixed.input, convolved)(image):
            values = np.asarray(values)
            centred = values - values.mean(axis=(1, 2), keepdims=True)
            assert np.square(centred).max() < 65504 / 8
            # Far above the epsilon of 1e-4, which would else change the picture.
            assert np.square(centred).mean(axis=(1, 2)).min() > 0.05
