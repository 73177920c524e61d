"""Starts SelfieNet for videos from trained weights of SelfieNet."""

from pathlib import Path

import keras
import numpy as np

from portrait.models.build import build
from portrait.models.registry import split_name
from portrait.models.start.mediapipe import widen
from portrait.models.weights import load_weights, weights_file


def start(model: keras.Model, path: Path, pictures: np.ndarray) -> None:
    """Loads the initial weights of a `selfie_net_video`, for `models.start.start`.

    The network then computes the alphas of the other network, whatever the previous alpha is.

    Args:
        model: the network.
        path: weights of `selfie_net` of the same size: a `.weights.h5` file or a run's folder.
        pictures: not used.

    Raises:
        UserError: the file does not exist, or contains the weights of another network.
    """
    plain = build("selfie_net", model.input_shape[1:3], split_name(model.name)[1])
    load_weights(plain, weights_file(path))
    widen(plain, model)
