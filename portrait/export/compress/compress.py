"""Smaller networks by tfmot, fine-tuned from trained weights: pruned, clustered, or in 8 bits.

All are trained to give what the trained network gives.

- prune: a share of the weights of every large layer, the smallest, becomes 0 (Zhu and Gupta, "To
  prune, or not to prune", 1710.01878). The files are as large as before, but pack better.
- cluster: every large layer has only so many different weights. They pack better, and Core ML's
  palettised file holds them as they are.
- qat: the network is trained with the rounding of its int8 file. For where plain int8 loses more
  than it may.
"""

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras
from tqdm import tqdm

from data_generator import PortraitSequence
from portrait import losses
from portrait.errors import UserError
from portrait.export import tflite, verify
from portrait.export.compress import bridge, quantise
from portrait.export.convert import check_request, convert_all
from portrait.export.formats import QAT_FORMATS, Format, Source
from portrait.export.samples import Samples
from portrait.io.files import replacing
from portrait.models.build import for_inference
from portrait.training.run import weights_bytes

SUFFIXES = {"prune": "pruned", "cluster": "clustered", "qat": "qat"}

_SMALLEST = 512  # weights of a layer; smaller ones are left alone
_KERNELS = (tf_keras.layers.Conv2D, tf_keras.layers.Conv2DTranspose)


@dataclass(frozen=True)
class Plan:
    """How to compress.

    Attributes:
        method: "prune", "cluster" or "qat".
        epochs: of fine-tuning.
        lr: the learning rate that fine-tuning starts from; it falls to a hundredth.
        sparsity: the share of weights that pruning makes 0.
        clusters: how many different weights clustering leaves a layer.
    """

    method: str
    epochs: int = 5
    lr: float = 1e-4
    sparsity: float = 0.5
    clusters: int = 32

    def __post_init__(self):
        if self.method not in SUFFIXES:
            raise UserError(f"there is no {self.method!r}: the ways are {', '.join(SUFFIXES)}")
        if not 0 < self.sparsity < 1:
            raise UserError(f"--sparsity={self.sparsity}: must be between 0 and 1, such as 0.5")
        if not 2 <= self.clusters <= 256:
            raise UserError(f"--clusters={self.clusters}: must be 2 to 256")


def compress(
    model: keras.Model,
    training: PortraitSequence,
    validation: PortraitSequence,
    plan: Plan,
    output: str | Path,
    name: str,
    samples: Samples,
    android: bool = False,
    formats: Sequence[str] | None = None,
    allow_cpu_ops: bool = False,
) -> dict:
    """Compresses a trained network, and exports it with its report.

    Pruned and clustered networks stay Keras's: `model` gets their weights, which are written beside
    the files, and each file is compared with it. The files of "qat" are compared with `model` as it
    was given, and may be better but hardly worse.

    Args:
        model: a trained network, as `models.build` makes it.
        training: what to fine-tune on; its targets are not used.
        validation: what to show the mean error of alpha on, after each epoch.
        plan: how to compress.
        output: see `convert_all`, as for what follows.
        name: what file names begin with, before "_pruned", "_clustered" or "_qat".
        samples: see `convert_all`.
        android: see `convert_all`.
        formats: see `convert_all`; "qat" makes int8 and uint8 only.
        allow_cpu_ops: see `convert_all`.

    Returns:
        The report of `convert_all`. Its `compression` tells the plan and the mean person IoU that
        the network had on the samples when it was given.

    Raises:
        UserError: as `convert_all`; the network cannot be compressed; the loss is not a number.
    """
    output = Path(output)
    name = f"{name.removesuffix('.tflite')}_{SUFFIXES[plan.method]}"
    check_request(name, formats, android, plan.method)
    given = verify.keras_outputs(for_inference(model), samples.pictures)
    had = verify.mean_iou(verify.person_ious(given, samples.mattes))
    network = bridge.twin(model)
    if plan.method == "qat":
        rounding = quantise.quantisation_aware(network, samples.calibration)
        fine_tune(rounding, network, training, validation, plan)
        formats = {kind: _qat_format(rounding, kind) for kind in formats or QAT_FORMATS}
    else:
        way = prune if plan.method == "prune" else cluster
        bridge.take_weights(model, way(network, training, validation, plan))
        with replacing(output / f"{name}.weights.h5") as path:
            path.write_bytes(weights_bytes(model, path))
    details = {"compression": {**asdict(plan), "given_person_iou": had}}
    if had is not None:
        print(f"person IoU as given: {had:.4f}")
    return convert_all(
        model, output, name, samples, android, formats, allow_cpu_ops, details=details
    )


