"""Exporting from main.py's command line."""

import dataclasses
import json
import re
from pathlib import Path
from unittest import mock

import command_line
import pytest
import tiny_portraits

import main
from portrait import export
from portrait.commands import parts
from portrait.export import FORMATS, load_samples, tflite, verify
from portrait.export.compress import compress
from portrait.export.formats import RGBA_FORMATS, Tolerance, load_format
from portrait.models.build import build


def test_android_has_the_formats_that_are_known_to_be_its():
    assert {name for name in FORMATS if load_format(name).rgba} == set(RGBA_FORMATS)


def test_formats_are_those_that_the_help_names():
    (names,) = re.findall(r"exported: (.*)\. Default", main.FLAGS["formats"].help)
    assert set(re.findall(r"\w+(?=[,;]| \(|$)", names)) == FORMATS.keys()


def parity(max_error=0.0, mean_error=0.0, lost=0.0):
    return verify.Parity(max_error, mean_error, 1.0, 0.9 - lost, 0.9, 0, [])


@pytest.mark.parametrize(
    ("name", "kept", "refused"),
    [
        ("float32", {"max_error": 0.9e-5}, {"max_error": 1.1e-5}),
        ("mlpackage_float32", {"max_error": 0.9e-5}, {"max_error": 1.1e-5}),
        ("mlmodel", {"max_error": 0.9e-5}, {"max_error": 1.1e-5}),
        ("float16", {"max_error": 1.9e-3}, {"max_error": 2.1e-3}),
        ("float16", {"lost": 4e-4}, {"lost": 6e-4}),
        ("mlpackage_float16", {"max_error": 1 / 257}, {"max_error": 1 / 255}),
        ("mlpackage_float16", {"lost": 4e-4}, {"lost": 6e-4}),
        ("dynamic", {"max_error": 0.9, "mean_error": 0.019}, {"mean_error": 0.021}),
        ("dynamic", {"lost": 1.9e-3}, {"lost": 2.1e-3}),
        *(
            (name, *limits)
            for name in ("int8", "uint8", "mlpackage_int8", "mlpackage_palettized")
            for limits in (
                ({"max_error": 0.9, "mean_error": 0.019}, {"mean_error": 0.021}),
                ({"lost": 4.9e-3}, {"lost": 5.1e-3}),
            )
        ),
    ],
)
def test_how_far_a_file_may_be_off(name, kept, refused):
    """As the table of docs/mobile.md says."""
    tolerance = load_format(name).tolerance
    assert verify.problem(parity(**kept), tolerance) is None
    assert verify.problem(parity(**refused), tolerance)


def test_no_picture_both_calibrates_and_checks(tmp_path):
    """Whether folders have a `testing` sub-folder or not; and all that have one are checked."""
    folders = [tmp_path / name for name in ("both", "plain", "half")]
    for seed, part in enumerate(("both/training", "both/testing", "plain", "half/training")):
        tiny_portraits.write(tmp_path / part, 4, (32, 32), seed)
    samples = load_samples(folders, (32, 32))
    calibrates, checks = ({p.tobytes() for p in s} for s in (samples.calibration, samples.pictures))
    assert not calibrates & checks and len(calibrates | checks) == 16
    assert {p.tobytes() for p in tiny_portraits.draw(4, (32, 32), 1)[0]} <= checks


