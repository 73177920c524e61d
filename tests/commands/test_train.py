"""Tests `train` as a function: its run, its initial weights, and resuming."""

import csv
import dataclasses
import json
import re
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
import tiny_network
import tiny_portraits
import tiny_spec
from PIL import Image
from project import ROOT

from portrait.commands import train as commands
from portrait.commands import use
from portrait.commands.batches import batches
from portrait.commands.train import train
from portrait.errors import UserError
from portrait.inference.network import load, shipped_files
from portrait.models import registry
from portrait.models.build import build
from portrait.training import fit
from portrait.training.recipe import Recipe
from portrait.training.run import Run

pytestmark = pytest.mark.usefixtures("registered")
SIZE = (64, 32)
QUICK = {"augment": "none", "workers": 0, "batch_size": 4}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return tiny_portraits.write(tmp_path_factory.mktemp("data") / "set", 10, SIZE)


@pytest.fixture(scope="module")
def best(data, tmp_path_factory):
    """Trains for two epochs, with paths as arguments, and returns the checkpoint."""
    runs = tmp_path_factory.mktemp("runs")
    return train("tiny", data=[data], checkpoint_path=runs, nb_epoch=2, **QUICK)


def history(run: Path) -> list[dict[str, str]]:
    with open(run / "history.csv", newline="") as file:
        return list(csv.DictReader(file))


def flags(run: Path) -> dict:
    return json.loads((run / "run.json").read_text())["flags"]


def test_the_best_checkpoint_is_returned_and_the_run_is_complete(best):
    run = best.parent
    rows = history(run)
    assert [row["epoch"] for row in rows] == ["1", "2"]
    lowest = min(rows, key=lambda row: float(row["val_loss"]))
    assert best.name == f"{int(lowest['epoch']):04}-{float(lowest['val_loss']):.4f}.weights.h5"
    for name in ("curves.png", "previews/epoch_0001.png", "unseen"):
        assert (run / name).exists(), name
    assert load(run).input_shape == SIZE


def test_a_run_keeps_the_arguments_of_train_and_the_numbers_of_pictures(best, data):
    kept = flags(best.parent)
    assert kept.keys() == set(commands.FLAGS)
    assert (kept["model"], kept["input_shape"], kept["nb_epoch"]) == ("tiny", "64x32", 2)
    assert kept["data"] == [str(data)]
    pictures = json.loads((best.parent / "run.json").read_text())["data"]
    assert sum(pictures.values()) == 10


def test_a_run_goes_on_to_more_epochs(best, data, tmp_path):
    run = Path(shutil.copytree(best.parent, tmp_path / best.parent.name))
    train("tiny", data=[data], run=Run(run), nb_epoch=3, **QUICK)
    assert [row["epoch"] for row in history(run)] == ["1", "2", "3"]
    assert history(run)[:2] == history(best.parent)
    assert flags(run)["nb_epoch"] == 3
    assert list(tmp_path.iterdir()) == [run]


def test_a_run_does_not_go_on_with_other_pictures(best, tmp_path):
    """The schedule counts steps, so an epoch must not change its length."""
    more = tiny_portraits.write(tmp_path / "more", 20, SIZE)
    before = (best.parent / "run.json").read_bytes()
    with pytest.raises(UserError, match=f"{best.parent}.*--cache=disk and none count unreadable"):
        train("tiny", data=[str(more)], run=Run(best.parent), nb_epoch=3, **QUICK)
    assert (best.parent / "run.json").read_bytes() == before


@pytest.fixture
def started(data, tmp_path, monkeypatch):
    """Prepares a training that ends before its first step.

    Returns:
        A function that takes more arguments of `train`, and returns the network, both batches and
        the recipe of the training, and the flags in its run.json.
    """
    given = []
    monkeypatch.setattr(fit, "train", lambda *arguments, **_: given.append(arguments))

    def start(**more):
        train("tiny", **QUICK | {"data": [str(data)], "checkpoint_path": str(tmp_path)} | more)
        network, training, validation, run, recipe, _ = given.pop()
        return network, training, validation, recipe, flags(run.folder)

    return start


