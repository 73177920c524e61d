"""Exporting from main.py's command line."""

import dataclasses
import json
import re

import command_line
import pytest

import main
import models
from export import FORMATS, tflite
from export.formats import Tolerance


def test_formats_are_those_that_the_help_names():
    (names,) = re.findall(r"exported: (.*)\. Default", main.FLAGS["formats"].help)
    assert set(re.findall(r"\w+(?=[,;]| \(|$)", names)) == FORMATS.keys()


@pytest.mark.slow
def test_command_line(tmp_path, monkeypatch):
    def names():
        return {path.name for path in tmp_path.iterdir()}

    weights = tmp_path / "fresh.weights.h5"
    models.build("mattingnet", (64, 64), "small").save_weights(weights)
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
    models.build("mattingnet", (32, 32), "small").save_weights(weights)
    status, _, err = command_line.run(
        "--convert=True",
        "--formats=float8",
        f"--weight_dir={weights}",
        "--model_size=small",
        "--input_shape=32x32",
    )
    assert status == 1
    assert [line[:39] for line in err.splitlines()] == ["error: there is no export format 'float"]
