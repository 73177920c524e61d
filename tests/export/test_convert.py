"""Tests which files an export writes, and which it refuses."""

import dataclasses
import json
from collections import Counter

import keras
import numpy as np
import pytest
import tensorflow as tf
import tiny_network
from function_layer import FunctionLayer
from PIL import Image

from portrait.errors import UserError
from portrait.export import FilesRefused, convert_all, gpu_engine, tflite, verify
from portrait.export.formats import Format, Inspection, Tolerance
from portrait.export.samples import Samples
from portrait.models.build import for_inference


@pytest.fixture(scope="module")
def trained():
    return tiny_network.build()


@pytest.fixture(scope="module")
def samples(trained):
    pictures = tiny_network.pictures()
    alphas = np.asarray(trained(pictures.astype(np.float32))["output"])[..., 0]
    mattes = np.where(alphas > np.median(alphas), 255, 0).astype(np.uint8)
    return Samples(pictures, pictures, mattes, "a portrait of scikit-image")


def _names(folder) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_files_and_report(trained, samples, tmp_path, capsys):
    # A single pixel of four such small pictures changes the mean IoU by more than 0.0005.
    half = dataclasses.replace(tflite.FORMATS["float16"], tolerance=Tolerance(2e-3))
    formats = {"float32": tflite.FORMATS["float32"], "float16": half}
    report = convert_all(trained, tmp_path, "v1.2.tflite", samples, formats=formats)
    files = {"v1.2_float32.tflite", "v1.2_float16.tflite"}
    assert _names(tmp_path) == files | {"v1.2_export.json", "v1.2_export.png"}
    assert json.loads((tmp_path / "v1.2_export.json").read_text()) == report
    assert report["input"] == [1, *tiny_network.SIZE, 3]
    assert report["samples"]["checked_pictures"] == 4
    exact, half = report["files"]
    assert exact["bytes"] == (tmp_path / "v1.2_float32.tflite").stat().st_size
    assert exact["ops"]["TRANSPOSE_CONV"] == 1
    assert exact["gpu"] == {"verdict": "yes", "violations": []}
    assert set(exact["latency_ms"]) == {"1", "2"}
    for runtime in exact["against_keras"].values():
        assert 0 < runtime["max_alpha_error"] < 1e-5
        assert runtime["iou_change"] == 0
    errors = [runtime["max_alpha_error"] for runtime in half["against_keras"].values()]
    assert 1e-5 < max(errors) < 2e-3
    assert f"{max(errors):.1e}" in capsys.readouterr().out
    with Image.open(tmp_path / "v1.2_export.png") as picture:
        assert picture.mode == "RGB"


def test_gpu_check_says_how_to_get_the_engine(trained, samples, tmp_path, capsys, monkeypatch):
    absent = gpu_engine.FLOAT16._replace(description=tmp_path / "absent.json")
    monkeypatch.setattr(gpu_engine, "FLOAT16", absent)
    report = convert_all(trained, tmp_path, "net", samples, formats=["float32"], gpu_check=True)
    assert report["files"][0]["gpu_float16"] is None
    assert "make gpu-engines" in capsys.readouterr().out


@pytest.mark.gpu_clients
def test_gpu_check_adds_a_verdict(trained, samples, tmp_path):
    if gpu_engine.FLOAT16.missing:
        pytest.skip(gpu_engine.FLOAT16.missing)
    report = convert_all(trained, tmp_path, "net", samples, formats=["float32"], gpu_check=True)
    verdict = report["files"][0]["gpu_float16"]
    assert verdict["wholly"] and verdict["refused"] is None
    assert 1e-5 < verdict["max_error"] < 0.05


def test_android(trained, samples, tmp_path):
    report = convert_all(trained, tmp_path, "net", samples, android=True, formats=["float32"])
    assert report["input"] == [1, *tiny_network.SIZE, 4]
    assert "net_rgba_float32.tflite" in _names(tmp_path)


def test_beyond_tolerance_is_not_kept(trained, samples, tmp_path):
    strict = dataclasses.replace(tflite.FORMATS["float16"], tolerance=Tolerance(1e-9))
    formats = {"float16": strict, "float32": tflite.FORMATS["float32"]}
    earlier = tmp_path / "net_float16.tflite"
    earlier.write_bytes(b"earlier")
    with pytest.raises(FilesRefused, match=r"net_float16\.tflite") as refused:
        convert_all(trained, tmp_path, "net", samples, formats=formats)
    assert "net_float32.tflite" not in str(refused.value)
    assert earlier.read_bytes() == b"earlier"
    names = {"net_float16.tflite", "net_float32.tflite", "net_export.json", "net_export.png"}
    assert _names(tmp_path) == names
    half, exact = json.loads((tmp_path / "net_export.json").read_text())["files"]
    assert not half["kept"] and "1e-09" in half["refused"]
    assert exact["kept"] and exact["refused"] is None


