"""Tests a run's folder: its name, files, best checkpoint and state."""

import csv
import datetime
import json
import os
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from portrait.errors import UserError
from portrait.models.weights import network_of, read_settings
from portrait.training.run import Progress, Run


def network(*units):
    image = x = keras.Input((2,))
    for count in units:
        x = keras.layers.Dense(count)(x)
    return keras.Model(image, x)


def compiled(units=3, seed=0):
    """A model of one layer whose optimizer has taken a step."""
    keras.utils.set_random_seed(seed)
    model = network(units)
    model.compile(keras.optimizers.Adam(0.1, use_ema=True), "mse", run_eagerly=True)
    model.train_on_batch(np.ones((1, 2)), np.ones((1, units)))
    return model


@pytest.fixture
def run(tmp_path):
    return Run.create(tmp_path / "runs", {"flags": {"lr": 0.1}})


def test_one_folder_a_run_named_by_the_day(tmp_path):
    made = [Run.create(tmp_path / "runs", {"number": i}) for i in range(3)]
    today = f"{datetime.date.today():%Y%m%d}"
    assert [each.folder.name for each in made] == [today, f"{today}-2", f"{today}-3"]
    assert [each.settings() for each in made] == [{"number": i} for i in range(3)]


def test_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file"):
        Run.create(tmp_path / "file", {})
    (tmp_path / f"{datetime.date.today():%Y%m%d}").touch()
    with pytest.raises(UserError, match=str(tmp_path)):
        Run.create(tmp_path, {})


def test_latest(tmp_path):
    with pytest.raises(UserError, match="runs"):
        Run.latest(tmp_path / "runs")
    for age, name in enumerate(["20260101-10", "20260101-9", "20251231", "notes"]):
        Run(tmp_path / "runs" / name).write_settings({})
        written = tmp_path / "runs" / name / "run.json"
        os.utime(written, (1e9 - age, 1e9 - age))
    os.utime(tmp_path / "runs" / "notes" / "run.json")  # newest, but no run's name
    (tmp_path / "runs" / "20270101").mkdir()  # no run.json
    assert Run.latest(tmp_path / "runs").folder.name == "20260101-10"
    assert Run.latest(tmp_path / "runs" / "20251231").folder.name == "20251231"


def test_a_folder_of_shipped_weights_is_no_run_but_may_hold_runs(tmp_path):
    folder = tmp_path / "mattingnet_big"
    Run(folder).write_settings({"flags": {"model": "mattingnet"}})
    with pytest.raises(UserError, match=str(folder)):
        Run.latest(folder)
    run = Run.create(folder, {})
    assert Run.latest(folder).folder == run.folder
    (run.folder / "state.npz").touch()
    renamed = run.folder.rename(tmp_path / "my best run")
    assert Run.latest(renamed).folder == renamed


@pytest.mark.parametrize("content", ["", "{", "\xff"])
def test_settings_that_cannot_be_read(run, content):
    (run.folder / "run.json").write_bytes(content.encode("latin1"))
    with pytest.raises(UserError, match=r"run\.json"):
        run.settings()


def test_checkpoint_is_named_by_epoch_and_loss_and_holds_the_network_alone(run):
    model = compiled()
    saved = run.save_checkpoint(model, 7, 0.012349)
    assert saved == run.folder / "0007-0.0123.weights.h5"
    assert run.checkpoint(7) == saved and run.checkpoint(1) is None
    assert sorted(p.name for p in run.folder.iterdir()) == [saved.name, "run.json"]
    plain = network(3)
    plain.load_weights(saved)
    for a, b in zip(plain.get_weights(), model.get_weights(), strict=True):
        assert np.array_equal(a, b)
    other = compiled(seed=1)
    assert run.load_checkpoint(other, 7) == saved
    assert np.array_equal(other.get_weights()[0], model.get_weights()[0])
    with pytest.raises(UserError, match="epoch 8"):
        run.load_checkpoint(other, 8)


def test_repeated_epoch_replaces_its_checkpoint(run):
    run.save_checkpoint(compiled(), 2, 0.5)
    again = run.save_checkpoint(compiled(seed=1), 2, 0.4)
    assert list(run.folder.glob("*.h5")) == [again]
    assert run.save_checkpoint(compiled(), 2, 0.4) == again
    run.remove_checkpoint(2)
    run.remove_checkpoint(2)
    assert not list(run.folder.glob("*.h5"))


def test_what_a_killed_export_left_is_cleared_away(run):
    package = run.folder / "export" / ".net-0123abcd.part.mlpackage"
    package.mkdir(parents=True)
    (package / ".weights-0123abcd.part.bin").touch()
    run.load_state(compiled())
    assert not any(package.parent.iterdir())


def test_state_comes_back(run):
    model = compiled()
    rows = [{"epoch": 1, "loss": 0.25, "val_loss": 1 / 3}]
    assert not run.has_state()
    assert run.load_state(compiled(seed=1)) == Progress()
    progress = Progress(1, 1, 1 / 3, history=rows)
    run.save_state(model, progress)
    other = compiled(seed=1)
    assert run.has_state() and run.load_state(other) == progress
    ours = [*model.weights, *model.optimizer.variables]
    theirs = [*other.weights, *other.optimizer.variables]
    for a, b in zip(ours, theirs, strict=True):
        assert np.array_equal(a, b), a.path
    assert (run.folder / "history.csv").read_text() == "epoch,loss,val_loss\n1,0.25,0.333333\n"
    assert sorted(p.name for p in run.folder.iterdir()) == ["history.csv", "run.json", "state.npz"]


