"""Tests a run of a tiny network: its files, and that a resumed run ends like a whole one."""

import contextlib
import csv
import dataclasses
import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tiny_portraits import draw

from data_generator import PortraitSequence
from portrait import losses
from portrait.data.targets import boundary_target
from portrait.errors import UserError
from portrait.inference.network import from_keras
from portrait.models.layers import BatchNormalization, normalize
from portrait.models.rescale import largest_activations
from portrait.models.weights import best_checkpoint
from portrait.training import callbacks, previews
from portrait.training.callbacks import is_preview
from portrait.training.fit import compile_model, train
from portrait.training.recipe import Recipe
from portrait.training.run import Run

# tf.data traces its functions nevertheless, and warns of it.
pytestmark = [pytest.mark.usefixtures("eager"), pytest.mark.filterwarnings("ignore:Even though")]

SIZE = (32, 32)
RECIPE = Recipe(epochs=4, lr=0.02, checkpoint_every=3)


def build(seed=0):
    """A network with every kind of state that the real ones have, in four layers."""
    keras.utils.set_random_seed(seed)
    image = keras.Input((*SIZE, 3), name="image")
    x = keras.layers.Conv2D(4, 3, padding="same", activation="tanh")(normalize(image))
    x = keras.layers.Dropout(0.1)(BatchNormalization(momentum=0.9)(x))
    names = ("output", "boundary_attention")
    heads = {n: keras.layers.Conv2D(1, 1, activation="sigmoid", name=n)(x) for n in names}
    return keras.Model(image, heads, name="tiny")


def brighten(images, mattes, seed):
    """An augmentation that differs from batch to batch."""
    return images + np.uint8(seed % 30), mattes


def sequences(sequence=PortraitSequence):
    images, mattes = draw(16, SIZE)
    options = {"batch_size": 2, "boundary": functools.partial(boundary_target, thickness=(3, 7))}
    trained = sequence(images[:12], mattes[:12], augmentation=brighten, shuffle=True, **options)
    return trained, PortraitSequence(images[12:], mattes[12:], **options)


def start(folder, recipe=RECIPE, model=None):
    run = Run.create(folder, {})
    model = model or build()
    return run, model, train(model, *sequences(), run, recipe)


def history(run):
    with open(run.folder / "history.csv", newline="") as file:
        return [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]


def checkpoints(run):
    return [int(path.name[:4]) for path in sorted(run.folder.glob("*.weights.h5"))]


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    return start(tmp_path_factory.mktemp("unbroken"))


def test_history_has_a_row_an_epoch(unbroken):
    run, *_ = unbroken
    rows = history(run)
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4]
    parts = ["loss", "output_loss", "boundary_attention_loss", "output_mad", "output_person_iou"]
    columns = {"epoch", "seconds", "lr", *parts, *(f"val_{part}" for part in parts)}
    assert all(row.keys() == columns for row in rows)
    assert rows[-1]["loss"] < rows[0]["loss"] and rows[-1]["val_loss"] < rows[0]["val_loss"]
    # 24 steps: a warm-up of one, then half a cosine over 23.
    for row in rows:
        place = (6 * row["epoch"] - 1) / 23
        expected = 0.02 * (0.01 + 0.99 * (1 + np.cos(np.pi * place)) / 2)
        assert row["lr"] == pytest.approx(expected, rel=1e-4)


def test_best_and_numbered_checkpoints_are_kept(unbroken):
    run, _, best = unbroken
    rows = history(run)
    lowest = min(rows, key=lambda row: row["val_loss"])
    assert best.name == f"{lowest['epoch']:04.0f}-{lowest['val_loss']:.4f}.weights.h5"
    assert checkpoints(run) == sorted({3, int(lowest["epoch"])})
    assert best_checkpoint(run.folder) == best


def test_a_boundary_of_no_weight_is_not_trained(tmp_path):
    recipe = Recipe(epochs=1, lr=0.02, boundary_weight=0.0)
    run, model, _ = start(tmp_path, recipe)
    untrained = build()
    for name, moves in (("boundary_attention", False), ("output", True)):
        kernel, before = (each.get_layer(name).get_weights()[0] for each in (model, untrained))
        assert np.array_equal(kernel, before) != moves, name
    (row,) = history(run)
    assert row["loss"] == pytest.approx(row["output_loss"], rel=1e-6)


def test_checkpoint_holds_the_averaged_weights_that_were_validated(unbroken):
    run, model, best = unbroken
    fresh = build(seed=1)
    fresh.load_weights(best)
    for ours, returned in zip(fresh.get_weights(), model.get_weights(), strict=True):
        assert np.array_equal(ours, returned)
    fresh.compile(loss=losses.training_losses(RECIPE.loss), loss_weights=losses.OUTPUT_WEIGHTS)
    validated = fresh.evaluate(sequences()[1], verbose=0, return_dict=True)["loss"]
    row = min(history(run), key=lambda row: row["val_loss"])
    assert validated == pytest.approx(row["val_loss"], rel=1e-5)

    # The last epoch is the best: its averages are the optimizer's, not the raw weights.
    assert row["epoch"] == 4
    trained = build(seed=2)
    compile_model(trained, RECIPE, steps_per_epoch=6)
    run.load_state(trained)
    averages = [v for v in trained.optimizer.variables if "average" in v.path]
    pairs = zip(fresh.trainable_variables, averages, trained.trainable_variables, strict=True)
    for kept, average, raw in pairs:
        assert np.asarray(kept) == pytest.approx(np.asarray(average), rel=1e-5, abs=1e-6)
        assert np.abs(np.asarray(kept) - np.asarray(raw)).max() > 1e-5


