"""Trains networks on one and on several virtual CPU devices, in a process of its own.

KERAS_BACKEND=jax python many_devices.py FOLDER NETWORK:SIZE:SHAPE:DEVICES...

FOLDER/data holds 35 pictures; 20 of them are used for training. For each network, the run is put
into FOLDER/NETWORK-SIZE-DEVICES.
"""

import functools
import os
import sys
from pathlib import Path

import numpy as np

VIRTUAL = 2  # devices; each training uses the number that it is given


def virtual_cpus() -> None:
    """Divides this machine's CPU for JAX and for TensorFlow, before they start."""
    os.environ["XLA_FLAGS"] = (
        f"--xla_force_host_platform_device_count={VIRTUAL} "
        # Devices wait for each other, and on a busy machine for longer than usual.
        "--xla_cpu_collective_call_terminate_timeout_seconds=900"
    )
    os.environ["JAX_PLATFORMS"] = "cpu"
    if os.environ["KERAS_BACKEND"] == "tensorflow":
        import tensorflow as tf

        tf.config.set_logical_device_configuration(
            tf.config.list_physical_devices("CPU")[0],
            [tf.config.LogicalDeviceConfiguration()] * VIRTUAL,
        )


def run(folder: Path, name: str, size: str, shape: str, devices: int) -> None:
    """An epoch of ten steps with batches of two, from random weights.

    Adam usually moves a weight by the learning rate, also where its gradient is nothing but
    rounding, and is blind to gradients of a wrong scale. A large epsilon makes its steps
    proportional to the gradients.
    """
    from portrait.commands.train import train
    from portrait.models import registry
    from portrait.training import recipe

    recipe.ClippedAdam = functools.partial(recipe.ClippedAdam, epsilon=1.0)
    train(
        name,
        size,
        shape,
        data=[folder / "data"],
        val_ratio=0.7,
        start="none",
        augment="flip_horizontal,gamma",
        workers=1,
        batch_size=2,
        nb_epoch=1,
        lr=1e-3,
        checkpoint_path=folder / f"{name}-{size}-{devices}",
        devices=devices,
    )
    network = registry.builder(name, size)(registry.parse_input_shape(shape))
    np.save(folder / f"{name}-{size}-trained.npy", [each.trainable for each in network.weights])


if __name__ == "__main__":
    virtual_cpus()
    import pytest
    import tiny_spec

    tiny_spec.register(pytest.MonkeyPatch())
    for each in sys.argv[2:]:
        *network, count = each.split(":")
        run(Path(sys.argv[1]), *network, int(count))
