"""Starts Fast-SCNN with a decoder from trained weights of Fast-SCNN."""

from pathlib import Path

import keras
import numpy as np

from fast_scnn import FEATURES, build
from portrait.models.weights import load_weights, weights_file


def start(model: keras.Model, path: Path, pictures: np.ndarray) -> None:
    """Loads the initial weights of a `fast_scnn_skips`, for `models.start.start`.

    The decoder and the heads keep their random weights.

    Args:
        model: the network.
        path: weights of `fast_scnn`: a `.weights.h5` file or a run's folder.
        pictures: not used.

    Raises:
        UserError: the file does not exist, or contains the weights of another network.
    """
    plain = build(model.input_shape[1:3])
    load_weights(plain, weights_file(path))
    _shared_part(model).set_weights(_shared_part(plain).get_weights())


def _shared_part(model: keras.Model) -> keras.Model:
    return keras.Model(model.input, model.get_layer(FEATURES).output)
