"""Tests whole runs from the command line: several verbs, interrupted, killed and resumed."""

import csv
import dataclasses
import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import command_line
import first_readme
import numpy as np
import pytest
import tiny_portraits
from PIL import Image
from project import ROOT

from portrait.commands import use
from portrait.export import tflite
from portrait.export.formats import Tolerance
from portrait.inference.network import load
from portrait.io.images import read_image
from portrait.models.build import build

EPOCHS = 6


def options(folder, checkpoint_path="runs", epochs=EPOCHS):
    return [
        *("--model=mattingnet", "--model_size=small", "--input_shape=32x32", "--batch_size=4"),
        *("--augment=flip_horizontal,add", "--lr=0.003", f"--nb_epoch={epochs}", "--checkpoint=4"),
        *(f"--data={folder / 'data'}", f"--checkpoint_path={folder / checkpoint_path}"),
    ]


def only(folder: Path, pattern: str) -> Path:
    (found,) = folder.glob(pattern)
    return found


def history(run):
    with open(run / "history.csv", newline="") as file:
        return [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder in which a network was trained, scored, applied and exported by one command."""
    folder = tmp_path_factory.mktemp("main")
    tiny_portraits.write(folder / "data" / "training", 16, (32, 32))
    tiny_portraits.write(folder / "data" / "testing", 3, (48, 40), seed=1)
    Image.new("RGB", (30, 50), "teal").save(folder / "photo.jpg")
    status, _, err = command_line.run(
        *("--train=True", "--evaluate=True", f"--predict={folder / 'photo.jpg'}"),
        *("--convert=True", "--formats=float32", "--allow_cpu_ops=True"),
        *(f"--output={folder / 'output'}", f"--preview_data={folder / 'sheet.png'}"),
        *("--workers=0", *options(folder)),
    )
    assert status == 0, err
    return folder


def test_everything_is_left(trained):
    run = only(trained, "runs/*")
    assert [row["epoch"] for row in history(run)] == [*range(1, EPOCHS + 1)]
    with Image.open(trained / "output" / "photo_alpha.png") as alpha:
        assert (alpha.size, alpha.mode) == ((30, 50), "L")
    report = json.loads((trained / "output" / "evaluation.json").read_text())
    assert report["all"]["pictures"] == 3
    assert (trained / "sheet.png").is_file()
    lowest = min(history(run), key=lambda row: row["val_loss"])
    best = f"{lowest['epoch']:04.0f}-{lowest['val_loss']:.4f}.weights.h5"
    assert {path.name[:4] for path in run.glob("*.h5")} == {"0004", best[:4]}
    assert (run / best).is_file()


def test_a_photo_and_an_export_are_of_the_best_checkpoint(trained):
    image = read_image(trained / "photo.jpg")
    expected = load(only(trained, "runs/*")).matte(image)
    alpha = np.asarray(Image.open(trained / "output" / "photo_alpha.png"))
    assert np.abs(alpha - 255 * expected).max() <= 0.5 + 1e-3  # a byte's rounding
    exported = load(trained / "output" / "mattingnet_small_float32.tflite")
    assert exported.matte(image) == pytest.approx(expected, abs=1e-5)


def test_a_run_tells_its_network(trained, tmp_path):
    predict = (f"--predict={trained / 'photo.jpg'}", f"--output={tmp_path}")
    run = only(trained, "runs/*")
    status, _, err = command_line.run(*predict, f"--weight_dir={run}")
    assert status == 0, err
    again, before = (
        np.asarray(Image.open(folder / "photo_alpha.png"))
        for folder in (tmp_path, trained / "output")
    )
    assert np.array_equal(again, before)
    status, _, err = command_line.run(*predict, f"--weight_dir={run}", "--model=fast_scnn")
    assert status == 1 and "fast_scnn" in err.splitlines()[-1]
    # Its parent folder is not the folder of a run.
    status, _, err = command_line.run(*predict, f"--weight_dir={run.parent}")
    assert status == 1 and str(run) in err.splitlines()[-1]


def test_a_finished_run_needs_more_epochs_and_keeps_its_flags(trained):
    settings = only(trained, "runs/*") / "run.json"
    before = settings.read_bytes()
    status, _, err = command_line.run(
        *("--resume=True", f"--checkpoint_path={trained / 'runs'}", "--workers=0", "--nb_epoch=1")
    )
    assert status == 1 and settings.read_bytes() == before
    line = err.splitlines()[-1]
    assert str(only(trained, "runs/*")) in line and "--nb_epoch" in line


def test_the_network_is_its_own_teacher_where_it_is_compressed(trained, tmp_path, monkeypatch):
    given = []

    @functools.wraps(use.compress)  # main.py passes the flags that match arguments
    def compress(*args, **options):
        given.append((args, options))

    monkeypatch.setattr(use, "compress", compress)
    status, _, err = command_line.run(
        *("--compress=cluster", "--clusters=9", "--android=True", "--formats=float16"),
        # The sheet has the targets of teachers, a compressed network has none.
        *(f"--preview_data={tmp_path / 'a.png'}", "--teachers=fast_scnn"),
        *("--batch_size=4", "--workers=0", f"--data={trained / 'data'}"),
        *(f"--weight_dir={only(trained, 'runs/*')}", f"--output={tmp_path}"),
    )
    assert status == 0, err
    (((network, method, training, validation), options_),) = given
    assert network.input_shape == (32, 32) and method == "cluster"
    assert training.teachers is None and validation.teachers is None
    assert (options_["clusters"], options_["formats"]) == (9, ["float16"])
    assert options_["android"] and options_["output"] == tmp_path


@pytest.mark.slow
def test_files_that_are_refused_stop_nothing_else(trained, tmp_path, monkeypatch):
    strict = dataclasses.replace(tflite.FORMATS["float16"], tolerance=Tolerance(1e-9, None))
    monkeypatch.setitem(tflite.FORMATS, "float16", strict)
    status, _, err = command_line.run(
        *("--convert=True", "--compress=prune", "--formats=float16,mlmodel", "--sparsity=0.6"),
        *("--nb_epoch=1", "--workers=0", "--augment=none", "--tflite_name=net"),
        *(f"--data={trained / 'data'}", f"--weight_dir={only(trained, 'runs/*')}"),
        # At 32x32, the smallest maps are single pixels, for which no Core ML file is kept.
        *("--input_shape=64x64", f"--output={tmp_path}"),
    )
    names = {path.name for path in tmp_path.iterdir()}
    assert {"net.mlmodel", "net_pruned.weights.h5", "net_pruned.mlmodel"} <= names
    refused = {"net_float16.tflite", "net_pruned_float16.tflite"}
    assert not refused & names
    assert status == 1
    (error,) = (line for line in err.splitlines() if line.startswith("error: "))
    assert all(name in error for name in refused)
    report = json.loads((tmp_path / "net_pruned_export.json").read_text())
    assert report["compression"]["sparsity"] == 0.6


def wait_for(condition, process, seconds):
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, "it ended by itself"
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.02)


@pytest.mark.slow  # tests/training and tests/commands test it in one process
def test_killed_and_resumed_equals_unbroken(trained):
    """Sends SIGKILL in the third epoch or later, with two worker processes instead of none."""
    folder = trained
    command = [sys.executable, ROOT / "main.py", "--train=True", *options(folder, "killed")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def two_epochs_are_done():
        written = list(folder.glob("killed/*/history.csv"))
        return written and len(history(written[0].parent)) >= 2

    try:
        wait_for(two_epochs_are_done, process, 300)
        time.sleep(0.05)
    finally:
        process.kill()
    assert process.wait() == -signal.SIGKILL
    killed, whole = only(folder, "killed/*"), only(folder, "runs/*")
    assert 2 <= len(history(killed)) < EPOCHS
    (killed / ".state-0123abcd.part.npz").write_bytes(b"half")
    resume = ("--resume=True", f"--checkpoint_path={folder / 'killed'}", "--workers=0")
    status, _, err = command_line.run(*resume)
    assert status == 0, err
    for ours, theirs in zip(history(killed), history(whole), strict=True):
        del ours["seconds"], theirs["seconds"]
        assert ours == pytest.approx(theirs, rel=1e-4, abs=1e-6)
    kept = [{path.name[:4] for path in run.glob("*.h5")} for run in (killed, whole)]
    assert kept[0] == kept[1]
    assert not list(killed.glob(".*"))
    with np.load(killed / "state.npz") as ours, np.load(whole / "state.npz") as theirs:
        for name in set(ours.files) - {"progress"}:
            assert ours[name] == pytest.approx(theirs[name], rel=1e-3, abs=1e-5), name


@pytest.mark.slow
@pytest.mark.parametrize("command", [first_readme.TRAIN, first_readme.FINETUNE])
def test_command_of_the_first_readme_runs_word_for_word(command, tmp_path):
    """Runs in a copy of the code, and stops after the first of ten thousand epochs."""
    for module in {path.relative_to(ROOT).parts[0] for path in ROOT.glob("[!.]*/*.py")}:
        (tmp_path / module).symlink_to(ROOT / module)
    for module in ROOT.glob("*.py"):
        shutil.copy(module, tmp_path)
    weights = tmp_path / "trained_models/mattingnet/20200202/490-0.12.h5"
    weights.parent.mkdir(parents=True)
    build("mattingnet", (256, 192)).save(weights)  # the older format, as its name says
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    process = subprocess.Popen(
        f"exec {command}", shell=True, cwd=tmp_path, env=os.environ | {"PATH": path}
    )
    folder = "lightnet" if command == first_readme.TRAIN else "mattingnet"
    runs = tmp_path / "trained_models" / folder
    try:
        wait_for(lambda: list(runs.glob("*/state.npz")), process, 900)
    finally:
        process.terminate()
        process.wait()
    assert len(list(runs.glob("*/0001-*.weights.h5"))) == 1
