"""Measures a training step of each network, and the time that the loader adds.

python benchmarks/training_step.py [--data=DIR] [--input_shape=256]

Each network is trained on the same number of batches from memory (the limit) and from the loader,
in turn. The second of two epochs is timed, when the loader's workers are as far ahead at its start
as at its end; they do not run during the epochs from memory. Goal: with the loader, Fast-SCNN takes
at most 1.10 times as long. The last lines compare the fused layers of `portrait.models.layers` with
Keras's own: batch normalisation in a step of Fast-SCNN, and PReLU in one of MattingNet.
"""

import os
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from absl import flags

from augmentation import DEFAULT, Augmentation
from benchmarks.examined import examined_pairs
from portrait import cli
from portrait.backend import start_keras
from portrait.data.sample.sample import ensure_sample, sample_backgrounds
from portrait.models.registry import parse_input_shape

FLAGS = flags.FLAGS


def from_memory(batches: list):
    """A dataset for `fit` from batches in memory."""
    import keras

    class FromMemory(keras.utils.PyDataset):
        def __len__(self) -> int:
            return len(batches)

        def __getitem__(self, index: int):
            return batches[index]

    return FromMemory()


def loader(pictures, workers: int):
    """The `PortraitSequence` of what training takes."""
    from data_generator import PortraitSequence

    return PortraitSequence(
        pictures.images,
        pictures.mattes,
        FLAGS.batch_size,
        augmentation=Augmentation(DEFAULT, backgrounds=sample_backgrounds()),
        shuffle=True,
        workers=workers,
    )


def build(name: str, size: tuple[int, int]):
    """The network of this full name."""
    from portrait.models import build as build_module
    from portrait.models.registry import split_name

    family, model_size = split_name(name)
    return build_module.build(family, size, model_size)


def compiled(model):
    """`model`, compiled as for a training."""
    from portrait.training.fit import compile_model
    from portrait.training.recipe import Recipe

    compile_model(model, Recipe(epochs=10), FLAGS.batches)
    return model


def with_keras_layers(model):
    """A copy of `model` with Keras's own batch normalisation and PReLU."""
    import keras

    from portrait.models import layers

    own = {
        layers.BatchNormalization: keras.layers.BatchNormalization,
        layers.PReLU: keras.layers.PReLU,
    }

    def copied(layer):
        return own.get(type(layer), type(layer)).from_config(layer.get_config())

    return keras.models.clone_model(model, clone_function=copied)


def epoch_seconds(model, data, callbacks: Sequence = ()) -> float:
    """Seconds of the second of two epochs, from the end of the first."""
    import keras

    ends = []
    clock = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: ends.append(time.perf_counter())
    )
    model.fit(data, epochs=2, shuffle=False, verbose=0, callbacks=[*callbacks, clock])
    return ends[1] - ends[0]


def compare(name: str, size: tuple[int, int], pictures) -> None:
    """Prints a line: images/s from memory, from the loader, and the ratio of their times."""
    computed = loader(pictures, 0)
    memory = from_memory([computed[index] for index in range(len(computed))])
    model = compiled(build(name, size))
    ratios, limits = [], []
    for _ in range(FLAGS.repeats):
        limits.append(epoch_seconds(model, memory))
        through = loader(pictures, FLAGS.workers)  # its workers compute ahead, so they end below
        ratios.append(epoch_seconds(model, through, [through.follow_epoch()]) / limits[-1])
        through.close()
    count = len(pictures.images)
    rate, ratio = count / statistics.median(limits), statistics.median(ratios)
    print(
        f"{name:18}{rate:14.1f}{rate / ratio:16.1f}{ratio:9.2f}   "
        f"{' '.join(f'{value:.2f}' for value in ratios)}",
        flush=True,
    )


def compare_layers(name: str, size: tuple[int, int], pictures) -> None:
    """Prints the time of a step with our layers as a share of that with Keras's."""
    batches = from_memory([loader(pictures, 0)[0]] * FLAGS.batches)
    network = build(name, size)
    composed, fused = compiled(with_keras_layers(network)), compiled(network)
    ratios = [
        epoch_seconds(fused, batches) / epoch_seconds(composed, batches)
        for _ in range(FLAGS.repeats)
    ]
    print(
        f"{name}: a step with the fused layers takes {statistics.median(ratios):.2f} of the time "
        f"with Keras's ({' '.join(f'{ratio:.2f}' for ratio in ratios)})",
        flush=True,
    )


def main() -> None:
    start_keras()
    from portrait.data.loading import load
    from portrait.models.build import builder
    from portrait.models.registry import split_name

    for name in FLAGS.networks:
        builder(*split_name(name))
    size = parse_input_shape(FLAGS.input_shape)
    pairs = examined_pairs(FLAGS.data or [ensure_sample()], "training", FLAGS.person_label)
    wanted = FLAGS.batches * FLAGS.batch_size
    pairs = [pairs[i] for i in np.arange(wanted) % len(pairs)]
    pictures = load(pairs, size)
    print(
        f"{FLAGS.batches} batches of {FLAGS.batch_size}, {size[0]}x{size[1]}, "
        f"{FLAGS.workers} workers, {os.cpu_count()} cores"
    )
    print(f"{'network':18}{'memory, img/s':>14}{'loader, img/s':>16}{'ratio':>9}   each")
    for name in FLAGS.networks:
        compare(name, size, pictures)
    print()
    for name in ("fast_scnn", "mattingnet_big"):
        compare_layers(name, size, pictures)


if __name__ == "__main__":
    flags.DEFINE_list("data", [], "Folders of pictures and mattes. Default: the built-in sample.")
    flags.DEFINE_list("person_label", [], "The person's labels in label masks, as in main.py.")
    flags.DEFINE_string("input_shape", "256", "HEIGHT or HEIGHTxWIDTH.")
    flags.DEFINE_integer("batch_size", 32, "Pictures in a batch.", 1)
    flags.DEFINE_integer("batches", 12, "Batches in an epoch.", 1)
    flags.DEFINE_integer("repeats", 3, "Timed epochs of each kind, in turn, after untimed ones.", 1)
    flags.DEFINE_integer("workers", 2, "Worker processes of the loader.", 0)
    flags.DEFINE_list(
        "networks", ["fast_scnn", "mattingnet_small", "mattingnet_big"], "The networks to time."
    )
    cli.run(main, ["networks"])
