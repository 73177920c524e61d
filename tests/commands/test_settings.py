"""Tests combinations of flags of main.py: defaults, the network of weights, resuming."""

import json
import re
import shlex

import first_readme
import pytest
from absl.testing import flagsaver
from project import ROOT

from portrait import cli
from portrait.commands import settings
from portrait.commands import train as commands
from portrait.commands.flags import FLAGS
from portrait.errors import UserError
from portrait.models.registry import SPECS, parse_input_shape, takes_alpha
from portrait.models.weights import network_of

SHIPPED = sorted((ROOT / "trained_models").glob("*/*.weights.h5"))


@pytest.fixture
def settle(tmp_path, monkeypatch):
    """Parses flags in an empty folder and settles them; returns the run to resume."""
    monkeypatch.chdir(tmp_path)

    def settled(*arguments: str):
        assert cli.parse_flags(["main.py", *arguments]) == ["main.py"]
        return settings.settle()

    with flagsaver.flagsaver():
        yield settled


@pytest.mark.parametrize("weights", SHIPPED, ids=lambda path: path.parent.name)
def test_shipped_networks_are_used_at_the_size_of_their_run_json(settle, weights):
    network = network_of(weights)
    verb = "--convert" if takes_alpha(network["model"]) == "coarse" else "--evaluate"
    size = [f"--model_size={network['model_size']}"] if SPECS[network["model"]].sizes else []
    settle(verb, f"--model={network['model']}", *size)
    assert FLAGS.input_shape == network["input_shape"]


@pytest.mark.parametrize(
    ("flags", "shape"),
    [
        (["--predict=."], "288x256"),
        (["--predict=.", "--input_shape=128"], "128"),
        (["--predict=.", "--weight_dir=mine.weights.h5"], "256"),
        (["--preview_data=sheet.png"], "256"),
        (["--train"], "256"),
    ],
)
def test_only_shipped_weights_bring_their_size(settle, flags, shape):
    """The shipped U-Net was trained at 288x256; the default is 256."""
    settle("--model=lite_unet", *flags)
    assert FLAGS.input_shape == shape


@pytest.mark.parametrize(
    ("model", "flag", "message"),
    [
        ("refiner", "--evaluate", "refines the alphas"),
        ("refiner", "--predict=.", "refines the alphas"),
        ("refiner", "--compress=qat", "refines the alphas"),
        ("selfie_net_video", "--compress=qat", "cannot be compressed"),
        ("refiner", "--android=True", "leave out --android"),
        ("selfie_net_video", "--android=True", "leave out --android"),
        ("refiner", "--augment=gamma", "use --augment=default"),
        ("refiner", "--augment_strength=2", "--augment_strength has no effect on refiner"),
        ("refiner", "--backgrounds=b", "--backgrounds has no effect"),
        ("refiner", "--boundary_thickness=3", "--boundary_thickness has no effect"),
        ("refiner", "--teachers=fast_scnn", "--teachers has no effect"),
        ("refiner", "--teacher_share=0.5", "--teacher_share has no effect"),
        ("refiner", "--input_range=0..1", "--input_range has no effect"),
        ("refiner", "--cache=disk", "--cache has no effect"),
        ("selfie_net_video", "--cache=auto", "--cache has no effect on selfie_net_video"),
    ],
)
def test_what_networks_with_an_alpha_beside_the_picture_cannot_do(settle, model, flag, message):
    with pytest.raises(UserError, match=message):
        settle(f"--model={model}", "--convert", flag)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--convert --refine=guided", "--refine is for --evaluate and --predict"),
        ("--evaluate --formats=float16", "--formats is for --convert and --compress"),
        ("--predict=. --allow_cpu_ops=True", "--allow_cpu_ops is for"),
        ("--compress=qat --gpu_check=True", "--gpu_check is for --convert"),
        ("--compress=qat --clusters=16", "--clusters is for --compress=cluster"),
        ("--compress=cluster --sparsity=0.9", "--sparsity is for --compress=prune"),
        ("--evaluate --loss=focal", "--loss is for --train"),
        ("--evaluate --devices=2", "--devices is for --train"),
        ("--compress=qat --mixed_precision=float16", "--mixed_precision is for --train"),
        ("--convert --teachers=fast_scnn", "--teachers is for --train"),
        ("--compress=prune --teachers=fast_scnn", "--teachers is for --train"),
        ("--compress=qat --boundary_thickness=3", "--boundary_thickness is for --train"),
        ("--train --teacher_share=0.9", "--teacher_share is for --teachers"),
        ("--evaluate --backgrounds=b", "--backgrounds is for --train"),
        ("--evaluate --augment_strength=2", "--augment_strength is for --train"),
        ("--train --augment=-background --backgrounds=b", "--backgrounds is for the augmentation"),
        ("--finetune --weight_dir=w.h5 --start=none", "--start and --weight_dir"),
        ("--evaluate --weight_dir=w.h5 --start=none", "--start and --weight_dir"),
        ("--evaluate --checkpoint_path=runs", "--checkpoint_path is for trainings"),
        ("--train --model=fast_scnn --model_size=small", "--model_size has no effect on fast_scnn"),
        ("--evaluate --model=kmeans --weight_dir=w.h5", "--weight_dir has no effect on kmeans"),
        ("--evaluate --model=kmeans --start=none", "--start has no effect on kmeans"),
        ("--evaluate --model=kmeans --model_size=big", "--model_size has no effect on kmeans"),
        ("--predict=. --model=kmeans --input_shape=64x64", "--input_shape has no effect on kmeans"),
        ("--train --augment=none --augment_strength=2", "--augment_strength has no effect with"),
        ("--train --data=", "--data= is empty"),
        ("--evaluate --weight_dir=", "--weight_dir= is empty"),
        ("--convert --formats=", "--formats= is empty"),
        ("--train --input_shape=", "--input_shape= is empty"),
    ],
)
def test_flags_without_effect_are_refused(settle, flags, message, tmp_path):
    (tmp_path / "w.h5").touch()
    with pytest.raises(UserError, match=message):
        settle(*flags.split())


