"""Writes a run's folder during training, in an order that survives a kill."""

import contextlib
import logging
import math
import time
from pathlib import Path

import keras
import numpy as np

from data_generator import PortraitSequence
from portrait.errors import UserError
from portrait.io.images import write_png
from portrait.models.rescale import rescaled
from portrait.training import previews
from portrait.training.devices import alone
from portrait.training.recipe import Recipe
from portrait.training.run import Progress, Run
from portrait.util import evenly

log = logging.getLogger(__name__)


def go_on(
    run: Run, model: keras.Model, recipe: Recipe, resume: bool, changes: dict | None = None
) -> Progress:
    """Loads the state of `run` into `model`, which must be compiled, and returns the progress.

    Args:
        resume: False starts the run. A run that was killed in its first epoch starts, too.
        changes: entries that replace those in run.json, unless the run is refused.

    Raises:
        UserError: the run is finished, by its epochs or its patience; see also `Run.load_state`.
    """
    progress = run.load_state(model) if resume else Progress()
    done = progress.epoch >= recipe.epochs
    waited = 0 < recipe.patience <= progress.waited
    if done or waited:
        reason = progress.finished or (
            f"{progress.epoch} epochs are done"
            if done
            else f"{progress.waited} epochs without an improvement"
        )
        limits = " and ".join(["--nb_epoch"] * done + ["--patience"] * waited)
        raise UserError(f"{run.folder} is finished ({reason}): raise {limits}")
    if changes:
        run.write_settings(run.settings() | changes)
    progress.finished = ""
    if progress.epoch:
        log.info("resuming %s after epoch %d", run.folder, progress.epoch)
    return progress


class Checkpointer(keras.callbacks.Callback):
    """Writes checkpoints, history and state; a subclass adds pictures in `draw`.

    After each epoch it writes the checkpoint, then the state, and then removes the previous best
    checkpoint. A run that is killed in between repeats the epoch and writes the same checkpoint
    again, or keeps one checkpoint more than it needs.

    Args:
        single: the network in training on one device, if it is trained on several; see `current`.

    Attributes:
        callbacks: for `fit`, in this order: the callback that validates with the moving average
            of the weights, if there is one, and this one.
    """

    def __init__(
        self, run: Run, recipe: Recipe, progress: Progress, single: keras.Model | None = None
    ):
        super().__init__()
        self._single = single
        self.run = run
        self.recipe = recipe
        self.progress = progress
        self._averages = keras.callbacks.SwapEMAWeights() if recipe.ema else None
        self.callbacks = [self._averages, self] if recipe.ema else [self]
        self._started = 0.0

    def current(self) -> keras.Model:
        """The network on one device, which takes batches of any size, with the present weights."""
        if self._single is None or self._single is self.model:
            return self.model
        self._single.set_weights(self.model.get_weights())
        return self._single

    def save(self, val_loss: float) -> None:
        """Writes the checkpoint of the epoch; the network has its averaged weights."""
        self.run.save_checkpoint(self.current(), self.progress.epoch, val_loss)

    def draw(self) -> None:
        """Draws the results of the epoch; the network has its averaged weights."""

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self._started = time.monotonic()

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        self._check((logs or {}).get("loss", 0.0), f"batch {batch + 1}")

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self._check(logs["val_loss"], "validation")
        progress, former = self.progress, self.progress.best_epoch
        progress.epoch = epoch + 1
        progress.history.append(
            {
                "epoch": progress.epoch,
                "seconds": time.monotonic() - self._started,
                "lr": float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate)),
                **{name: float(value) for name, value in logs.items()},
            }
        )
        if self._averages:
            self._averages.on_test_begin()
        try:
            with alone():
                self._save_best(logs["val_loss"])
            if 0 < self.recipe.patience <= progress.waited:
                progress.finished = f"no better for {progress.waited} epochs"
                self.model.stop_training = True
            elif progress.epoch == self.recipe.epochs:
                progress.finished = f"all {progress.epoch} epochs are done"
            with alone():
                self.draw()
        finally:
            if self._averages:
                self._averages.on_test_end()
        self.run.save_state(self.model, progress)
        if former != progress.best_epoch and not self._is_numbered(former):
            self.run.remove_checkpoint(former)

    def _check(self, loss: float, where: str) -> None:
        """Ends a training whose loss is NaN or infinite."""
        if not math.isfinite(loss):
            best = self.run.checkpoint(self.progress.best_epoch)
            raise UserError(
                f"the loss is no longer a number (epoch {self.progress.epoch + 1}, {where}): "
                f"lower --lr; last good checkpoint: {best or 'none'}"
            )

    def _is_numbered(self, epoch: int) -> bool:
        """Whether the checkpoint of that epoch is kept even when it is not the best."""
        return self.recipe.checkpoint_every > 0 and epoch % self.recipe.checkpoint_every == 0

    def _save_best(self, val_loss: float) -> None:
        """Writes the checkpoint of an epoch that is the best so far, or a numbered one."""
        progress = self.progress
        better = val_loss < progress.best_loss
        if better or self._is_numbered(progress.epoch):
            self.save(val_loss)
        if better:
            progress.best_loss, progress.best_epoch, progress.waited = val_loss, progress.epoch, 0
        else:
            progress.waited += 1


