"""Trains a network: optimizer, schedule, checkpoints, previews, and resuming a stopped run."""

import contextlib
import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import keras

from data_generator import PortraitSequence
from portrait import losses
from portrait.backend import has_gpu
from portrait.models.rescale import largest_activations
from portrait.training.callbacks import PREVIEW_PICTURES, PreviewCheckpointer, go_on, spread
from portrait.training.devices import ONE_DEVICE, Scopes
from portrait.training.person_iou import PersonIoU
from portrait.training.recipe import Recipe, make_optimizer
from portrait.training.run import Run

log = logging.getLogger(__name__)


def compile_model(model: keras.Model, recipe: Recipe, steps_per_epoch: int) -> None:
    """Compiles `model` with the losses, their weights and the metrics of training."""
    model.compile(
        make_optimizer(recipe, steps_per_epoch),
        loss=losses.training_losses(recipe.loss),
        loss_weights=losses.output_weights(recipe.boundary_weight),
        # Weighted: see `PortraitSequence` for the weights.
        weighted_metrics={"output": [PersonIoU(), keras.metrics.MeanAbsoluteError(name="mad")]},
        # XLA's convolutions are several times slower than oneDNN's on a CPU, but JAX has no others.
        jit_compile="auto" if has_gpu() or keras.backend.backend() == "jax" else False,
    )
    # Otherwise the first step creates the optimizer's variables, and TensorFlow traces it twice.
    model.optimizer.build(model.trainable_variables)


def train(
    model: keras.Model,
    training: PortraitSequence,
    validation: PortraitSequence,
    run: Run,
    recipe: Recipe,
    resume: bool = False,
    *,
    changes: dict | None = None,
    scopes: Scopes = ONE_DEVICE,
    single: keras.Model | None = None,
    quiet: bool = False,
) -> Path:
    """Trains `model` and leaves everything in the folder of `run` (see `training.run`).

    With `resume`, it continues after the last complete epoch of `run`. The model ends with the
    weights of the best epoch.

    Args:
        changes: entries of run.json that a resumed run replaces.
        scopes: from `devices.started`, in which `model` was built if it is on several devices.
        single: the same network on one device, for pictures and checkpoints; it ends with these
            weights, too. None: `model` itself.
        quiet: whether to print nothing, because another host does.

    Returns:
        The checkpoint of the best epoch.

    Raises:
        UserError: the loss is no longer a number; a file cannot be written; nothing to resume;
            another process trains in the folder; a batch cannot be made.
    """
    single = single or model
    with run.lock():
        with scopes.building():
            compile_model(model, recipe, len(training))
        progress = go_on(run, model, recipe, resume, changes)
        keeper = PreviewCheckpointer(run, recipe, progress, validation, single)
        with scopes.training(), _failures_told(training, validation):
            model.fit(
                training,
                validation_data=validation,
                epochs=recipe.epochs,
                initial_epoch=progress.epoch,
                shuffle=False,
                callbacks=[training.follow_epoch(), *keeper.callbacks],
                # A progress bar in a terminal, one line for each epoch in a log file.
                verbose=0 if quiet else 1 if sys.stdout.isatty() else 2,
            )
    best = run.load_checkpoint(single, progress.best_epoch)
    if single is not model:
        model.set_weights(single.get_weights())
    row = progress.history[progress.best_epoch - 1]
    if quiet:
        return best
    print(
        f"best checkpoint: {best} (epoch {progress.best_epoch} of {progress.epoch}; validation: "
        f"loss {row['val_loss']:.4f}, person IoU {row['val_output_person_iou']:.4f}, "
        f"MAD {row['val_output_mad']:.4f}{_largest_activation(single, validation)})"
    )
    return best


@contextlib.contextmanager
def _failures_told(*sequences: PortraitSequence) -> Iterator[None]:
    """Raises the error of a sequence; TensorFlow raises its own instead, with a stack trace."""
    for sequence in sequences:
        sequence.failure = None  # of an earlier training
    try:
        yield
    except Exception:
        for sequence in sequences:
            if sequence.failure:
                raise sequence.failure from None
        raise


def _largest_activation(model: keras.Model, validation: PortraitSequence) -> str:
    """The largest activation on a few pictures, for the log; empty if there are other inputs."""
    if len(model.inputs) > 1:
        return ""
    images, _ = spread(validation, PREVIEW_PICTURES)
    layer, largest = max(largest_activations(model, images).items(), key=lambda each: each[1])
    return f", largest activation {largest:.0f} in {layer}"