@pytest.mark.parametrize(
    "flags",
    [
        "--train --convert --formats=float16 --gpu_check --refine=none --predict=.",
        "--train --start=none --weight_dir=gone.h5",  # the training starts without it
        "--evaluate --weight_dir=w.h5 --checkpoint_path=runs",
        "--train --augment=default --backgrounds=b --teachers=a --teacher_share=0.9",
        "--preview_data=a.png --teachers=a --input_range=0..1 --backgrounds=b --augment_strength=2",
        "--compress=prune --sparsity=0.9 --backgrounds=b --convert --gpu_check",
        "--train --boundary_thickness=3 --compress=qat --teachers=a",
        "--train --model=mattingnet --model_size=small --augment=none,gamma --augment_strength=2",
        "--evaluate --model=kmeans --preview_data=a.png --input_shape=64x64",
    ],
)
def test_flags_with_an_effect_are_not(settle, flags, tmp_path):
    (tmp_path / "w.h5").touch()
    settle(*flags.split())


def test_a_network_for_videos_takes_photographs(settle):
    settle("--model=selfie_net_video", "--evaluate", "--predict=.", "--convert")
    assert FLAGS.input_shape == "256x256"


@pytest.mark.parametrize("model", ["refiner", "selfie_net_video"])
def test_the_commands_of_the_docs_for_such_networks(settle, model, monkeypatch):
    monkeypatch.chdir(ROOT)
    page = (ROOT / "docs" / "networks.md").read_text().replace("\\\n", "")
    page = page.replace("=RUN", "=trained_models/refiner")
    commands = re.findall(rf"^python main.py (--model={model} .*)", page, re.MULTILINE)
    assert commands
    for command in commands:
        settle(*shlex.split(command))
        assert FLAGS.model == model


@pytest.mark.parametrize(
    ("model", "name"), [("refiner", "teachers"), ("selfie_net_video", "cache")]
)
def test_an_old_run_with_flags_without_effect_resumes(settle, old_run, model, name):
    flags = {"model": model, "model_size": "big", "input_shape": "64x64"}
    flags |= {name: ["a"] if name == "teachers" else "disk", "augment": "all", "teacher_share": 0.2}
    (old_run / "run.json").write_text(json.dumps({"flags": flags}))
    assert settle("--resume", "--checkpoint_path=runs").folder.resolve() == old_run
    assert FLAGS[name].value == flags[name]


@pytest.mark.parametrize("name", ["selfie_net_deep", "selfie_net_deep/selfie_net_deep.h5"])
def test_weights_tell_their_network(settle, name):
    """By the folder, and by the file name of an older Keras."""
    settle("--evaluate", f"--weight_dir={ROOT / 'trained_models' / name}")
    found = (FLAGS.model, FLAGS.model_size, FLAGS.input_shape)
    assert found == ("selfie_net", "deep", "256x256")


@pytest.mark.parametrize(("flags", "shape"), [([], "288x256"), (["--input_shape=256"], "256")])
def test_a_fine_tuning_takes_the_network_and_the_size_of_its_weights(settle, flags, shape):
    settle("--finetune", f"--weight_dir={ROOT / 'trained_models' / 'lite_unet'}", *flags)
    assert (FLAGS.model, FLAGS.input_shape) == ("lite_unet", shape)