def test_pictures_and_logs(unbroken):
    run, *_ = unbroken
    names = sorted(path.name for path in (run.folder / "previews").iterdir())
    assert names == [f"epoch_000{i}.png" for i in (1, 2, 3, 4)]
    with Image.open(run.folder / "previews" / names[-1]) as sheet:
        # Four rows of six pictures, two rows beside each other.
        assert sheet.size == (12 * (32 + 4) + 4, 2 * (32 + 4) + 4 + 24)
        # The fourth is the boundary that is learned: here the mean of two bands.
        boundary = np.asarray(sheet)[24:56, 3 * 36 + 4 : 4 * 36]
    assert np.unique(boundary).tolist() == [0, 128, 255]
    assert (run.folder / "curves.png").is_file()
    events = [
        (event.step, value.tag)
        for file in (run.folder / "logs").iterdir()
        for event in tf.compat.v1.train.summary_iterator(str(file))
        for value in event.summary.value
    ]
    for tag in "training/loss", "training/lr", "validation/loss", "validation/output_mad", "mattes":
        assert [step for step, name in events if name == tag] == [1, 2, 3, 4], tag
    assert not list(run.folder.rglob(".*"))  # no temporary file is left


def test_previews_become_rare():
    drawn = [epoch for epoch in range(1, 401) if is_preview(epoch)]
    assert drawn == [1, 2, 3, 4, 5, *range(10, 101, 10), 200, 300, 400]


def test_the_recipe_s_loss_is_what_is_trained():
    for name, weights in losses.MATTE_WEIGHTS.items():
        model = build()
        compile_model(model, Recipe(epochs=1, loss=name), 1)
        assert model.loss["output"].weights == weights


def test_a_folder_in_training_is_left_alone(tmp_path):
    run = Run.create(tmp_path, {})
    with Run(run.folder).lock(), pytest.raises(UserError, match=str(run.folder)):
        train(build(), *sequences(), run, RECIPE)
    assert sorted(path.name for path in run.folder.iterdir()) == ["run.json"]


@pytest.fixture
def without_curves(monkeypatch):
    """Halves the time of such short runs."""
    monkeypatch.setattr(previews, "curves", lambda *_: np.zeros((1, 1, 3), np.uint8))


def test_checkpoints_are_in_the_range_of_float16_and_the_training_is_not_touched(
    tmp_path, without_curves, monkeypatch, capsys
):
    """The training alone would not bring these activations back into the range."""
    recipe = Recipe(epochs=2, lr=1e-4, ema=True)
    run, model, best = start(tmp_path / "rescaled", recipe, far_network())
    fresh = far_network()
    compile_model(fresh, recipe, 6)
    run.load_state(fresh)
    images = sequences()[1].images
    assert max(largest_activations(fresh, images).values()) > 65_504
    model.load_weights(best)
    largest = largest_activations(model, images)
    layer = max(largest, key=largest.get)
    assert largest[layer] < 1000
    assert f"largest activation {largest[layer]:.0f} in {layer}" in capsys.readouterr().out

    monkeypatch.setattr(callbacks, "rescaled", lambda *_: contextlib.nullcontext())
    plain, far, _ = start(tmp_path / "plain", recipe, far_network())
    for ours, theirs in zip(history(run), history(plain), strict=True):
        del ours["seconds"], theirs["seconds"]
        assert ours == theirs
    alphas = [each.predict_on_batch(images.astype(np.float32))["output"] for each in (model, far)]
    np.testing.assert_array_equal(*alphas)


def far_network(factor=2.0**17):
    """A residual block between a stem and heads that multiply and divide by `factor`."""
    keras.utils.set_random_seed(0)
    image = keras.Input((*SIZE, 3), name="image")
    x = keras.layers.Conv2D(4, 3, padding="same", name="stem")(normalize(image))
    branch = keras.layers.PReLU(shared_axes=[1, 2], name="prelu")(x)
    branch = keras.layers.SeparableConv2D(4, 3, padding="same", name="separable")(branch)
    x = keras.layers.Add(name="add")([x, branch])
    names = ("output", "boundary_attention")
    heads = {n: keras.layers.Conv2D(1, 1, activation="sigmoid", name=n)(x) for n in names}
    model = keras.Model(image, heads, name="far")
    for name, scale in (("stem", factor), *((name, 1 / factor) for name in names)):
        kernel, bias = model.get_layer(name).get_weights()
        model.get_layer(name).set_weights([kernel * scale, bias])
    return model


class Killed(BaseException):
    """Stands for a SIGKILL: the project's code does not catch it."""


