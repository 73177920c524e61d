"""The command line: help at once, one clear line for what is wrong, and the README's commands."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import command_line
import numpy as np
import pytest
import tiny_portraits
from absl.testing import flagsaver
from PIL import Image
from project import ROOT

import main
from portrait import cli, losses
from portrait.commands import flags as main_flags
from portrait.commands import parts
from portrait.inference.network import shipped_files
from portrait.models.registry import MODELS, parse_input_shape, split_name
from portrait.models.weights import network_of
from portrait.training import fit as training
from portrait.training import recipe

# As the first README of this project has them.
TRAIN = (
    "python main.py --input_shape=256 --nb_epoch=10000 --batch_size=32 --lr=0.0001 --val_ratio=0.8 "
    "--checkpoint=31 --checkpoint_path='./trained_models/lightnet' "
    '--weight_dir="./trained_models/initial.h5" --tflite_name="" --train=True --finetune=False '
    '--convert=False --android=False --model="mattingnet"'
)
FINETUNE = (
    "python main.py --input_shape=256 --nb_epoch=10000 --batch_size=32 --lr=0.0001 --val_ratio=0.8 "
    "--checkpoint=100 --checkpoint_path='./trained_models/mattingnet/' "
    '--weight_dir="./trained_models/mattingnet/20200202/490-0.12.h5" --train=True --finetune=True '
    '--convert=False --android=False --model_size="big"'
)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working folder with eight pictures in `data`."""
    monkeypatch.chdir(tmp_path)
    tiny_portraits.write(tmp_path / "data", 8, (32, 32))
    return tmp_path


@pytest.mark.parametrize("arguments", ["--help", "", "--train=False", "--train=0 --nofinetune"])
def test_help_needs_no_tensorflow(arguments, tmp_path):
    """It is shown on demand, and where nothing is to be done, or explicitly not to be done."""
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
    assert {"absl.flags", "files"} <= imported
    assert not imported & {"numpy", "tensorflow", "keras", "cv2", "matplotlib"}


