"""Trains a network: optimizer and schedule, checkpoints, previews, and resuming after a kill."""

import contextlib
import logging
import sys
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
from run_keeper import RunKeeper, go_on
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
        progress = go_on(run, model, recipe, resume)
        keeper = _Keeper(run, recipe, progress, validation)
        model.fit(
            training,
            validation_data=validation,
            epochs=recipe.epochs,
            initial_epoch=progress.epoch,
            shuffle=False,
            callbacks=[training.follow_epoch(), *keeper.callbacks],
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


class _Keeper(RunKeeper):
    """Draws the mattes of eight fixed pictures, and the curves; writes TensorBoard's logs."""

    def __init__(self, run: Run, recipe: Recipe, progress: Progress, validation: PortraitSequence):
        super().__init__(run, recipe, progress)
        self._fixed = _spread(validation, PREVIEW_PICTURES)
        self._board = _board(run.folder / "logs")

    def draw(self) -> None:
        progress, folder = self.progress, self.run.folder
        if self._board:
            row = progress.history[-1]
            scalars = {name: row[name] for name in row if name != "epoch"}
            self._board.scalars(scalars, progress.epoch)
        if not (_is_preview(progress.epoch) or progress.finished):
            return
        images, targets = self._fixed
        sheet = previews.matte_sheet(images, targets, self.model.predict_on_batch(images))
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
