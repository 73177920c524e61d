"""What an export leaves behind, and what it refuses to leave."""

import dataclasses
import json
import re
from collections import Counter

import command_line
import numpy as np
import pytest
import tensorflow as tf
import tiny_network
from PIL import Image
from test_gpu_ops import Apply

import main
import models
from export import FORMATS, convert_all, tflite
from export.formats import Format, Inspection, Tolerance
from export.samples import Samples
from files import UserError


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
    report = convert_all(trained, tmp_path, "v1.2.tflite", samples, formats=["float32", "float16"])
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
    assert 1e-6 < max(errors) < 1e-4
    assert f"{max(errors):.1e}" in capsys.readouterr().out
    with Image.open(tmp_path / "v1.2_export.png") as picture:
        assert picture.mode == "RGB"


def test_android(trained, samples, tmp_path):
    report = convert_all(trained, tmp_path, "net", samples, android=True, formats=["float16"])
    assert report["input"] == [1, *tiny_network.SIZE, 4]
    assert "net_rgba_float16.tflite" in _names(tmp_path)


def test_beyond_tolerance_is_not_kept(trained, samples, tmp_path, monkeypatch):
    strict = dataclasses.replace(tflite.FORMATS["float16"], tolerance=Tolerance(1e-9, None))
    monkeypatch.setitem(tflite.FORMATS, "float16", strict)
    earlier = tmp_path / "net_float16.tflite"
    earlier.write_bytes(b"earlier")
    with pytest.raises(UserError, match=r"1 of 2 files .* net_float16\.tflite"):
        convert_all(trained, tmp_path, "net", samples, formats=["float16", "float32"])
    assert earlier.read_bytes() == b"earlier"
    names = {"net_float16.tflite", "net_float32.tflite", "net_export.json", "net_export.png"}
    assert _names(tmp_path) == names
    half, exact = json.loads((tmp_path / "net_export.json").read_text())["files"]
    assert not half["kept"] and "over 1e-09" in half["refused"]
    assert exact["kept"] and exact["refused"] is None


def test_ops_of_the_cpu_need_permission(samples, tmp_path, capsys):
    model = tiny_network.build(tail=Apply(_mirrored, "picker"))
    with pytest.raises(UserError, match="1 of 1"):
        convert_all(model, tmp_path, "net", samples, formats=["float32"])
    assert _names(tmp_path) == {"net_export.json"}
    assert "GATHER_ND of layer picker" in capsys.readouterr().out
    convert_all(model, tmp_path, "net", samples, formats=["float32"], allow_cpu_ops=True)
    (file,) = json.loads((tmp_path / "net_export.json").read_text())["files"]
    assert file["kept"] and file["gpu"]["verdict"] == "no"
    assert file["gpu"]["violations"][0]["layer"] == "picker"


def _mirrored(x):
    height, width = tiny_network.SIZE
    indices = [[[y, x] for x in reversed(range(width))] for y in range(height)]
    return tf.transpose(tf.gather_nd(tf.transpose(x, (1, 2, 0, 3)), indices), (2, 0, 1, 3))


def test_weights_that_are_not_numbers(samples, tmp_path):
    model = tiny_network.build()
    model.get_layer("stem").bias.assign(np.full(8, np.nan))
    with pytest.raises(UserError, match="1 of 1"):
        convert_all(model, tmp_path, "net", samples, formats=["float32"])
    (file,) = json.loads((tmp_path / "net_export.json").read_text())["files"]
    assert "NaN" in file["refused"]


def test_formats_that_are_folders(trained, samples, tmp_path, monkeypatch):
    def write(source, path):
        path.mkdir()
        (path / "model").write_bytes(b"new!")

    folder = Format(
        suffix="_folder.mlpackage",
        write=write,
        runtimes=lambda path: {"none": lambda picture: np.zeros(picture.shape[:2], np.float32)},
        tolerance=Tolerance(None, None),
        inspect=lambda path, source: Inspection(Counter(), None),
    )
    monkeypatch.setitem(tflite.FORMATS, "folder", folder)
    monkeypatch.setitem(FORMATS, "folder", "export.tflite")
    earlier = tmp_path / "net_folder.mlpackage"
    earlier.mkdir()
    (earlier / "old").write_bytes(b"old")
    report = convert_all(trained, tmp_path, "net", samples, formats=["folder"])
    assert _names(earlier) == {"model"}
    assert report["files"][0]["bytes"] == 4
    assert report["files"][0]["gpu"]["verdict"] == "-"
    assert _names(tmp_path) == {"net_folder.mlpackage", "net_export.json", "net_export.png"}
    with pytest.raises(UserError, match="RGBA"):
        convert_all(trained, tmp_path, "net", samples, android=True, formats=["folder"])


def test_what_users_get_wrong(trained, samples, tmp_path):
    with pytest.raises(UserError, match="the formats are float32"):
        convert_all(trained, tmp_path, "net", samples, formats=["float8"])
    for name in ("", "a/b", "..", ".tflite"):
        with pytest.raises(UserError, match="plain name"):
            convert_all(trained, tmp_path, name, samples, formats=["float32"])


def test_formats_are_those_that_the_help_names():
    (names,) = re.findall(r"exported: (.*)\. Default", main.FLAGS["formats"].help)
    assert set(re.findall(r"\w+(?=[,;]| \(|$)", names)) == FORMATS.keys()


@pytest.mark.slow
def test_command_line(tmp_path, monkeypatch):
    weights = tmp_path / "fresh.weights.h5"
    models.build("mattingnet", (64, 64), "small").save_weights(weights)
    options = [f"--weight_dir={weights}", "--model_size=small", "--input_shape=64x64"]
    options += [f"--output={tmp_path}", "--tflite_name=fresh"]
    status, out, err = command_line.run(
        "--convert=True", "--formats=float32,dynamic", "--android=True", *options
    )
    assert status == 0, err
    assert "built-in sample" in out
    assert {"fresh_rgba_float32.tflite", "fresh_rgba_dynamic.tflite"} <= _names(tmp_path)
    plan = ["--nb_epoch=1", "--batch_size=64", "--sparsity=0.6", "--workers=0", "--augment=none"]
    status, out, err = command_line.run(
        "--compress=prune", "--formats=float16,mlmodel", *plan, *options
    )
    assert status == 0, err
    assert {"fresh_pruned.weights.h5", "fresh_pruned.mlmodel"} <= _names(tmp_path)
    report = json.loads((tmp_path / "fresh_pruned_export.json").read_text())
    assert report["compression"]["sparsity"] == 0.6


def test_a_wrong_format_is_one_line(tmp_path):
    weights = tmp_path / "fresh.weights.h5"
    models.build("mattingnet", (32, 32), "small").save_weights(weights)
    status, _, err = command_line.run(
        "--convert=True",
        "--formats=float8",
        f"--weight_dir={weights}",
        "--model_size=small",
        "--input_shape=32x32",
    )
    assert (status, err.count("\n")) == (1, 1)
    assert "no export format 'float8'" in err
