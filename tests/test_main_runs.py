"""Whole runs from the command line: trained, scored, applied, fine-tuned, killed and resumed."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import command_line
import keras
import numpy as np
import pytest
import tiny_portraits
from PIL import Image
from portrait.inference.segmenters import open_model
from project import ROOT
from test_main import FINETUNE, TRAIN

from portrait.export.compress import compress
from portrait.inference import network
from portrait.models.build import build
from portrait.models.weights import network_of
from portrait.training import fit as training

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
    """A folder in which a network was trained, scored and applied, and what was printed."""
    folder = tmp_path_factory.mktemp("main")
    tiny_portraits.write(folder / "data" / "training", 16, (32, 32))
    tiny_portraits.write(folder / "data" / "testing", 3, (48, 40), seed=1)
    Image.new("RGB", (30, 50), "teal").save(folder / "photo.jpg")
    status, out, err = command_line.run(
        *("--train=True", "--evaluate=True", f"--predict={folder / 'photo.jpg'}"),
        *(f"--output={folder / 'output'}", f"--preview_data={folder / 'sheet.png'}"),
        *("--workers=0", *options(folder)),
    )
    assert status == 0, err
    return folder, out


def test_everything_is_left(trained):
    folder, out = trained
    run = only(folder, "runs/*")
    assert [row["epoch"] for row in history(run)] == [*range(1, EPOCHS + 1)]
    for name in "run.json", "state.npz", "curves.png", "previews/epoch_0001.png":
        assert (run / name).is_file(), name
    assert (run / "unseen" / "0000_cutout.png").is_file()
    with Image.open(folder / "output" / "photo_alpha.png") as alpha:
        assert (alpha.size, alpha.mode) == ((30, 50), "L")
    report = json.loads((folder / "output" / "evaluation.json").read_text())
    assert report["all"]["pictures"] == 3
    assert (folder / "sheet.png").is_file()
    lowest = min(history(run), key=lambda row: row["val_loss"])
    best = f"{lowest['epoch']:04.0f}-{lowest['val_loss']:.4f}.weights.h5"
    assert f"best checkpoint: {run / best} (epoch {lowest['epoch']:.0f} of {EPOCHS}" in out
    kept = {path.name[:4] for path in run.glob("*.h5")}
    assert kept == {"0004", best[:4]}


def test_run_remembers_its_flags(trained):
    folder, _ = trained
    settings = json.loads((only(folder, "runs/*") / "run.json").read_text())
    flags = settings["flags"]
    assert (flags["lr"], flags["nb_epoch"], flags["seed"]) == (0.003, EPOCHS, 0)
    assert flags["data"] == [str(folder / "data")]
    assert not {"train", "resume", "evaluate"} & flags.keys()
    assert sum(settings["data"].values()) == 16


def test_resuming_refuses_what_cannot_be(trained):
    folder, _ = trained
    resume = ("--resume=True", f"--checkpoint_path={folder / 'runs'}", "--workers=0")
    status, _, err = command_line.run(*resume)
    assert status == 1 and err.splitlines()[-1].startswith(f"error: {folder}")
    assert f"is finished (all {EPOCHS} epochs are done): raise --nb_epoch" in err
    status, _, err = command_line.run(*resume, "--lr=0.1")
    assert status == 1 and "was started with --lr=0.003: it cannot go on with --lr=0.1" in err


def test_ctrl_c_says_how_to_go_on(trained, tmp_path, monkeypatch):
    folder, _ = trained

    def train(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "train", train)
    status, _, err = command_line.run("--train=True", "--workers=0", *options(folder, tmp_path))
    run = only(tmp_path, "*")
    advice = f"main.py --resume=True --checkpoint_path={run} goes on with the training"
    assert status == 130 and err.splitlines()[-1] == f"error: interrupted; {advice}"
    (tmp_path / "fast_scnn").mkdir()
    (only(tmp_path, "2*")).rename(tmp_path / "fast_scnn" / "20260131")
    weights = f"--weight_dir={tmp_path / 'fast_scnn'}"
    status, _, err = command_line.run("--evaluate=True", weights, f"--data={folder / 'data'}")
    assert status == 1 and f"did you mean {tmp_path / 'fast_scnn' / '20260131'}?" in err


def test_effects_take_a_run(trained):
    folder, _ = trained
    assert network.load(str(only(folder, "runs/*"))).input_shape == (32, 32)


def test_resuming_refuses_more_pictures(trained, tmp_path):
    """Else the schedule, which counts steps, would end early or late."""
    folder, _ = trained
    for name in ("data", "runs"):
        shutil.copytree(folder / name, tmp_path / name)
    run = only(tmp_path, "runs/*")
    settings = json.loads((run / "run.json").read_text())
    settings["flags"]["data"] = [str(tmp_path / "data")]
    (run / "run.json").write_text(json.dumps(settings))
    first = min((tmp_path / "data" / "training").glob("*_matte.png"))
    for number in range(4):
        copies = first.with_name(f"new{number}_matte.png"), first.with_name(f"new{number}.png")
        shutil.copy(first, copies[0])
        shutil.copy(first.with_name("0000.png"), copies[1])
    kept = (run / "run.json").read_bytes()
    status, _, err = command_line.run(
        *("--resume=True", f"--checkpoint_path={run}", "--workers=0", f"--nb_epoch={EPOCHS + 1}")
    )
    assert status == 1 and re.search(r"error: .* has trained and validated with \d+ and ", err)
    assert (run / "run.json").read_bytes() == kept


@pytest.mark.parametrize("verb", ["train", "finetune"])
def test_mattingnet_has_its_high_rate_from_scratch_only(trained, tmp_path, monkeypatch, verb):
    folder, _ = trained
    rates = []
    monkeypatch.setattr(training, "train", lambda *args: rates.append(args[4].lr))
    given = [flag for flag in options(folder, tmp_path) if "--lr" not in flag]
    start = f"--weight_dir={only(folder, 'runs/*')}"
    for more in [start], [] if verb == "train" else [start]:
        status, _, err = command_line.run(f"--{verb}=True", "--workers=0", *given, *more)
        assert status == 0, err
    assert rates == [0.001, 0.003 if verb == "train" else 0.001]


def test_a_run_tells_which_network_it_is_of(trained, tmp_path):
    folder, _ = trained
    run = only(folder, "runs/*")
    assert network_of(run / "0004.weights.h5") == {
        "model": "mattingnet",
        "model_size": "small",
        "input_shape": "32x32",
    }
    assert open_model(f"mattingnet_small={run}").input_shape == (32, 32)
    predict = (f"--predict={folder / 'photo.jpg'}", f"--weight_dir={run}")
    status, _, err = command_line.run(*predict, f"--output={tmp_path}")
    assert status == 0, err
    again, before = (
        np.asarray(Image.open(where / "photo_alpha.png")) for where in (tmp_path, folder / "output")
    )
    assert np.array_equal(again, before)
    status, _, err = command_line.run(*predict, "--model=fast_scnn", f"--output={tmp_path}")
    assert status == 1 and "does not hold the weights of fast_scnn" in err


def test_finetuning_starts_from_the_best_of_a_run(trained, tmp_path, monkeypatch):
    folder, _ = trained
    run = only(folder, "runs/*")
    started = []

    def train(model, pictures, validation, new_run, recipe, resume):
        started.append((model.get_weights(), recipe, resume))

    monkeypatch.setattr(training, "train", train)
    status, out, err = command_line.run(
        *("--finetune=True", f"--weight_dir={run}", "--workers=0"),
        *options(folder, tmp_path / "tuned", epochs=7),
    )
    assert status == 0, err
    best = min(run.glob("*.h5"), key=lambda path: float(path.name[5:11]))
    assert f"starting from {best}" in out
    expected = build("mattingnet", (32, 32), "small")
    expected.load_weights(best)
    ((weights, recipe, resume),) = started
    for ours, theirs in zip(weights, expected.get_weights(), strict=True):
        assert np.array_equal(ours, theirs)
    assert (recipe.epochs, recipe.lr, recipe.checkpoint_every, resume) == (7, 0.003, 4, False)


def test_a_resumed_finetuning_keeps_its_rate(trained, tmp_path, monkeypatch):
    """Which is another one than training's; half precision is for training only."""
    folder, _ = trained
    started = []

    def train(model, pictures, validation, run, recipe, resume):
        started.append((recipe.lr, model.layers[-1].compute_dtype, model.layers[4].compute_dtype))

    monkeypatch.setattr(training, "train", train)
    given = [flag for flag in options(folder, tmp_path / "tuned") if "--lr" not in flag]
    tune = ("--finetune=True", f"--weight_dir={only(folder, 'runs/*')}")
    for verb in (*tune, "--mixed_precision=bfloat16", *given), ("--resume=True", given[-1]):
        status, _, err = command_line.run(*verb, "--workers=0")
        assert status == 0, err
    assert [rate for rate, *_ in started] == [0.001, 0.001]
    assert all("bfloat16" in types for _, *types in started)
    assert keras.config.dtype_policy().name == "float32"