def test_wrong_flag_ends_the_process_with_status_2(tmp_path):
    command = [sys.executable, ROOT / "main.py", "--trian=True"]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert ended.returncode == 2 and not ended.stdout
    assert ended.stderr.startswith("error: Unknown command line flag 'trian'")
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--train", "True"], "unexpected argument 'True': write --flag=value"),
        (["--train=maybe"], "flag --train=maybe"),
        (["--train=True", "--model=unet"], "flag --model=unet"),
        (["--train=True", "--nb_epoch=0"], "flag --nb_epoch=0"),
        (["--train=True", "--augment_strength=4"], "flag --augment_strength=4"),
        (["--preview_data=True"], "flag --preview_data=True: its name must end in .png"),
        (["--train=True", "--batch_size=few"], "flag --batch_size=few"),
        (["--train=True", "--lr=-1"], "flag --lr=-1"),
        (["--train=True", "--seed=5000000000"], "flag --seed=5000000000"),
        (["--compress=prune", "--sparsity=2"], "flag --sparsity=2.0: must be between 0 and 1"),
        (["--compress=cluster", "--clusters=1"], "flag --clusters=1"),
        (["photo.jpg"], "unexpected argument 'photo.jpg'"),
    ],
)
def test_wrong_flags(arguments, message):
    status, out, err = command_line.run(*arguments)
    assert (status, out) == (2, "")
    assert err.startswith(f"error: {message}") and err.endswith("(see --help)\n")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--train=True --data=gone", "no such data folder: gone"),
        ("--train=True --data=data,gone", "no such data folder: gone"),
        ("--train=True --data=empty", "no pictures with mattes in .*empty; known layouts: .*"),
        ("--train=True --data=one", "one: two pictures are needed, to train and to validate"),
        ("--train=True --data=data --input_shape=100", ".*100.*multiples of 32.*"),
        ("--train=True --data=data --input_shape=big", ".*write HEIGHT or HEIGHTxWIDTH.*"),
        ("--train=True --data=data --val_ratio=1", "--val_ratio=1.0: .*"),
        ("--train=True --data=data --augment=sparkle", ".*sparkle.*"),
        ("--train=True --data=data --boundary_thickness=3,²", "--boundary_thickness: .*"),
        (
            "--train=True --data=data --augment=background --backgrounds=gone",
            "no such folder of backgrounds: gone",
        ),
        ("--train=True --data=data --checkpoint_path=file", "cannot make file/.*: Not a directory"),
        ("--train=True --data=data --weight_dir=text.h5", "text.h5 does not hold the weights .*"),
        ("--finetune=True --data=data", "--finetune=True needs the weights .*: --weight_dir=FILE"),
        (
            "--finetune=True --data=data --weight_dir=a/gone.h5",
            "there is no weights file a/gone.h5",
        ),
        ("--evaluate=True --data=data --weight_dir=gone.h5", "there is no weights file gone.h5"),
        ("--predict=gone.jpg", "there is no gone.jpg"),
        (
            "--train=True --data=data --model=refine_unet --vgg_weights=file",
            "--vgg_weights is for portrait_fcn, .*, not for refine_unet",
        ),
        ("--predict=file --weight_dir=empty", r"there is no EPOCH-VALLOSS.weights.h5 in empty"),
        ("--resume=True --checkpoint_path=gone", "no run to resume in gone: .*"),
        ("--train=True --data=data --convert=True --formats=int9", ".*no export format 'int9'.*"),
        (
            "--train=True --data=data --compress=qat --tflite_name=a/b",
            "'a/b' cannot be the name of files: .*",
        ),
        (
            "--train=True --data=data --convert=True --android=True --formats=int8,mlmodel",
            r"there is no Android \(RGBA\) variant of mlmodel",
        ),
        (
            "--train=True --data=data --compress=qat --formats=float16",
            "qat makes int8 and uint8, not float16",
        ),
        (
            "--train=True --data=data --compress=prune --model=selfie_net",
            "selfie_net_small cannot be compressed: it is written for Keras 3 only",
        ),
        (
            "--train=True --data=data --convert=True --model=portrait_fcn_plus",
            "portrait_fcn_plus cannot be exported: it needs the face's box, .*",
        ),
        (
            "--train=True --data=gone --model=lite_unet --model_size=deep",
            "--model_size=deep: lite_unet comes in big, small",
        ),
        ("--train=True --data=half --evaluate=True", "half has no testing sub-folder"),
        ("--preview_data=file/a.png --data=data", "cannot write file/a.png: file is a file"),
    ],
)
def test_what_a_user_can_get_wrong(arguments, message, here):
    (here / "empty").mkdir()
    (here / "file").touch()
    (here / "text.h5").write_text("not weights")
    tiny_portraits.write(here / "one", 1, (32, 32))
    tiny_portraits.write(here / "half" / "training", 4, (32, 32))
    options = ["--input_shape=32x32", "--workers=0", "--augment=none", "--model_size=small"]
    status, out, err = command_line.run(*options, *arguments.split())
    assert status == 1 and "best checkpoint" not in out
    line = err.splitlines()[-1]
    assert re.fullmatch(f"error: {message}", line), line
    assert err.count("error: ") == 1 and "Traceback" not in err


def test_choices_are_those_of_the_modules():
    def choices(flag):
        return set(main.FLAGS[flag].parser.enum_values)

    assert choices("model") == {*MODELS, "kmeans"}
    assert choices("loss") == losses.MATTE_WEIGHTS.keys()
    assert choices("schedule") == set(recipe.SCHEDULES)


@pytest.mark.parametrize("card", sorted((ROOT / "trained_models").glob("*/README.md")))
def test_shipped_networks_are_used_at_the_size_that_their_card_names(card):
    trained = tuple(map(int, re.findall(r"(\d+)x(\d+)", card.read_text().splitlines()[0])[0]))
    name, size = split_name(card.parent.name)
    with flagsaver.flagsaver():
        cli.parse_flags(["main.py", f"--model={name}", f"--model_size={size}"])
        main_flags.settle_input_shape(trains=False)
        assert parse_input_shape(main.FLAGS.input_shape) == trained
    weights = card.with_name(f"{card.parent.name}.weights.h5")
    assert parse_input_shape(network_of(weights)["input_shape"]) == trained


@pytest.mark.parametrize(
    ("flag", "trains", "shape"),
    [
        ("--evaluate", False, "288x224"),
        ("--input_shape=256", False, "256"),
        ("--weight_dir=mine.weights.h5", False, "256"),
        ("--preview_data=sheet.png", False, "256"),
        ("--train", True, "256"),
    ],
)
def test_only_shipped_weights_bring_their_size(flag, trains, shape):
    with flagsaver.flagsaver():
        cli.parse_flags(["main.py", "--model=lite_unet", flag])
        main_flags.settle_input_shape(trains)
        assert main.FLAGS.input_shape == shape


