"""A run's folder: its flags, history and checkpoints, and the state from which it resumes.

checkpoint_path/20260131/            the day; -2, -3, ... for further runs of that day
    run.json                         the flags, versions and data of the run
    0041-0.0312.weights.h5           the best epoch so far, EPOCH-VALLOSS
    history.csv  curves.png          one row and one point for each epoch
    previews/  logs/                 pictures of the mattes; TensorBoard
    state.npz                        weights, optimizer and history after the last complete epoch,
                                     and the states of random generators, as of Dropout
"""

import contextlib
import csv
import datetime
import json
import os
import re
import shutil
import zipfile
from collections.abc import Iterator
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path

import numpy as np

from portrait.errors import UserError
from portrait.io.files import replacing
from portrait.models.weights import CHECKPOINT_NAME, check_archive, read_settings

RUN_NAME = re.compile(r"\d{8}(-\d+)?")


@dataclass
class Progress:
    """The progress of a run, without its weights, after `epoch` complete epochs."""

    epoch: int = 0
    best_epoch: int = 0
    best_loss: float = float("inf")
    waited: int = 0  # epochs since the best one
    finished: str = ""  # why training ended; empty while there is more to do
    history: list[dict[str, float]] = field(default_factory=list)


class Run:
    """The folder of a run; `create` makes a new one, `latest` finds the newest."""

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)

    @classmethod
    def create(cls, checkpoint_path: str | Path, settings: dict) -> "Run":
        """Makes `checkpoint_path/YYYYMMDD[-N]` with `settings` in its run.json.

        Raises:
            UserError: the folder cannot be made.
        """
        today = datetime.date.today().strftime("%Y%m%d")
        number = 1
        while True:
            folder = Path(checkpoint_path) / (today if number == 1 else f"{today}-{number}")
            try:
                folder.mkdir(parents=True)
                break
            except FileExistsError:
                if not folder.is_dir():
                    raise UserError(f"cannot make {folder}: a file is in the way") from None
                number += 1
            except OSError as error:
                raise UserError(f"cannot make {folder}: {error.strerror}") from error
        run = cls(folder)
        run.write_settings(settings)
        return run

    @classmethod
    def latest(cls, checkpoint_path: str | Path) -> "Run":
        """The newest run under `checkpoint_path`, or the run in `checkpoint_path` itself.

        Raises:
            UserError: there is none.
        """
        path = Path(checkpoint_path)
        # The folders of shipped weights contain a run.json, too, but they are not runs.
        is_run = RUN_NAME.fullmatch(path.resolve().name) or cls(path).has_state()
        if is_run and (path / "run.json").is_file():
            return cls(path)
        runs = [
            run.parent for run in path.glob("*/run.json") if RUN_NAME.fullmatch(run.parent.name)
        ]
        if not runs:
            raise UserError(
                f"no run to resume in {path}: name its folder, --checkpoint_path=DIR, or start one "
                "with --train=True"
            )
        return cls(max(runs, key=lambda run: (run / "run.json").stat().st_mtime_ns))

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Keeps other processes from training in the folder (not on Windows, which has no `fcntl`).

        Raises:
            UserError: another process trains in the folder; or a link in the folder leads out of
                it, as in a run that somebody else has made.
        """
        if links := [path for path in self.folder.iterdir() if path.is_symlink()]:
            raise UserError(f"{links[0]} is a symbolic link: a training would write where it leads")
        try:
            import fcntl
        except ImportError:  # Windows
            yield
            return
        handle = os.open(self.folder, os.O_RDONLY)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UserError(f"{self.folder} is in training: wait until it ends") from None
            except OSError:  # some network drives cannot
                pass
            yield
        finally:
            os.close(handle)

    def settings(self) -> dict:
        """The flags and facts with which the run was started; see `read_settings`."""
        return read_settings(self.folder)

    def flags(self) -> dict:
        """The flags with which the run was started.

        Raises:
            UserError: `run.json` has none.
        """
        found = self.settings().get("flags")
        if not found:
            raise UserError(f"{self.folder} cannot be resumed: its run.json has no flags")
        return found

    def write_settings(self, settings: dict) -> None:
        with replacing(self.folder / "run.json") as path:
            path.write_text(json.dumps(settings, indent=2, default=os.fspath) + "\n")

    def has_state(self) -> bool:
        """Whether there is a state to resume from: the run has completed its first epoch."""
        return (self.folder / "state.npz").is_file()

    def saved_epoch(self) -> int:
        """The number of complete epochs that the state is from; 0 without a state."""
        if not self.has_state():
            return 0
        with np.load(self.folder / "state.npz") as state:
            return json.loads(str(state["progress"]))["epoch"]

    def save_state(self, model, progress: Progress) -> None:
        """Writes weights, optimizer, generators and `progress` as one file, so that they match."""
        arrays = {f"weight_{i:04}": np.asarray(v) for i, v in enumerate(model.get_weights())}
        for i, variable in enumerate(model.optimizer.variables):
            arrays[f"optimizer_{i:04}"] = _numpy(variable)
        for i, variable in enumerate(_generators(model)):
            arrays[f"generator_{i:04}"] = _numpy(variable)
        with replacing(self.folder / "state.npz") as path:
            np.savez(path, progress=json.dumps(asdict(progress)), **arrays)
        if progress.history:
            self.write_history(progress.history)

    def load_state(self, model) -> Progress:
        """Loads what `save_state` saved into `model`, whose optimizer must be built.

        States of earlier versions have no random generators; those of `model` then stay.

        Removes files that a killed run has left incomplete.

        Returns:
            The progress; a new one if the run was killed in its first epoch.

        Raises:
            UserError: the state belongs to another network, or cannot be read.
        """
        for unfinished in self.folder.rglob(".*.part*"):
            if unfinished.is_dir():  # a Core ML package
                shutil.rmtree(unfinished)
            else:
                unfinished.unlink(missing_ok=True)
        if not self.has_state():
            return Progress()
        path = self.folder / "state.npz"
        try:
            check_archive(path)
            with np.load(path) as state:
                progress = _progress(json.loads(str(state["progress"])))
                for prefix, variables in (
                    ("weight", model.weights),
                    ("optimizer", model.optimizer.variables),
                    ("generator", _generators(model)),
                ):
                    saved = sum(name.startswith(prefix) for name in state.files)
                    if prefix == "generator" and not saved:
                        continue
                    if saved != len(variables):
                        raise ValueError("it is the state of another network")
                    for i, variable in enumerate(variables):
                        variable.assign(state[f"{prefix}_{i:04}"])
        except Exception as error:  # zipfile, NumPy and Keras raise many types for bad files
            reason = str(error).strip().partition("\n")[0]
            raise UserError(f"cannot resume from {path}: {reason}") from error
        return progress

    def save_checkpoint(self, model, epoch: int, val_loss: float) -> Path:
        """Writes `EPOCH-VALLOSS.weights.h5`, the only checkpoint of that epoch."""
        target = self.folder / f"{epoch:04}-{val_loss:.4f}.weights.h5"
        former = self.checkpoint(epoch)  # exists if a killed run repeats the epoch
        with replacing(target) as path:
            path.write_bytes(weights_bytes(model, path))
        if former and former != target:
            former.unlink()
        return target

    def remove_checkpoint(self, epoch: int) -> None:
        """Removes the checkpoint of that epoch, if there is one."""
        if path := self.checkpoint(epoch):
            path.unlink()

    def load_checkpoint(self, model, epoch: int) -> Path:
        """Loads the weights of that epoch's checkpoint into `model`, and returns the file.

        Raises:
            UserError: the checkpoint is missing.
        """
        path = self.checkpoint(epoch)
        if path is None:
            raise UserError(f"the checkpoint of epoch {epoch} is gone from {self.folder}")
        _network_of(model).load_weights(path)
        return path

    def checkpoint(self, epoch: int) -> Path | None:
        """The checkpoint of that epoch."""
        found = [p for p in self.folder.glob("*.weights.h5") if _epoch_of(p) == epoch]
        return found[0] if found else None

    def write_history(self, history: list[dict[str, float]]) -> None:
        """Writes `history.csv`, whole."""
        with replacing(self.folder / "history.csv") as path, open(path, "w", newline="") as file:
            writer = csv.DictWriter(
                file, fieldnames=list(history[-1]), restval="", extrasaction="ignore"
            )
            writer.writeheader()
            for row in history:
                writer.writerow({k: v if k == "epoch" else f"{v:.6g}" for k, v in row.items()})


def weights_bytes(model, path: Path) -> bytes:
    """The bytes of a `.weights.h5` file of the network, from a `.keras` archive beside `path`.

    `save_weights` writes to the disk with h5py. On a full disk, h5py raises again for each of its
    open objects and ends the process with a segmentation fault. The file in a Keras archive is the
    same, but is made in memory.
    """
    archive = path.with_name(f"{path.name}.keras")
    try:
        _network_of(model).save(archive)
        with zipfile.ZipFile(archive) as contents:
            return contents.read("model.weights.h5")
    finally:
        archive.unlink(missing_ok=True)


def _epoch_of(path: Path) -> int | None:
    match = CHECKPOINT_NAME.fullmatch(path.name)
    return int(match[1]) if match else None


def _network_of(model):
    """The network of a compiled model without its optimizer, which is three times as large."""
    import keras

    return keras.Model(model.inputs, model.output)


def _generators(model) -> list:
    """The states of Keras's random generators, as of Dropout, which are not among `weights`."""
    weights = {id(variable) for variable in model.weights}
    return [each for each in model.non_trainable_variables if id(each) not in weights]


def _progress(values: dict) -> Progress:
    """Reads the progress from the values of a file.

    Raises:
        TypeError, ValueError: it is damaged.
    """
    progress = Progress(**values)
    for each in fields(Progress):
        kind = type(each.default) if each.default is not MISSING else list
        value = getattr(progress, each.name)
        if not isinstance(value, int | float if kind is float else kind):
            raise ValueError(f"{each.name} is {str(value)[:40]!r}")
    for row in progress.history:
        if not isinstance(row, dict) or any(not isinstance(v, int | float) for v in row.values()):
            raise ValueError(f"a row of the history is {str(row)[:40]!r}")
    if len(progress.history) != progress.epoch:
        raise ValueError(f"{len(progress.history)} rows of history for {progress.epoch} epochs")
    return progress


def _numpy(variable) -> np.ndarray:
    import keras

    return keras.ops.convert_to_numpy(variable)