@pytest.mark.parametrize("weights", ["none", "imagenet", "file", "weight_dir"])
def test_the_default_rate_depends_on_what_the_weights_are(
    started, best, tmp_path, monkeypatch, weights
):
    rates = {"learning_rate": 0.25, "tuned_learning_rate": 0.125}
    tiny_spec.register(monkeypatch, imagenet=weights == "imagenet", **rates)
    (tmp_path / "file").write_text("3")
    asked = {
        "none": {},
        "imagenet": {},  # the default if such weights exist
        "file": {"start": str(tmp_path / "file")},
        "weight_dir": {"weight_dir": str(best)},
    }[weights]
    *_, recipe, kept = started(**asked)
    assert recipe.lr == kept["lr"] == (0.25 if weights == "none" else 0.125)
    *_, recipe, kept = started(**asked, lr=0.5, batch_size=None)
    assert recipe.lr == kept["lr"] == 0.5
    assert kept["batch_size"] == 32  # the default is kept, too


def test_the_weights_that_a_training_starts_from(started, best, tmp_path, monkeypatch):
    def bias(network) -> float:
        return float(network.get_layer("output").bias[0])

    (tmp_path / "file").write_text("3")
    assert bias(started()[0]) == 0
    assert bias(started(start=str(tmp_path / "file"))[0]) == 3
    expected = build("tiny", SIZE)
    expected.load_weights(best)
    for source in (best, best.parent):
        network = started(weight_dir=str(source), start=str(tmp_path / "file"))[0]
        for ours, theirs in zip(network.get_weights(), expected.get_weights(), strict=True):
            assert np.array_equal(ours, theirs)
    tiny_spec.register(monkeypatch, imagenet=True)
    assert bias(started()[0]) == 1
    assert bias(started(start="none")[0]) == 0


def test_the_highest_val_ratio_of_a_chain_is_kept_and_warned_of(
    started, best, tmp_path, monkeypatch, caplog
):
    monkeypatch.setattr(tiny_spec, "fill", lambda *_: None)
    (tmp_path / "first").mkdir()
    parent = tmp_path / "first" / "run.json"
    shutil.copy(best, tmp_path / "first")
    parent.write_text(json.dumps({"flags": {"val_ratio": 0.9}}))
    for source in ("weight_dir", "start"):
        started(**{source: str(parent.parent)}, val_ratio=0.6, checkpoint_path=tmp_path / source)
        (run,) = (tmp_path / source).iterdir()
        assert json.loads((run / "run.json").read_text())["highest_val_ratio"] == 0.9
        shutil.copy(best, run)
        caplog.clear()
        started(weight_dir=str(run), val_ratio=0.7)
        assert "--val_ratio=0.9: with 0.7" in caplog.text
        caplog.clear()
        started(weight_dir=str(run), val_ratio=0.9)
        assert "val_ratio" not in caplog.text


def test_the_recipe_has_the_arguments(started):
    *_, recipe, _ = started(
        nb_epoch=3,
        loss="focal",
        boundary_weight=0.1,
        lr=0.02,
        schedule="halving",
        ema=False,
        patience=7,
        checkpoint=2,
    )
    assert recipe == Recipe(3, "focal", 0.1, 0.02, "halving", False, 7, checkpoint_every=2)


