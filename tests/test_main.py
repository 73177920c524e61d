"""Tests that the command line shows its help quickly, and one clear line for an error."""

import re
import subprocess
import sys

import command_line
import pytest
import tiny_portraits
from project import ROOT

import main


@pytest.mark.parametrize("arguments", ["--help", "", "--train=False", "--train=0 --nofinetune"])
def test_help_needs_no_tensorflow(arguments, tmp_path):
    """The help is shown on demand, without a verb, and with verbs that are false."""
    ended = subprocess.run(
        [sys.executable, "-X", "importtime", ROOT / "main.py", *arguments.split()],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert ended.returncode == 0
    assert main.__doc__.splitlines()[0] in ended.stdout
    for name in [*main.VERBS, "data", "nb_epoch", "weight_dir"]:
        assert f"--{name}:" in ended.stdout or f"--[no]{name}:" in ended.stdout
    imported = {line.rpartition("|")[2].strip() for line in ended.stderr.splitlines()}
    assert {"absl.flags", "portrait.commands.flags"} <= imported
    assert not imported & {"numpy", "tensorflow", "keras", "cv2", "matplotlib"}


def test_a_wrong_flag_ends_the_process_with_status_2(tmp_path):
    command = [sys.executable, ROOT / "main.py", "--trian=True"]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert re.fullmatch("error: .*trian.*\n", ended.stderr)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--train", "True"], "'True'"),
        (["--train=maybe"], "--train=maybe"),
        (["--train=True", "--model=unet"], "--model=unet"),
        (["--train=True", "--nb_epoch=0"], "--nb_epoch=0"),
        (["--train=True", "--val_ratio=1"], "--val_ratio=1"),
        (["--train=True", "--val_ratio=nan"], "--val_ratio=nan"),
        (["--train=True", "--augment_strength=4"], "--augment_strength=4"),
        (["--preview_data=True"], "--preview_data=True"),
        (["--train=True", "--batch_size=few"], "--batch_size=few"),
        (["--train=True", "--lr=-1"], "--lr=-1"),
        (["--train=True", "--seed=5000000000"], "--seed=5000000000"),
        (["--compress=prune", "--sparsity=2"], "--sparsity=2"),
        (["--compress=cluster", "--clusters=1"], "--clusters=1"),
        (["photo.jpg"], "photo.jpg"),
    ],
)
def test_wrong_flags(arguments, named):
    status, out, err = command_line.run(*arguments)
    assert (status, out) == (2, "")
    assert re.fullmatch(f"error: .*{named}.*\n", err)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working folder with eight pictures in `data`, and with wrong inputs beside it."""
    monkeypatch.chdir(tmp_path)
    tiny_portraits.write(tmp_path / "data", 8, (32, 32))
    tiny_portraits.write(tmp_path / "one", 1, (32, 32))
    tiny_portraits.write(tmp_path / "half" / "training", 4, (32, 32))
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "text.h5").write_text("not weights")
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ("--train=True --data=gone", "gone"),
        ("--train=True --data=data,gone", "gone"),
        ("--train=True --data=empty", "empty"),
        ("--train=True --data=one", "one"),
        ("--train=True --data=data --input_shape=100", "--input_shape=100"),
        ("--train=True --data=data --input_shape=big", "--input_shape=big"),
        ("--train=True --data=data --augment=sparkle", "sparkle"),
        ("--train=True --data=data --boundary_thickness=3,²", "--boundary_thickness"),
        ("--train=True --data=data --augment=background --backgrounds=gone", "gone"),
        ("--train=True --data=data --checkpoint_path=file", "file"),
        ("--train=True --data=data --weight_dir=text.h5", "text.h5"),
        ("--train=True --data=data --model=refine_unet --start=file", "--start=file.*refine_unet"),
        ("--train=True --data=data --start=imagenet", "--start=imagenet.*mattingnet"),
        ("--train=True --data=data --model=cnn_resnet --start=gone.npz", "--start=gone.npz"),
        ("--train=True --data=data --model=kmeans", "kmeans"),
        ("--convert=True --data=data --model=kmeans", "kmeans"),
        ("--finetune=True --data=data", "--weight_dir"),
        ("--finetune=True --data=data --weight_dir=a/gone.h5", "a/gone.h5"),
        ("--evaluate=True --data=data --weight_dir=gone.h5", "gone.h5"),
        ("--predict=gone.jpg", "gone.jpg"),
        ("--predict=file --weight_dir=empty", "empty"),
        ("--resume=True --checkpoint_path=gone", "gone"),
        ("--train=True --data=data --convert=True --formats=int9", "int9"),
        ("--train=True --data=data --compress=qat --tflite_name=a/b", "a/b"),
        (
            "--train=True --data=data --convert=True --android=True --formats=int8,mlmodel",
            "mlmodel",
        ),
        ("--train=True --data=data --compress=qat --formats=float16", "float16"),
        (
            "--train=True --data=data --convert=True --model=portrait_fcn_plus",
            "portrait_fcn_plus",
        ),
        (
            "--train=True --data=gone --model=mattingnet --model_size=deep",
            "--model_size=deep.*big, small",
        ),
        ("--train=True --data=half --evaluate=True", "half"),
        ("--preview_data=file/a.png --data=data", "file/a.png"),
    ],
)
def test_what_a_user_can_get_wrong(arguments, named, here):
    options = ["--input_shape=32x32", "--workers=0", "--augment=none"]
    if "--model=" not in arguments:
        options.append("--model_size=small")
    status, _, err = command_line.run(*options, *arguments.split())
    assert status == 1
    assert re.fullmatch(f"error: .*{named}.*", err.splitlines()[-1])
    assert err.count("error: ") == 1 and "Traceback" not in err
    assert not list(here.glob("**/run.json")) and not list(here.glob("**/*.png.part"))
