"""Trains a network: optimizer and schedule, checkpoints, previews, and resuming after a kill."""

import contextlib
import logging
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

import losses
import previews
from data_generator import PortraitSequence
from files import UserError
from pairs import evenly
from pictures import write_png
from recipe import Recipe, make_optimizer
from runs import Progress, Run
from training_metrics import PersonIoU

log = logging.getLogger(__name__)

PREVIEW_PICTURES = 8


def compile_model(model: keras.Model, recipe: Recipe, steps_per_epoch: int) -> None:
    """Compiles `model` with the losses, their weights and the metrics of training."""
    model.compile(
        make_optimizer(recipe, steps_per_epoch),
        loss=losses.training_losses(recipe.loss),
        loss_weights=losses.output_weights(recipe.boundary_weight),
        metrics={"output": [PersonIoU(), keras.metrics.MeanAbsoluteError(name="mad")]},
        # XLA's convolutions are several times slower than oneDNN's on a CPU.
        jit_compile="auto" if _has_gpu() else False,
    )
    # Else the first step makes the optimizer's variables, and TensorFlow traces it twice.
    model.optimizer.build(model.trainable_variables)


def train(
    model: keras.Model,
    training: PortraitSequence,
    validation: PortraitSequence,
    run: Run,
    recipe: Recipe,
    resume: bool = False,
) -> Path:
    """Trains `model` and leaves everything in the folder of `run` (see `runs.py`).

    With `resume`, goes on after the last whole epoch of `run`. The model ends with the weights of
    the best epoch.

    Returns:
        The checkpoint of the best epoch.

    Raises:
        UserError: the loss is no longer a number; a file cannot be written; nothing to resume;
            another process trains in the folder.
    """
    with run.held():
        compile_model(model, recipe, len(training))
        progress = run.load_state(model) if resume else Progress()
        if progress.epoch >= recipe.epochs or (0 < recipe.patience <= progress.waited):
            reason = progress.finished or (
                f"{progress.epoch} epochs are done"
                if progress.epoch >= recipe.epochs
                else f"{progress.waited} epochs without a better one"
            )
            raise UserError(f"{run.folder} is finished ({reason}): raise --nb_epoch or --patience")
        progress.finished = ""
        if progress.epoch:
            log.info("resuming %s after epoch %d", run.folder, progress.epoch)
        keeper = RunKeeper(run, recipe, progress, validation)
        callbacks = [training.follow_epoch(), keeper]
        if recipe.ema:
            # First, so that the others see the averaged weights from the start of a validation.
            callbacks.insert(0, keeper.averages)
        model.fit(
            training,
            validation_data=validation,
            epochs=recipe.epochs,
            initial_epoch=progress.epoch,
            shuffle=False,
            callbacks=callbacks,
            # A progress bar for a person, a line an epoch for a log file.
            verbose=1 if sys.stdout.isatty() else 2,
        )
    best = run.load_checkpoint(model, progress.best_epoch)
    row = progress.history[progress.best_epoch - 1]
    print(
        f"best checkpoint: {best} (epoch {progress.best_epoch} of {progress.epoch}; validation: "
        f"loss {row['val_loss']:.4f}, person IoU {row['val_output_person_iou']:.4f}, "
        f"MAD {row['val_output_mad']:.4f})"
    )
    return best


class RunKeeper(keras.callbacks.Callback):
    """Keeps a run's folder up to date: checkpoints, history, state, previews, TensorBoard.

    After each epoch the checkpoint is written first, then the state, and only then is the former
    best checkpoint removed. A run that is killed in between repeats the epoch and writes the same
    checkpoint again, or keeps one more than it needs.
    """

    def __init__(self, run: Run, recipe: Recipe, progress: Progress, validation: PortraitSequence):
        super().__init__()
        self.run = run
        self.recipe = recipe
        self.progress = progress
        self.averages = keras.callbacks.SwapEMAWeights() if recipe.ema else None
        self.fixed = _spread(validation, PREVIEW_PICTURES)
        self.board = _board(run.folder / "logs")
        self.started = 0.0

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self.started = time.monotonic()

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        self._check((logs or {}).get("loss", 0.0), f"batch {batch + 1}")

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self._check(logs["val_loss"], "validation")
        progress, number, former = self.progress, epoch + 1, self.progress.best_epoch
        progress.epoch = number
        progress.history.append(
            {
                "epoch": number,
                "seconds": time.monotonic() - self.started,
                "lr": float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate)),
                **{name: float(value) for name, value in logs.items()},
            }
        )
        with_averages = self.averages
        if with_averages:
            with_averages.on_test_begin()
        try:
            self._save_best(logs["val_loss"])
            if _is_preview(number) or number == self.recipe.epochs:
                self._draw()
        finally:
            if with_averages:
                with_averages.on_test_end()
        if self.recipe.patience and progress.waited >= self.recipe.patience:
            progress.finished = f"no better for {progress.waited} epochs"
            self.model.stop_training = True
        elif number == self.recipe.epochs:
            progress.finished = f"all {number} epochs are done"
        if self.board:
            row = progress.history[-1]
            self.board.scalars({name: row[name] for name in row if name != "epoch"}, number)
        self.run.save_state(self.model, progress)
        if former != progress.best_epoch and not self._is_numbered(former):
            self.run.remove_checkpoint(former)
        if progress.finished:
            curves = previews.curves(progress.history, progress.best_epoch)
            write_png(self.run.folder / "curves.png", curves)

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
            self.run.save_checkpoint(self.model, progress.epoch, val_loss)
        if better:
            progress.best_loss, progress.best_epoch, progress.waited = val_loss, progress.epoch, 0
        else:
            progress.waited += 1

    def _draw(self) -> None:
        images, targets = self.fixed
        outputs = self.model.predict_on_batch(images)
        sheet = previews.matte_sheet(images, targets, outputs)
        folder = self.run.folder
        write_png(folder / "previews" / f"epoch_{self.progress.epoch:04}.png", sheet)
        write_png(
            folder / "curves.png",
            previews.curves(self.progress.history, self.progress.best_epoch or 1),
        )
        if self.board:
            self.board.image("mattes", sheet, self.progress.epoch)


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


def _spread(sequence: PortraitSequence, count: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """`count` pictures spread evenly over an unshuffled sequence, with their targets."""
    chosen = evenly(range(len(sequence.images)), count)
    few = PortraitSequence(
        sequence.images[chosen], sequence.mattes[chosen], count, boundary=sequence.boundary
    )
    return few[0]


def _is_preview(epoch: int) -> bool:
    """Often at first, when much happens; then every 10th epoch, from 100 on every 100th."""
    return epoch <= 5 or epoch % (10 if epoch <= 100 else 100) == 0


def _has_gpu() -> bool:
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        return bool(tf.config.list_physical_devices("GPU"))
    if backend == "jax":
        import jax

        return jax.default_backend() == "gpu"
    return False


def predict_batch(model: keras.Model) -> Callable[[np.ndarray], np.ndarray]:
    """A function from images (N, H, W, 3) 0..255 to alphas (N, H, W, 1), 0..1."""

    def run(images: np.ndarray) -> np.ndarray:
        return np.asarray(model.predict_on_batch(images)["output"])

    return run