def test_ctrl_c_tells_the_command_that_resumes(data, tmp_path, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(fit, "train", interrupt)
    with pytest.raises(KeyboardInterrupt) as stop:
        train("tiny", data=[data], checkpoint_path=tmp_path, **QUICK)
    (run,) = tmp_path.iterdir()
    assert f"--resume=True --checkpoint_path={run}" in str(stop.value)


def test_the_refiners_batches_of_32_are_divided_among_devices(monkeypatch):
    """Also on the built-in sample, for which other networks take 8 pictures."""

    def reached(**_):
        raise InterruptedError

    monkeypatch.setattr(commands, "batches", reached)
    with pytest.raises(InterruptedError):
        train("refiner", devices=16)
    with pytest.raises(UserError, match="--batch_size=8"):
        train("tiny", devices=16)


def test_half_precision_is_for_the_training_alone(started):
    network, *_ = started(mixed_precision="bfloat16")
    assert network.get_layer("stem").compute_dtype == "bfloat16"
    assert keras.config.dtype_policy().name == "float32"


def test_the_batches_have_the_arguments(data, tmp_path):
    Image.new("RGB", (40, 40), (1, 2, 3)).save(tmp_path / "wall.png")
    training, validation = batches(
        "tiny",
        data=[str(data)],
        augment="background,gamma",
        augment_strength=0.5,
        backgrounds=[str(tmp_path)],
        boundary_thickness=["3", "9"],
        teachers=[str(shipped_files()["fast_scnn"])],
        teacher_share=0.2,
        batch_size=2,
        seed=9,
        workers=0,
    )
    augmentation = training.augmentation
    walls = [photo[0, 0].tolist() for photo in augmentation.backgrounds]
    assert (augmentation.names, augmentation.strength) == (("background", "gamma"), 0.5)
    assert walls == [[1, 2, 3]]
    assert (training.seed, training.teachers.share) == (9, 0.2)
    assert max(len(images) for images, _ in training) == 2
    # The mean of two bands has the values 1, a half and 0, in 256 levels.
    for part in (training, validation):
        _, targets = part[0]
        assert targets["output"].shape[1:3] == SIZE
        levels = np.unique(targets["boundary_attention"] * 255)
        assert levels == pytest.approx([0, 128, 255])
    training.close()


def test_validation_pictures_are_no_backgrounds(tmp_path):
    """By name, also if the folder of backgrounds is a link."""
    blank = tmp_path / "Blank_rooms"
    blank.mkdir()
    for number in range(10):
        Image.new("RGB", (40, 40), (number, 0, 0)).save(blank / f"{number}.png")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "rooms").symlink_to(blank)
    training, validation = batches(
        "tiny",
        data=[str(blank)],
        **QUICK | {"augment": "background"},
        backgrounds=[str(tmp_path / "photos")],
    )
    used = {int(photo[0, 0, 0]) for photo in training.augmentation.backgrounds}
    validated = {int(image[0, 0, 0]) for image in validation.images}
    assert validated and used == set(range(10)) - validated


def test_two_pictures_are_the_least(tmp_path):
    tiny_portraits.write(tmp_path / "one", 1, SIZE)
    with pytest.raises(UserError, match="one"):
        batches("tiny", data=[str(tmp_path / "one")], **QUICK)


def test_a_network_is_added_by_one_file_and_one_entry(data, tmp_path, monkeypatch):
    """As in docs/extending.md, but in another file."""
    page = (ROOT / "docs" / "extending.md").read_text()
    file, entry, *_ = re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    (tmp_path / "tiny_net.py").write_text(file)
    monkeypatch.syspath_prepend(tmp_path)
    spec = eval(entry, {"Spec": registry.Spec})
    spec = dataclasses.replace(spec, builder=spec.builder.rpartition(".")[2])
    monkeypatch.setitem(registry.SPECS, spec.name, spec)
    asked = {"data": [data], "checkpoint_path": tmp_path / "runs", "nb_epoch": 1, **QUICK}
    checkpoint = train("tiny_net", input_shape="64x32", **asked)
    use.convert(checkpoint, data=[data], output=tmp_path, formats=["float32"])
    image = tiny_network.pictures(1, SIZE)[0]
    exported, trained = load(tmp_path / "tiny_net_float32.tflite"), load(checkpoint)
    assert exported.matte(image) == pytest.approx(trained.matte(image), abs=1e-5)