@pytest.mark.parametrize(
    ("command", "finetune", "every"), [(TRAIN, False, 31), (FINETUNE, True, 100)]
)
def test_commands_of_the_first_readme(command, finetune, every):
    _, _, *arguments = shlex.split(command)
    with flagsaver.flagsaver():
        assert cli.parse_flags(["main.py", *arguments]) == ["main.py"]
        main_flags.settle_input_shape(trains=True)
        flags = main.FLAGS
        assert (flags.train, flags.finetune, flags.convert) == (True, finetune, False)
        assert (flags.nb_epoch, flags.batch_size, flags.lr) == (10000, 32, 0.0001)
        assert (flags.val_ratio, flags.checkpoint, flags.android) == (0.8, every, False)
        assert (flags.model, flags.model_size, flags.input_shape) == ("mattingnet", "big", "256")
        assert flags.weight_dir and flags.checkpoint_path


@pytest.fixture
def started(here, monkeypatch):
    """Starts a training, which is not done; gives what was to be trained, how, and with what."""
    given = []
    monkeypatch.setattr(training, "train", lambda *arguments: given.append(arguments))

    def start(*flags):
        status, _, err = command_line.run(
            *("--train=True", "--model=mattingnet", "--model_size=small", "--input_shape=32x32"),
            *("--workers=0", "--data=data", "--checkpoint_path=runs", *flags),
        )
        assert status == 0, err
        return given.pop()

    return start


def test_the_recipe_is_what_the_flags_say(started):
    *_, found, _ = started(
        *("--nb_epoch=3", "--loss=focal", "--boundary_weight=0.1", "--lr=0.02"),
        *("--schedule=halving", "--ema=False", "--patience=7", "--checkpoint=2"),
    )
    assert found == recipe.Recipe(
        epochs=3,
        loss="focal",
        boundary_weight=0.1,
        lr=0.02,
        schedule="halving",
        ema=False,
        patience=7,
        checkpoint_every=2,
    )


def test_the_batches_are_what_the_flags_say(started):
    Path("walls").mkdir()
    Image.new("RGB", (40, 40), (1, 2, 3)).save("walls/wall.png")
    teacher = shipped_files()["fast_scnn"]
    _, trained, validated, *_ = started(
        *("--augment=background,gamma", "--augment_strength=0.5", "--backgrounds=walls"),
        *("--seed=9", "--batch_size=2", "--boundary_thickness=3,9"),
        *(f"--teachers={teacher}", "--teacher_share=0.2"),
    )
    augmented = trained.augmentation
    walls = [photo[0, 0].tolist() for photo in augmented.backgrounds]
    found = augmented.names, augmented.strength, walls
    assert found == (("background", "gamma"), 0.5, [[1, 2, 3]])
    largest = max(len(images) for images, _ in trained)
    assert (trained.seed, trained.teachers.share, largest) == (9, 0.2, 2)
    # Of two bands the mean: 1, a half and 0, in 256 levels.
    for batches in trained, validated:
        _, targets = batches[0]
        levels = np.unique(targets["boundary_attention"] * 255)
        assert levels == pytest.approx([0, 128, 255])


@pytest.mark.parametrize(
    ("flags", "rate"),
    [
        ({"model": "mattingnet"}, 0.003),
        ({"model": "mattingnet", "weight_dir": ROOT / "trained_models" / "mattingnet_big"}, 0.001),
        ({"model": "refine_unet"}, 0.001),
        ({"model": "cnn_resnet"}, 0.0001),
        ({"model": "cnn_resnet", "vgg_weights": "none"}, 0.001),
        ({"model": "cnn_resnet", "lr": 0.5}, 0.5),
    ],
)
def test_the_default_rate(here, flags, rate):
    with flagsaver.flagsaver():
        cli.parse_flags(["main.py", *(f"--{name}={value}" for name, value in flags.items())])
        assert parts.learning_rate() == rate


def test_weights_by_their_older_name_tell_their_network(here):
    """`X.h5`, where there is `X.weights.h5`."""
    shipped = ROOT / "trained_models" / "fast_scnn" / "fast_scnn.h5"
    with flagsaver.flagsaver():
        cli.parse_flags(["main.py", f"--weight_dir={shipped}"])
        main_flags.follow_weights(trains=False)
        assert main_flags.FLAGS.model == "fast_scnn"