@pytest.mark.parametrize(
    ("command", "finetune", "every"),
    [(first_readme.TRAIN, False, 31), (first_readme.FINETUNE, True, 100)],
)
def test_commands_of_the_first_readme(settle, command, finetune, every, tmp_path):
    weights = tmp_path / "trained_models/mattingnet/20200202/490-0.12.h5"
    weights.parent.mkdir(parents=True)
    weights.touch()
    _, _, *arguments = shlex.split(command)
    settle(*arguments)
    assert (FLAGS.train, FLAGS.finetune, FLAGS.convert) == (True, finetune, False)
    assert (FLAGS.nb_epoch, FLAGS.batch_size, FLAGS.lr) == (10000, 32, 0.0001)
    assert (FLAGS.val_ratio, FLAGS.checkpoint, FLAGS.android) == (0.8, every, False)
    assert (FLAGS.model, FLAGS.model_size) == ("mattingnet", "big")
    assert parse_input_shape(FLAGS.input_shape) == (256, 192)
    assert FLAGS.weight_dir and FLAGS.checkpoint_path


@pytest.fixture
def old_run(tmp_path):
    """The folder of a run whose run.json has the flags of an earlier version."""
    folder = tmp_path / "runs" / "20260131"
    folder.mkdir(parents=True)
    flags = {"model": "mattingnet", "model_size": "small", "input_shape": "64x32", "lr": 0.125}
    flags |= {"data": ["a", "b"], "nb_epoch": 3, "output": "output", "formats": None}
    flags |= {"keep_norms": True, "lite0_weights": "", "vgg_weights": "", "clusters": 32}
    (folder / "run.json").write_text(json.dumps({"flags": flags}))
    return folder


def test_a_run_resumes_with_its_own_flags_without_the_retired_ones(settle, old_run):
    run = settle("--resume", "--checkpoint_path=runs", "--nb_epoch=5")
    assert run.folder.resolve() == old_run
    given = cli.arguments(commands.train)
    network = (given["model"], given["model_size"], given["input_shape"])
    assert network == ("mattingnet", "small", "64x32")
    assert (given["lr"], given["data"], given["nb_epoch"]) == (0.125, ["a", "b"], 5)


@pytest.mark.parametrize(("data", "size"), [([], 8), (["a"], 32)])
def test_an_old_run_without_a_batch_size_resumes_with_its_default(settle, old_run, data, size):
    flags = {"model": "fast_scnn", "input_shape": "64x32", "data": data, "batch_size": None}
    (old_run / "run.json").write_text(json.dumps({"flags": flags}))
    settle("--resume", "--checkpoint_path=runs")
    assert FLAGS.batch_size == size
    settle("--resume", "--checkpoint_path=runs", f"--batch_size={size}")
    with pytest.raises(UserError, match=f"--batch_size={size}: it cannot continue"):
        settle("--resume", "--checkpoint_path=runs", "--batch_size=16")


def test_a_run_with_a_state_resumes_without_the_file_of_its_start(settle, old_run):
    flags = {"model": "fast_scnn_skips", "input_shape": "64x32", "start": "gone.weights.h5"}
    (old_run / "run.json").write_text(json.dumps({"flags": flags}))
    with pytest.raises(UserError, match=r"gone\.weights\.h5: there is no such file"):
        settle("--resume", "--checkpoint_path=runs")
    (old_run / "state.npz").touch()
    assert settle("--resume", "--checkpoint_path=runs").folder.resolve() == old_run


@pytest.mark.parametrize("flag", ["--lr=0.5", "--model=fast_scnn", "--data=c"])
def test_a_run_does_not_resume_with_another_value(settle, old_run, flag):
    with pytest.raises(UserError, match=f"runs/20260131.*{flag}"):
        settle("--resume", "--checkpoint_path=runs", flag)


def test_a_flag_that_is_unknown_does_not_resume(settle, old_run):
    path = old_run / "run.json"
    path.write_text(json.dumps({"flags": {"model": "fast_scnn", "sparkle": 3}}))
    with pytest.raises(UserError, match="--sparkle=3"):
        settle("--resume", "--checkpoint_path=runs")


def test_a_run_of_another_program_does_not_resume(settle, old_run):
    (old_run / "run.json").write_text(json.dumps({"budget": {"epochs": 8}}))
    with pytest.raises(UserError, match="runs/20260131"):
        settle("--resume", "--checkpoint_path=runs")


@pytest.mark.parametrize(
    ("flags", "epochs", "lr"),
    [
        ([], 5, 0.0001),
        (["--nb_epoch=3", "--lr=0.5"], 3, 0.5),
        (["--train", "--nb_epoch=3", "--lr=0.5"], 5, 0.0001),
    ],
)
def test_compressing_after_a_training_has_its_own_length_and_rate(settle, flags, epochs, lr):
    settle("--compress=qat", *flags)
    assert settings.compression() == {"epochs": epochs, "lr": lr}