def test_compressing_after_a_training_has_its_own_plan(trained, tmp_path, monkeypatch):
    """Not the rate and the epochs of the training; without one they are those of the flags."""
    folder, _ = trained
    run = only(folder, "runs/*")
    plans = []
    monkeypatch.setattr(training, "train", lambda *args: next(run.glob("*.h5")))
    monkeypatch.setattr(compress, "compress", lambda *args, **options: plans.append(args[4]))
    for before in (
        ["--resume=True", f"--checkpoint_path={run}"],
        ["--train=True", *options(folder, tmp_path / "more")],
        [f"--weight_dir={run}", *options(folder)],
    ):
        status, _, err = command_line.run(
            *before, "--workers=0", "--compress=qat", "--refine=none", f"--output={tmp_path}"
        )
        assert status == 0, err
    assert {plan.method for plan in plans} == {"qat"}
    assert [(plan.epochs, plan.lr) for plan in plans] == [(5, 1e-4), (5, 1e-4), (EPOCHS, 0.003)]


def wait_for(condition, process, seconds):
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, "it ended by itself"
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.02)


def test_killed_and_resumed_equals_unbroken(trained):
    """SIGKILL in the third epoch or soon after; two worker processes, where `trained` had none."""
    folder, _ = trained
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
    status, out, err = command_line.run(*resume)
    assert status == 0, err
    for ours, theirs in zip(history(killed), history(whole), strict=True):
        del ours["seconds"], theirs["seconds"]
        assert ours == pytest.approx(theirs, rel=1e-4, abs=1e-6)
    best = sorted(path.name for path in whole.glob("*.h5"))[-1]
    assert f"best checkpoint: {killed / best}" in out
    assert not list(killed.glob(".*"))
    with np.load(killed / "state.npz") as ours, np.load(whole / "state.npz") as theirs:
        for name in set(ours.files) - {"progress"}:
            assert ours[name] == pytest.approx(theirs[name], rel=1e-3, abs=1e-5), name


@pytest.mark.slow
@pytest.mark.parametrize("command", [TRAIN, FINETUNE])
def test_command_of_the_first_readme_runs_word_for_word(command, tmp_path):
    """In a copy of the code; stopped after its first epoch of ten thousand."""
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
    folder = "lightnet" if command == TRAIN else "mattingnet"
    runs = tmp_path / "trained_models" / folder
    try:
        wait_for(lambda: list(runs.glob("*/state.npz")), process, 900)
    finally:
        process.terminate()
        process.wait()
    assert len(list(runs.glob("*/0001-*.weights.h5"))) == 1