def prune(
    network: tf_keras.Model, training: PortraitSequence, validation: PortraitSequence, plan: Plan
) -> tf_keras.Model:
    """A copy of `network` in which a share of `plan.sparsity` of each large kernel is 0.

    The share rises during the first 60 % of the steps, fast at first.
    """
    steps = plan.epochs * len(training)
    # The last of the steps at which weights are chosen must be one of a multiple of `every`.
    every = max(1, steps // 50)
    schedule = tfmot.sparsity.keras.PolynomialDecay(
        0.0, plan.sparsity, 0, every * max(1, steps * 3 // 5 // every), frequency=every
    )
    pruning = _wrapped(
        _copy(network),
        functools.partial(tfmot.sparsity.keras.prune_low_magnitude, pruning_schedule=schedule),
    )
    callback = tfmot.sparsity.keras.UpdatePruningStep()
    callback.set_model(pruning)
    callback.on_train_begin()
    fine_tune(pruning, network, training, validation, plan)
    callback.on_epoch_end(plan.epochs)  # zeros what the last step moved
    return tfmot.sparsity.keras.strip_pruning(pruning)


def cluster(
    network: tf_keras.Model, training: PortraitSequence, validation: PortraitSequence, plan: Plan
) -> tf_keras.Model:
    """A copy of `network` in which each large kernel has at most `plan.clusters` values.

    Batch normalisation is frozen, lest a file have these values times its scales.
    """
    merged = _copy(network)
    bridge.absorb_batch_norms(merged)
    for layer in merged.layers:
        if isinstance(layer, tf_keras.layers.BatchNormalization):
            layer.trainable = False
    clustering = _wrapped(
        merged,
        functools.partial(
            tfmot.clustering.keras.cluster_weights,
            number_of_clusters=plan.clusters,
            cluster_centroids_init=tfmot.clustering.keras.CentroidInitialization.KMEANS_PLUS_PLUS,
        ),
    )
    fine_tune(clustering, network, training, validation, plan)
    return tfmot.clustering.keras.strip_clustering(clustering)


def _copy(network: tf_keras.Model) -> tf_keras.Model:
    copy = tf_keras.models.clone_model(network)
    copy.set_weights(network.get_weights())
    return copy


def _wrapped(network: tf_keras.Model, wrap: Callable[[Any], Any]) -> tf_keras.Model:
    """`network` with its large convolutions in wrappers.

    tfmot would wrap a whole network, but not one with layers that it does not know, such as PReLU.
    """

    def wrapped(layer):
        large = isinstance(layer, _KERNELS) and math.prod(layer.kernel.shape) >= _SMALLEST
        return wrap(layer) if large else layer

    return tf_keras.models.clone_model(network, clone_function=wrapped)


def fine_tune(
    network: tf_keras.Model,
    given: tf_keras.Model,
    training: PortraitSequence,
    validation: PortraitSequence,
    plan: Plan,
) -> None:
    """Trains what is not frozen to give what `given` gives (Hinton et al., 1503.02531).

    With the mattes for targets, a short training with some of the pictures, or another loss, would
    lead away from what a long one has reached. Here all that is to be learned is the new form.
    """
    height, width = network.input_shape[1:3]
    batch = [tf.TensorSpec((None, height, width, 3))]
    steps = plan.epochs * len(training)
    optimizer = tf_keras.optimizers.Adam(
        tf_keras.optimizers.schedules.CosineDecay(plan.lr, steps, alpha=0.01), clipnorm=1.0
    )
    # Not `network.trainable_weights`: tfmot's wrappers list what is frozen, too.
    variables = [
        weight for layer in network.layers if layer.trainable for weight in layer.trainable_weights
    ]
    optimizer.build(variables)

    @tf.function(input_signature=batch)
    def step(images):
        targets = given(images, training=False)
        with tf.GradientTape() as tape:
            outputs = network(images, training=True)
            terms = map(losses.binary_cross_entropy, targets, outputs)
            weighted = zip(losses.OUTPUT_WEIGHTS.values(), terms, strict=True)
            loss = sum(weight * tf.reduce_mean(term) for weight, term in weighted)
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return loss

    @tf.function(input_signature=batch)
    def error(images):
        return tf.reduce_mean(tf.abs(network(images)[0] - given(images)[0]))

    with tqdm(total=steps, desc=plan.method, unit=" steps", disable=None) as bar:
        for training.epoch in range(plan.epochs):
            for index in range(len(training)):
                if not math.isfinite(step(training[index][0])):
                    raise UserError("the loss is no longer a number: lower --lr")
                bar.update()
            mean = np.mean([error(validation[index][0]) for index in range(len(validation))])
            bar.set_postfix(alpha_error=f"{mean:.4f}")


def _qat_format(rounding: tf_keras.Model, kind: str) -> Format:
    """The int8 or uint8 file of a network from `quantise.quantisation_aware`."""

    def write(source: Source, path: Path) -> None:
        network = quantise.with_channels(rounding, source.channels)
        path.write_bytes(tflite.convert(network, kind, quantisation_aware=True))

    plain = tflite.FORMATS[kind]
    # It was trained on: it may be better, and so further from what was given.
    tolerance = plain.tolerance._replace(gains=False, mean=0.1)
    return replace(plain, write=write, tolerance=tolerance)
