"""The settings of a training, and its optimizer."""

from dataclasses import dataclass

import keras
from keras import ops

SCHEDULES = ("cosine", "halving", "constant")


@dataclass(frozen=True)
class Recipe:
    """How to train.

    Attributes:
        epochs: the largest number of epochs.
        loss: the weighting of the matte's loss, a key of `losses.MATTE_WEIGHTS`.
        boundary_weight: the share of the boundary's loss in the whole, 0 to 1.
        lr: the (highest) learning rate of Adam.
        schedule: "constant"; "halving", which halves it after each fifth of the epochs; or
            "cosine", which rises during the first twentieth and then falls to a hundredth.
        ema: validate and keep an exponential moving average of the weights, over the last
            twentieth of the steps, instead of the weights themselves.
        patience: epochs without a lower validation loss after which training ends; 0 never does.
        checkpoint_every: also keep a checkpoint every N epochs; 0 keeps only the best.
    """

    epochs: int
    loss: str = "bce_dice"
    boundary_weight: float = 0.2
    lr: float = 1e-3
    schedule: str = "cosine"
    ema: bool = True
    patience: int = 20
    checkpoint_every: int = 0


class ClippedAdam(keras.optimizers.Adam):
    """Adam with gradients of at most norm 1 for each tensor, to limit the damage of a bad batch.

    Keras's `clipnorm` does the same on one device. On several, TensorFlow would clip the gradient
    of each device before they are added up.
    """

    def update_step(self, gradient, variable, learning_rate):
        norm = ops.sqrt(ops.sum(ops.square(gradient)))
        super().update_step(gradient / ops.maximum(norm, 1.0), variable, learning_rate)


def make_optimizer(recipe: Recipe, steps_per_epoch: int) -> keras.optimizers.Optimizer:
    """Adam with the recipe's schedule and optionally the moving average of weights."""
    total = max(1, recipe.epochs * steps_per_epoch)
    if recipe.schedule == "constant":
        rate = recipe.lr
    elif recipe.schedule == "halving":
        rate = keras.optimizers.schedules.ExponentialDecay(
            recipe.lr, max(1, total // 5), decay_rate=0.5, staircase=True
        )
    else:
        warm_up = max(1, total // 20)
        rate = keras.optimizers.schedules.CosineDecay(
            initial_learning_rate=recipe.lr / 20,
            decay_steps=max(1, total - warm_up),
            alpha=0.01,
            warmup_target=recipe.lr,
            warmup_steps=warm_up,
        )
    return ClippedAdam(
        rate,
        use_ema=recipe.ema,
        ema_momentum=max(0.0, min(0.999, 1.0 - 20.0 / total)),
    )