PREVIEW_PICTURES = 8


class PreviewCheckpointer(Checkpointer):
    """Draws the mattes of eight fixed pictures and the curves, and writes TensorBoard logs.

    Its checkpoints are rescaled (`models.rescale`), measured on these pictures. The network that
    is in training, and its saved state, are not: optimizers depend on the scale of the weights.
    """

    def __init__(
        self,
        run: Run,
        recipe: Recipe,
        progress: Progress,
        validation: PortraitSequence,
        single: keras.Model | None = None,
    ):
        super().__init__(run, recipe, progress, single)
        self._fixed = spread(validation, PREVIEW_PICTURES)
        self._board = _board(run.folder / "logs")

    def save(self, val_loss: float) -> None:
        network = self.current()
        with rescaled(network, self._fixed[0]):
            self.run.save_checkpoint(network, self.progress.epoch, val_loss)

    def draw(self) -> None:
        progress, folder = self.progress, self.run.folder
        if self._board:
            row = progress.history[-1]
            scalars = {name: row[name] for name in row if name != "epoch"}
            self._board.scalars(scalars, progress.epoch)
        if not (is_preview(progress.epoch) or progress.finished):
            return
        images, targets = self._fixed
        sheet = previews.matte_sheet(images, targets, self.current().predict_on_batch(images))
        write_png(folder / "previews" / f"epoch_{progress.epoch:04}.png", sheet)
        curves = previews.curves(progress.history, progress.best_epoch or 1)
        write_png(folder / "curves.png", curves)
        if self._board:
            self._board.image("mattes", sheet, progress.epoch)


class _Board:
    """TensorBoard's event files, which only TensorFlow writes with pictures."""

    def __init__(self, folder: Path, tf):
        self.folder = folder
        self.tf = tf
        with self._writing():
            self.writer = tf.summary.create_file_writer(str(folder))

    def scalars(self, row: dict[str, float], step: int) -> None:
        with self._writing(), self.writer.as_default():
            for name, value in row.items():
                part = "validation" if name.startswith("val_") else "training"
                self.tf.summary.scalar(f"{part}/{name.removeprefix('val_')}", value, step)
            self.writer.flush()

    def image(self, name: str, picture: np.ndarray, step: int) -> None:
        with self._writing(), self.writer.as_default():
            self.tf.summary.image(name, picture[None], step)

    @contextlib.contextmanager
    def _writing(self):
        """TensorFlow has exceptions of its own for a full disk."""
        try:
            yield
        except self.tf.errors.OpError as error:
            reason = error.message.splitlines()[0].rpartition("; ")[2]
            raise UserError(f"cannot write {self.folder}: {reason}") from error


def _board(folder: Path) -> _Board | None:
    if keras.backend.backend() != "tensorflow":
        log.info("no TensorBoard logs: they need the TensorFlow backend")
        return None
    import tensorflow as tf

    return _Board(folder, tf)


def spread(sequence: PortraitSequence, count: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """`count` pictures spread evenly over an unshuffled sequence, with their targets."""
    chosen = evenly(range(len(sequence.images)), count)
    few = PortraitSequence(
        sequence.images[chosen], sequence.mattes[chosen], count, boundary=sequence.boundary
    )
    return few[0]


def is_preview(epoch: int) -> bool:
    """Frequent at first; then every 10th epoch, and from epoch 100 on every 100th."""
    return epoch <= 5 or epoch % (10 if epoch <= 100 else 100) == 0
