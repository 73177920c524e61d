"""Losses for the matte and its boundary; every term has a name.

Terms take `(y_true, y_pred)` of shape (N, H, W, 1) in 0..1 and return a value per picture, (N,).
"""

import keras
from keras import ops

# Probabilities are clipped to this distance from 0 and 1, so that logarithms stay finite.
EPSILON = 1e-6


def _clip(y_pred):
    return ops.clip(ops.cast(y_pred, "float32"), EPSILON, 1.0 - EPSILON)


def _cross_entropy(y_true, y_pred):
    p = _clip(y_pred)
    return -(y_true * ops.log(p) + (1.0 - y_true) * ops.log(1.0 - p))


def binary_cross_entropy(y_true, y_pred):
    """-[y log p + (1 - y) log(1 - p)], the mean over pixels."""
    return ops.mean(_cross_entropy(y_true, y_pred), axis=(1, 2, 3))


def focal(y_true, y_pred, alpha: float = 0.25, gamma: float = 2.0):
    """Focal loss (Lin et al., 1708.02002): cross-entropy weighted by how wrong a pixel is.

    The weight is |y - p|^gamma. For masks of 0 and 1 it equals the paper's (1 - p_t)^gamma, and for
    soft mattes it is 0 if p equals y. Person pixels have the weight `alpha`, background pixels 1 -
    `alpha`.
    """
    y_true = ops.cast(y_true, "float32")
    balance = y_true * alpha + (1.0 - y_true) * (1.0 - alpha)
    wrong = ops.power(ops.abs(y_true - _clip(y_pred)) + EPSILON, gamma)
    return ops.mean(balance * wrong * _cross_entropy(y_true, y_pred), axis=(1, 2, 3))


def dice(y_true, y_pred, smooth: float = 1.0):
    """1 - (2 sum(y p) + s) / (sum(y) + sum(p) + s): Dice's coefficient of soft sets.

    Milletari et al. (1606.04797) square the terms of the denominator. Without the squares, soft
    alphas are biased towards 0 and 1: with an equal share of cross-entropy, and a person who fills
    a third of the picture, alphas of 0.7 in a band along the outline are learned as 0.8, and alphas
    of 0.3 as 0.2.

    `smooth`, in pixels, gives an empty alpha the loss 0 for a picture without a person.
    """
    y_true, y_pred = ops.cast(y_true, "float32"), ops.cast(y_pred, "float32")
    overlap = ops.sum(y_true * y_pred, axis=(1, 2, 3))
    total = ops.sum(y_true, axis=(1, 2, 3)) + ops.sum(y_pred, axis=(1, 2, 3))
    return 1.0 - (2.0 * overlap + smooth) / (total + smooth)


def squared_error(y_true, y_pred):
    """(y - p)^2, the mean over pixels."""
    return ops.mean(ops.square(y_true - ops.cast(y_pred, "float32")), axis=(1, 2, 3))


def absolute_error(y_true, y_pred):
    """|y - p|, the mean over pixels: the metric MAD at the network's own size."""
    return ops.mean(ops.abs(y_true - ops.cast(y_pred, "float32")), axis=(1, 2, 3))


def gradient_difference(y_true, y_pred):
    """|dy/dx - dp/dx| + |dy/dv - dp/dv| between neighbouring pixels, the mean over pixels."""
    error = ops.cast(y_true, "float32") - ops.cast(y_pred, "float32")
    across = ops.abs(error[:, :, 1:] - error[:, :, :-1])
    down = ops.abs(error[:, 1:] - error[:, :-1])
    return ops.mean(across, axis=(1, 2, 3)) + ops.mean(down, axis=(1, 2, 3))


MATTE_TERMS = {
    "focal": focal,
    "bce": binary_cross_entropy,
    "dice": dice,
    "mse": squared_error,
    "mad": absolute_error,
    "gradient": gradient_difference,
}
# "focal" is the original's. Its 1 : 3 for person against background leaves alphas grey and draws
# the outline too tight: on validation portraits Fast-SCNN's person IoU was higher at a threshold of
# 0.4 than at 0.5 (.902 against .897). "bce_dice" puts the best threshold at 0.5. Trained on soft
# targets, "bce_dice" leaves alphas softer than the targets are; "bce_dice_mad" corrects this.
# "detail" is for the refiner, whose tiles may have hardly any person, which Dice overrates. Most of
# its weight is on MAD, because cross-entropy leaves alphas grey where the right one is uncertain.
MATTE_WEIGHTS = {
    "focal": {"focal": 0.7, "bce": 0.2, "dice": 0.2, "mse": 0.1},
    "bce_dice": {"bce": 0.5, "dice": 0.5},
    "bce_dice_mad": {"bce": 0.5, "dice": 0.5, "mad": 1.0},
    "detail": {"bce": 0.1, "mad": 1.0, "gradient": 1.0},
}


def output_weights(boundary: float) -> dict[str, float]:
    """The `loss_weights` for `compile`, with this share, 0..1, of the boundary's loss."""
    return {"output": 1.0 - boundary, "boundary_attention": boundary}


OUTPUT_WEIGHTS = output_weights(0.2)


def matte_terms(y_true, y_pred) -> dict:
    """Every term of the matte's loss by name, each (N,), without its weight."""
    y_true = ops.cast(y_true, "float32")
    return {name: term(y_true, y_pred) for name, term in MATTE_TERMS.items()}


@keras.saving.register_keras_serializable("portrait_segmentation")
class MatteLoss(keras.losses.Loss):
    """A weighted sum of the matte's terms; `weights` is a value of `MATTE_WEIGHTS`."""

    def __init__(self, weights: dict[str, float], name: str = "matte_loss", **kwargs):
        super().__init__(name=name, **kwargs)
        self.weights = dict(weights)

    def call(self, y_true, y_pred):
        terms = matte_terms(y_true, y_pred)
        return sum(weight * terms[name] for name, weight in self.weights.items())

    def get_config(self):
        return {**super().get_config(), "weights": self.weights}


@keras.saving.register_keras_serializable("portrait_segmentation")
class BoundaryLoss(keras.losses.Loss):
    """Binary cross-entropy between the boundary head and `data.targets.boundary_target`."""

    def __init__(self, name: str = "boundary_loss", **kwargs):
        super().__init__(name=name, **kwargs)

    def call(self, y_true, y_pred):
        return binary_cross_entropy(ops.cast(y_true, "float32"), y_pred)


def training_losses(weighting: str = "bce_dice") -> dict[str, keras.losses.Loss]:
    """The losses for `compile`, by the name of the output.

    Args:
        weighting: a key of `MATTE_WEIGHTS`.
    """
    return {
        "output": MatteLoss(MATTE_WEIGHTS[weighting]),
        "boundary_attention": BoundaryLoss(),
    }