def test_the_report_is_of_this_export_only(trained, samples, tmp_path):
    """Also if all files are refused, or the export is interrupted after the first one."""
    convert_all(trained, tmp_path, "net", samples, formats=["float32"])
    strict = dataclasses.replace(tflite.FORMATS["float32"], tolerance=Tolerance(1e-9))
    with pytest.raises(FilesRefused):
        convert_all(trained, tmp_path, "net", samples, formats={"float32": strict})
    assert _names(tmp_path) == {"net_float32.tflite", "net_export.json"}
    convert_all(trained, tmp_path, "net", samples, formats=["float32"])

    def interrupted(source, path):
        raise KeyboardInterrupt

    late = dataclasses.replace(tflite.FORMATS["float16"], write=interrupted)
    with pytest.raises(KeyboardInterrupt):
        convert_all(trained, tmp_path, "net", samples, formats={"late": late})
    assert _names(tmp_path) == {"net_float32.tflite", "net_export.json", "net_export.png"}
    formats = {"float32": tflite.FORMATS["float32"], "late": late}
    with pytest.raises(KeyboardInterrupt):
        convert_all(trained, tmp_path, "net", samples, formats=formats)
    assert _names(tmp_path) == {"net_float32.tflite"}


def test_control_characters_of_names_do_not_reach_the_terminal(trained, samples, tmp_path, capsys):
    strict = dataclasses.replace(tflite.FORMATS["float32"], tolerance=Tolerance(1e-9))
    named = dataclasses.replace(samples, source="\x1b[31mred")
    with pytest.raises(FilesRefused):
        convert_all(trained, tmp_path / "a\nb", "\x1b[2J", named, formats={"float32": strict})
    printed = capsys.readouterr().out
    assert "\x1b" not in printed and "a\nb" not in printed
    assert r"\x1b[2J_float32.tflite was not kept" in printed


def _steep() -> keras.Model:
    """A network with outlines so steep that the last bit of float32 changes its alphas."""
    model = tiny_network.build()
    kernel, bias = model.get_layer("output").get_weights()
    logits = keras.Model(model.input, model.get_layer("output").input)
    features = np.asarray(logits(tiny_network.pictures().astype(np.float32)))
    middle = np.median(keras.ops.conv(features, kernel, padding="same"))
    model.get_layer("output").set_weights([2000 * kernel, bias - 2000 * middle])
    return model


@pytest.mark.parametrize("android", [False, True])
def test_float32_may_be_as_inexact_as_keras_itself(samples, tmp_path, android):
    steep = _steep()
    report = convert_all(steep, tmp_path, "net", samples, android=android, formats=["float32"])
    channels = 4 if android else 3
    error = verify.rounding_error(for_inference(steep, channels), samples.pictures)
    errors = [each["max_alpha_error"] for each in report["files"][0]["against_keras"].values()]
    assert 1e-5 < max(errors) <= 4 * error < 1e-3
    # Wrong weights are still refused: here they differ by 1 %.
    kernel, bias = steep.get_layer("output").get_weights()
    other = _steep()
    other.get_layer("output").set_weights([1.01 * kernel, bias])
    wrong = dataclasses.replace(
        tflite.FORMATS["float32"],
        write=lambda source, path: path.write_bytes(
            tflite.convert(for_inference(other, channels), "float32")
        ),
    )
    with pytest.raises(FilesRefused, match=r"_float32\.tflite"):
        convert_all(steep, tmp_path, "net", samples, android=android, formats={"float32": wrong})


def test_ops_of_the_cpu_need_permission(samples, tmp_path, capsys):
    model = tiny_network.build(tail=FunctionLayer(_mirrored, "picker"))
    with pytest.raises(FilesRefused, match=r"net_float32\.tflite.*--allow_cpu_ops"):
        convert_all(model, tmp_path, "net", samples, formats=["float32"])
    assert _names(tmp_path) == {"net_export.json"}
    printed = capsys.readouterr().out
    assert "GATHER_ND" in printed and "picker" in printed
    convert_all(model, tmp_path, "net", samples, formats=["float32"], allow_cpu_ops=True)
    (file,) = json.loads((tmp_path / "net_export.json").read_text())["files"]
    assert file["kept"] and file["gpu"]["verdict"] == "no"
    assert file["gpu"]["violations"][0]["layer"] == "picker"


