"""The style network's files for phones."""

import json

import coremltools as ct
import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from skimage import data
from style_networks import picture, random_network

from portrait.errors import UserError
from portrait.export.formats import ExportError
from portrait.inference import network as networks
from portrait.io.images import resize
from portrait.style_transfer import export as phones
from portrait.style_transfer import transform_net
from portrait.style_transfer.painter import load_network

SHAPE = (32, 64)


@pytest.fixture(scope="module")
def model():
    return transform_net.fix_style(random_network(2), [0.5, 0.5], SHAPE)


def export(model, folder, formats, monkeypatch):
    monkeypatch.setattr(phones, "FORMATS", {name: phones.FORMATS[name] for name in formats})
    return phones.export_style(model, folder, "mix", [picture(*SHAPE)])


def test_a_tflite_file_takes_and_gives_raw_pixels(model, tmp_path, monkeypatch):
    report = export(model, tmp_path, ["float32"], monkeypatch)
    (file,) = report["files"]
    assert file["ops"]["MIRROR_PAD"] == 16 and file["ops"]["RESIZE_BILINEAR"] == 2
    assert json.loads((tmp_path / "mix_export.json").read_text()) == report
    runner = Interpreter(str(tmp_path / "mix_float32.tflite")).get_signature_runner()
    image = picture(*SHAPE, seed=5)[None].astype(np.float32)
    found = runner(image=image)["painted"]
    np.testing.assert_allclose(found, np.asarray(model(image)), atol=0.1)
    assert found.shape == (1, *SHAPE, 3)


def test_a_file_that_paints_otherwise_is_not_kept(model, tmp_path, monkeypatch):
    (tmp_path / "mix_float32.tflite").write_text("the one before")
    monkeypatch.setattr(
        phones, "_open_tflite", lambda path: lambda batch: np.full_like(batch, np.nan)
    )
    tflite = phones._tflite("float32", (0.1, 0.01))
    monkeypatch.setitem(phones.FORMATS, "float32", tflite)
    with pytest.raises(UserError, match=r"1 files were not kept: mix_float32.tflite: it differs"):
        export(model, tmp_path, ["float32"], monkeypatch)
    assert (tmp_path / "mix_float32.tflite").read_text() == "the one before"


def test_what_gpus_do_not_take_is_refused(model, tmp_path, monkeypatch):
    monkeypatch.setitem(phones.gpu_ops.MAX_VERSION, "MIRROR_PAD", 0)
    with pytest.raises(ExportError, match="do not take MIRROR_PAD of reflection_padding"):
        phones._write_tflite(model, tmp_path / "x.tflite", "float32")


@pytest.mark.slow
def test_all_formats(model, tmp_path, monkeypatch):
    report = export(model, tmp_path, list(phones.FORMATS), monkeypatch)
    files = {file["file"]: file for file in report["files"]}
    assert set(files) == {"mix_float32.tflite", "mix_float16.tflite", "mix.mlpackage"}
    for name, file in files.items():
        assert (tmp_path / name).exists() and file["max_error"] < 8
    # 424,111 weights of 4 and of 2 bytes.
    assert files["mix_float32.tflite"]["bytes"] == pytest.approx(4 * 424111, rel=0.1)
    assert files["mix_float16.tflite"]["bytes"] == pytest.approx(2 * 424111, rel=0.1)
    description = ct.utils.load_spec(str(tmp_path / "mix.mlpackage")).description
    for feature in (*description.input, *description.output):
        assert feature.type.imageType.colorSpace == feature.type.imageType.RGB


def test_the_shipped_styles_stay_within_float16():
    """What the normalisations square and take the mean of, in every style, with room to spare."""
    network, names = load_network(networks.SHIPPED / "style" / "paintings")
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