def with_dropout(seed):
    keras.utils.set_random_seed(seed)
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dropout(0.5), keras.layers.Dense(3)])
    model.compile(keras.optimizers.SGD(), "mse", run_eagerly=True)
    return model


def test_random_generators_come_back(run):
    """As of Dropout: without them, a resumed training repeats its masks."""
    ones = np.ones((8, 2), np.float32)
    model, other = with_dropout(0), with_dropout(1)
    model(ones, training=True)
    run.save_state(model, Progress())
    run.load_state(other)
    masked = [np.asarray(each.layers[0](ones, training=True)) for each in (model, other)]
    assert np.array_equal(*masked)

    # A state of an earlier version has none.
    path = run.folder / "state.npz"
    with np.load(path) as state:
        kept = {name: state[name] for name in state.files if not name.startswith("generator")}
        assert len(kept) == len(state.files) - 1
    np.savez(path, **kept)
    run.load_state(third := with_dropout(1))
    assert np.array_equal(third.get_weights()[0], model.get_weights()[0])
    masked = [np.asarray(each.layers[0](ones, training=True)) for each in (third, with_dropout(1))]
    assert np.array_equal(*masked)


def test_state_of_another_network_or_damaged(run):
    run.save_state(compiled(), Progress(epoch=1))
    deeper = network(3, 1)
    deeper.compile("adam", "mse")
    path = run.folder / "state.npz"
    whole = path.read_bytes()
    for model, content in (
        (compiled(units=4), whole),
        (deeper, whole),
        (compiled(), whole[:-100]),
        (compiled(), b""),
    ):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"state\.npz") as error:
            run.load_state(model)
        assert "\n" not in str(error.value)


class Killed(BaseException):
    """Stands for a SIGKILL: the project's code does not catch it."""


@pytest.mark.parametrize(
    ("writer", "method", "write"),
    [
        (Path, "write_text", lambda run: run.write_settings({"flags": {"lr": 0.2}})),
        (Path, "write_bytes", lambda run: run.save_checkpoint(compiled(seed=1), 1, 0.5)),
        (np, "savez", lambda run: run.save_state(compiled(seed=1), Progress(2))),
        (csv.DictWriter, "writerow", lambda run: run.write_history([{"epoch": 1, "loss": 9}])),
    ],
    ids=["run.json", "checkpoint", "state", "history"],
)
def test_killed_while_it_writes_a_file_it_has_the_former_one(
    run, monkeypatch, writer, method, write
):
    run.save_state(compiled(), Progress(1, 1, 0.5, history=[{"epoch": 1, "loss": 0.5}]))
    run.save_checkpoint(compiled(), 1, 0.5)

    def whole():
        return {path.name: path.read_bytes() for path in run.folder.glob("[!.]*")}

    def killed(target, *arguments, **options):
        if isinstance(target, Path):
            target.open("wb").close()
        raise Killed

    before = whole()
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(writer, method, killed)
        write(run)
    assert len(before) == 4 and whole() == before


def test_two_processes_do_not_train_in_one_folder(run):
    with run.lock(), pytest.raises(UserError, match=str(run.folder)), Run(run.folder).lock():
        pass
    with Run(run.folder).lock():
        pass


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '"x"', "1", '{"flags": []}', "[" * 100_000, "\x00", '{"flags": {"a": '],
)
def test_a_damaged_run_json_is_one_line(tmp_path, text):
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(UserError, match=r"run\.json") as error:
        read_settings(tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "flags",
    [{}, {"model": "gone"}, {"model": 3}, {"model": ["fast_scnn"]}, {"model": "fast_scnn"},
     {"model": "fast_scnn", "model_size": "big", "input_shape": 256}],
)  # fmt: skip
def test_a_run_json_that_names_no_network(tmp_path, flags):
    (tmp_path / "run.json").write_text(json.dumps({"flags": flags}))
    assert network_of(tmp_path / "0001-0.1.weights.h5") == {}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epoch", "two"),
        ("epoch", 7),  # more than the history has
        ("best_loss", None),
        ("finished", 1),
        ("history", {}),
        ("history", [1, 2]),
        ("history", [{"loss": "x"}, {"loss": []}]),
        ("stranger", 1),
    ],
)
def test_a_damaged_progress_is_one_line(tmp_path, name, value):
    run = Run(tmp_path)
    progress = {"epoch": 2, "history": [{"epoch": 1}, {"epoch": 2}], name: value}
    np.savez(tmp_path / "state.npz", progress=json.dumps(progress))
    model = SimpleNamespace(weights=[], non_trainable_variables=[])
    model.optimizer = SimpleNamespace(variables=[])
    with pytest.raises(UserError, match=r"state\.npz") as error:
        run.load_state(model)
    assert "\n" not in str(error.value)


def test_a_run_with_links_is_not_trained_in(tmp_path):
    run, elsewhere = Run(tmp_path / "run"), tmp_path / "elsewhere"
    run.folder.mkdir()
    elsewhere.mkdir()
    (run.folder / "previews").symlink_to(elsewhere)
    with pytest.raises(UserError, match="previews"), run.lock():
        pass