def test_advice_is_about_the_reason(samples, tmp_path, monkeypatch):
    """Training for 8 bits brings no op to GPUs, and a permission that is given does not help."""
    model = tiny_network.build(tail=FunctionLayer(_mirrored, "picker"))
    strict = dataclasses.replace(tflite.FORMATS["float32"], tolerance=Tolerance(1e-9))
    monkeypatch.setitem(tflite.FORMATS, "int8", strict)
    with pytest.raises(FilesRefused, match="--allow_cpu_ops=True keeps") as for_ops:
        convert_all(model, tmp_path, "net", samples, formats=["int8"])
    with pytest.raises(FilesRefused, match="--compress=qat") as for_errors:
        convert_all(model, tmp_path, "net", samples, formats=["int8"], allow_cpu_ops=True)
    assert "--compress" not in str(for_ops.value)
    assert "--allow_cpu_ops" not in str(for_errors.value)


def _mirrored(x):
    height, width = tiny_network.SIZE
    indices = [[[y, x] for x in reversed(range(width))] for y in range(height)]
    return tf.transpose(tf.gather_nd(tf.transpose(x, (1, 2, 0, 3)), indices), (2, 0, 1, 3))


def test_weights_that_are_not_numbers(samples, tmp_path):
    model = tiny_network.build()
    model.get_layer("stem").bias.assign(np.full(8, np.nan))
    with pytest.raises(FilesRefused, match=r"net_float32\.tflite"):
        convert_all(model, tmp_path, "net", samples, formats=["float32"])
    text = (tmp_path / "net_export.json").read_text()
    (file,) = json.loads(text, parse_constant=pytest.fail)["files"]  # JSON has no NaN
    assert file["largest_activation"]["largest"] is None


def test_formats_that_are_folders(trained, samples, tmp_path):
    def write(source, path):
        path.mkdir()
        (path / "model").write_bytes(b"new!")

    folder = Format(
        suffix="_folder.mlpackage",
        write=write,
        runtimes=lambda path: {"none": lambda picture: np.zeros(picture.shape[:2], np.float32)},
        tolerance=Tolerance(None),
        inspect=lambda path, source: Inspection(Counter(), None),
    )
    earlier = tmp_path / "net_folder.mlpackage"
    earlier.mkdir()
    (earlier / "old").write_bytes(b"old")
    report = convert_all(trained, tmp_path, "net", samples, formats={"folder": folder})
    assert _names(earlier) == {"model"}
    assert report["files"][0]["bytes"] == 4
    assert report["files"][0]["gpu"]["verdict"] == "-"
    assert _names(tmp_path) == {"net_folder.mlpackage", "net_export.json", "net_export.png"}
    with pytest.raises(UserError, match="folder"):
        convert_all(trained, tmp_path, "net", samples, android=True, formats={"folder": folder})


@pytest.mark.parametrize("name", ["", "a/b", "..", ".tflite"])
def test_names_that_are_no_names_of_files(trained, samples, tmp_path, name):
    with pytest.raises(UserError, match=repr(name.removesuffix(".tflite"))):
        convert_all(trained, tmp_path, name, samples, formats=["float32"])


def test_formats_that_do_not_exist(trained, samples, tmp_path):
    with pytest.raises(UserError, match="float8"):
        convert_all(trained, tmp_path, "net", samples, formats=["float8"])


def test_8_bits_that_lose_too_much_get_advice(trained, samples, tmp_path, monkeypatch):
    """Except for the caller's own formats, as for a network trained for 8 bits."""
    strict = dataclasses.replace(tflite.FORMATS["int8"], tolerance=Tolerance(1e-9))
    monkeypatch.setitem(tflite.FORMATS, "int8", strict)
    with pytest.raises(FilesRefused, match="--compress=qat"):
        convert_all(trained, tmp_path, "net", samples, formats=["int8"])
    with pytest.raises(FilesRefused, match=r"net_int8\.tflite$"):
        convert_all(trained, tmp_path, "net", samples, formats={"int8": strict})