@pytest.mark.slow
def test_command_line(tmp_path, monkeypatch):
    def names():
        return {path.name for path in tmp_path.iterdir()}

    weights = tmp_path / "fresh.weights.h5"
    build("mattingnet", (64, 64), "small").save_weights(weights)
    options = [f"--weight_dir={weights}", "--model_size=small", "--input_shape=64x64"]
    options += [f"--output={tmp_path}", "--tflite_name=fresh"]
    status, out, err = command_line.run(
        "--convert=True", "--formats=float32,dynamic", "--android=True", *options
    )
    assert status == 0, err
    assert "built-in sample" in out
    assert {"fresh_rgba_float32.tflite", "fresh_rgba_dynamic.tflite"} <= names()
    strict = dataclasses.replace(tflite.FORMATS["float16"], tolerance=Tolerance(1e-9, None))
    monkeypatch.setitem(tflite.FORMATS, "float16", strict)
    plan = ["--nb_epoch=1", "--batch_size=64", "--sparsity=0.6", "--workers=0", "--augment=none"]
    status, out, err = command_line.run(
        "--convert=True", "--compress=prune", "--formats=float16,mlmodel", *plan, *options
    )
    # What is refused stops nothing else, has a line of its own, and is told at the end.
    assert {"fresh.mlmodel", "fresh_pruned.weights.h5", "fresh_pruned.mlmodel"} <= names()
    refused = {"fresh_float16.tflite", "fresh_pruned_float16.tflite"}
    assert not refused & names()
    lines = out.splitlines()
    assert {line.split()[0] for line in lines if "was not kept: alpha differs" in line} == refused
    assert status == 1
    (error,) = (line for line in err.splitlines() if line.startswith("error: "))
    assert all(name in error for name in refused)
    report = json.loads((tmp_path / "fresh_pruned_export.json").read_text())
    assert report["compression"]["sparsity"] == 0.6


def test_a_wrong_format_is_one_line(tmp_path):
    weights = tmp_path / "fresh.weights.h5"
    build("mattingnet", (32, 32), "small").save_weights(weights)
    status, _, err = command_line.run(
        "--convert=True",
        "--formats=float8",
        f"--weight_dir={weights}",
        "--model_size=small",
        "--input_shape=32x32",
    )
    assert status == 1
    assert [line[:39] for line in err.splitlines()] == ["error: there is no export format 'float"]


def test_compressing_has_the_flags(tmp_path, monkeypatch):
    weights, calls = tmp_path / "fresh.weights.h5", []
    build("mattingnet", (32, 32), "small").save_weights(weights)
    monkeypatch.setattr(
        compress, "compress", lambda *args, **options: calls.append((args, options))
    )
    batches = mock.Mock(return_value=(mock.MagicMock(), "validation"))
    monkeypatch.setattr(parts, "batches", batches)
    status, _, err = command_line.run(
        *("--compress=cluster", "--clusters=9", "--sparsity=0.7", "--nb_epoch=3", "--lr=0.5"),
        *("--android=True", "--formats=float16", "--allow_cpu_ops=True", "--tflite_name=mine"),
        *(f"--weight_dir={weights}", "--model=mattingnet", "--model_size=small"),
        *("--input_shape=32x32", f"--output={tmp_path}"),
    )
    assert status == 0, err
    batches.assert_called_once_with(mock.ANY, taught=False)  # the network is its own teacher
    ((_, _, _, validation, plan), options), *more = calls
    assert plan == compress.Plan("cluster", 3, 0.5, 0.7, 9) and validation == "validation"
    assert not more and options.pop("samples").pictures.shape[1:] == (32, 32, 3)
    assert options == {
        **{"output": tmp_path, "name": "mine", "android": True, "formats": ["float16"]},
        "allow_cpu_ops": True,
    }


@pytest.mark.parametrize(
    ("weights", "flags", "folder"),
    [
        ("run/0001-0.1000.weights.h5", [], "run/export"),
        ("run/0001-0.1000.weights.h5", ["--output=there"], "there"),
        ("fresh.weights.h5", [], "output"),
    ],
)
def test_where_files_go(tmp_path, monkeypatch, weights, flags, folder):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    build("mattingnet", (32, 32), "small").save_weights(weights)
    into = []
    monkeypatch.setattr(export, "convert_all", lambda model, output, **rest: into.append(output))
    status, _, err = command_line.run(
        *("--convert=True", f"--weight_dir={weights}", "--model=mattingnet", "--model_size=small"),
        *("--input_shape=32x32", *flags),
    )
    assert status == 0, err
    assert into == [Path(folder)]