def test_killed_and_resumed_it_ends_like_the_unbroken_run(
    unbroken, tmp_path, monkeypatch, without_curves
):
    """Killed at the worst time: after a checkpoint, before the state that records it."""
    save_state = Run.save_state

    def killed(self, model, progress):
        if progress.epoch == 3:
            raise Killed
        save_state(self, model, progress)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Run, "save_state", killed)
        start(tmp_path)
    run = Run.latest(tmp_path)
    assert len(history(run)) == 2 and checkpoints(run) == [2, 3]
    best = train(build(seed=1), *sequences(), run, RECIPE, resume=True)

    whole, _, expected_best = unbroken
    for ours, theirs in zip(history(run), history(whole), strict=True):
        del ours["seconds"], theirs["seconds"]
        assert ours == pytest.approx(theirs, rel=1e-4, abs=1e-6)
    assert best.name == expected_best.name and checkpoints(run) == checkpoints(whole)
    with np.load(run.folder / "state.npz") as ours, np.load(whole.folder / "state.npz") as theirs:
        assert ours.files == theirs.files
        for name in set(ours.files) - {"progress"}:
            assert ours[name] == pytest.approx(theirs[name], rel=1e-4, abs=1e-6), name


def test_patience_and_what_is_finished(tmp_path, without_curves):
    """With a learning rate of 0 and frozen statistics, the loss does not change."""
    model = build()
    model.layers[3].trainable = False
    recipe = Recipe(epochs=9, lr=0.0, ema=False, patience=2, checkpoint_every=2)
    run, model, best = start(tmp_path, recipe, model)
    assert [row["epoch"] for row in history(run)] == [1, 2, 3]
    assert checkpoints(run) == [1, 2] and best == run.checkpoint(1)
    with pytest.raises(UserError, match=r"2 epochs\): raise --patience$"):
        train(model, *sequences(), run, recipe, resume=True)
    with pytest.raises(UserError, match=r"raise --nb_epoch and --patience$"):
        train(model, *sequences(), run, dataclasses.replace(recipe, epochs=3), resume=True)

    longer = Recipe(epochs=4, lr=0.0, ema=False, patience=0)
    changes = {"flags": {"nb_epoch": 4}}
    assert train(model, *sequences(), run, longer, resume=True, changes=changes) == best
    assert len(history(run)) == 4 and checkpoints(run) == [1, 2]
    assert run.settings() == changes
    with pytest.raises(UserError, match=r"4 epochs are done\): raise --nb_epoch$"):
        train(model, *sequences(), run, longer, resume=True, changes={"flags": {"nb_epoch": 3}})
    assert run.settings() == changes, "a run that is refused keeps its flags"


class Spoiled(PortraitSequence):
    """Pictures that are NaN from the second epoch on."""

    def __getitem__(self, index):
        images, targets = super().__getitem__(index)
        return images + np.float32(np.nan if self.epoch == 1 else 0), targets


def test_loss_that_is_no_number(tmp_path, without_curves):
    run = Run.create(tmp_path, {})
    with pytest.raises(UserError) as error:
        train(build(), *sequences(Spoiled), run, RECIPE)
    (kept,) = run.folder.glob("*.weights.h5")
    assert kept.name.startswith("0001-")
    for named in "epoch 2", "batch 1", "--lr", str(kept):
        assert named in str(error.value)
    model = build(seed=1)
    model.load_weights(kept)
    assert np.isfinite(from_keras(model).run(np.zeros((*SIZE, 3), np.uint8))).all()
    assert len(history(run)) == 1


def test_validation_that_is_no_number(tmp_path):
    trained, validation = sequences()
    spoiled = Spoiled(validation.images, validation.mattes, 2)
    spoiled.epoch = 1
    with pytest.raises(UserError, match="epoch 1"):
        train(build(), trained, spoiled, Run.create(tmp_path, {}), RECIPE)


@pytest.mark.parametrize("part", [0, 1])
def test_pictures_that_disappear_in_the_second_epoch(tmp_path, without_curves, part):
    """TensorFlow reads the batches, and raises its own exceptions with a stack trace."""
    calls = []

    class Drive:
        def __init__(self, images):
            self.images, self.shape = images, images.shape

        def __len__(self):
            return len(self.images)

        def __getitem__(self, chosen):
            if len(calls) > 8:
                raise UserError("the drive is gone")
            return self.images[chosen]

    def count(images, mattes, seed):
        calls.append(seed)
        return images, mattes

    parts = sequences()
    parts[0].augmentation = count
    parts[part].images = Drive(parts[part].images)
    with pytest.raises(UserError, match=r"\Athe drive is gone\Z"):
        train(build(), *parts, run := Run.create(tmp_path, {}), RECIPE)
    assert len(history(run)) == 1


def test_logs_that_cannot_be_written(tmp_path):
    """TensorFlow writes these files and raises its own exceptions for a full disk."""
    run = Run.create(tmp_path, {})
    (run.folder / "logs").touch()
    with pytest.raises(UserError, match="logs") as error:
        train(build(), *sequences(), run, RECIPE)
    assert "\n" not in str(error.value)
