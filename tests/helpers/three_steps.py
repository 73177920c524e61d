"""Predicts with a network on another backend of Keras, and trains it for three steps.

KERAS_BACKEND=jax python three_steps.py FOLDER NAME:SIZE...

For each network FOLDER holds NETWORK.weights.h5, and beside these images.npy and matte.npy. What
the network gives, and the loss of each step, go to NETWORK.npz.
"""

import sys
from pathlib import Path

import keras
import numpy as np

from portrait import losses
from portrait.models.build import build
from portrait.models.weights import load_weights


def run(folder: Path, name: str, size: str) -> None:
    images, matte = np.load(folder / "images.npy"), np.load(folder / "matte.npy")
    model = build(name, images.shape[1:3], size)
    load_weights(model, folder / f"{model.name}.weights.h5")
    outputs = model.predict(images, verbose=0)
    model.compile(
        keras.optimizers.Adam(1e-3),
        loss=losses.training_losses(),
        loss_weights=losses.OUTPUT_WEIGHTS,
        jit_compile=False,
    )
    steps = []
    for _ in range(3):
        model.reset_metrics()
        targets = {output: matte for output in outputs}
        steps.append(model.train_on_batch(images, targets, return_dict=True)["loss"])
    np.savez(folder / f"{model.name}.npz", steps=steps, **outputs)


if __name__ == "__main__":
    for network in sys.argv[2:]:
        run(Path(sys.argv[1]), *network.split(":"))
