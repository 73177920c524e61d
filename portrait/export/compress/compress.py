"""Compresses trained networks with tfmot: pruning, clustering, quantisation-aware training.

In all three, the network is fine-tuned to reproduce the outputs of the trained network.

- prune: the smallest weights of every large layer become 0 (Zhu and Gupta, "To prune, or not to
  prune", 1710.01878). The files have the same size, but a higher compression ratio.
- cluster: every large layer has a limited number of distinct weights. The files have a higher
  compression ratio, and Core ML's palettised file stores the weights exactly.
- qat: the network is trained with the rounding of its int8 file, for networks that lose too much
  in a plain int8 file.
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
from portrait.io.files import check_writable, replacing
from portrait.models.build import for_inference
from portrait.models.rescale import balance, rescale
from portrait.training.run import weights_bytes
from portrait.util import evenly

SUFFIXES = {"prune": "pruned", "cluster": "clustered", "qat": "qat"}

_MEASURED = 8  # pictures for the largest activations
_SMALLEST = 512  # layers with fewer weights are not changed
_KERNELS = (tf_keras.layers.Conv2D, tf_keras.layers.Conv2DTranspose)


@dataclass(frozen=True)
class Plan:
    """The settings of a compression.

    Attributes:
        method: "prune", "cluster" or "qat".
        epochs: the number of epochs of fine-tuning.
        lr: the initial learning rate, which falls to a hundredth.
        sparsity: the share of weights that become 0 by pruning.
        clusters: the number of distinct weights of a layer after clustering.
    """

    method: str
    epochs: int = 5
    lr: float = 1e-4
    sparsity: float = 0.5
    clusters: int = 32

    def __post_init__(self):
        if self.method not in SUFFIXES:
            raise UserError(f"there is no method {self.method!r}: use {', '.join(SUFFIXES)}")
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
    """Compresses a trained network, and exports it with a report.

    Pruning and clustering change the weights of `model`, which are also written to a file, and the
    exported files are compared with the changed model. The files of "qat" are compared with the
    original `model`; a higher IoU is not an error.

    Args:
        model: a trained network from `models.build`.
        training: the pictures for fine-tuning; the targets are not used.
        validation: the pictures for the mean error of alpha, which is printed after each epoch.
        plan: the settings.
        output: the folder to write into.
        name: the start of file names, before "_pruned", "_clustered" or "_qat".
        samples: see `convert_all`.
        android: see `convert_all`.
        formats: see `convert_all`; "qat" makes int8 and uint8 only.
        allow_cpu_ops: see `convert_all`.

    Returns:
        The report of `convert_all`, with `compression`: the plan, and the mean person IoU of the
        original network on the samples.

    Raises:
        UserError: the network cannot be compressed; the loss is not a number; see also
            `convert_all`.
    """
    output = Path(output)
    name = f"{name.removesuffix('.tflite')}_{SUFFIXES[plan.method]}"
    check_request(name, formats, android, plan.method)
    check_writable(output)
    given = verify.keras_outputs(for_inference(model), samples.pictures)
    had = verify.mean_iou(verify.person_ious(given, samples.mattes))
    if plan.method != "qat":
        balance(model)
    network = bridge.twin(model)
    if plan.method == "qat":
        rounding = quantise.quantisation_aware(network, samples.calibration)
        fine_tune(rounding, network, training, validation, plan)
        formats = {kind: _qat_format(rounding, kind) for kind in formats or QAT_FORMATS}
    else:
        way = prune if plan.method == "prune" else cluster
        bridge.take_weights(model, way(network, training, validation, plan))
        rescale(model, evenly(samples.calibration, _MEASURED))
        with replacing(output / f"{name}.weights.h5") as path:
            path.write_bytes(weights_bytes(model, path))
    details = {"compression": {**asdict(plan), "given_person_iou": had}}
    if had is not None:
        print(f"person IoU before compression: {had:.4f}")
    return convert_all(
        model, output, name, samples, android, formats, allow_cpu_ops, details=details
    )


def prune(
    network: tf_keras.Model, training: PortraitSequence, validation: PortraitSequence, plan: Plan
) -> tf_keras.Model:
    """Returns a copy of `network` in which a share `plan.sparsity` of each large kernel is 0.

    The share rises during the first 60 % of the steps, fast at first.
    """
    steps = plan.epochs * len(training)
    # The last step at which weights are chosen must be a multiple of `every`.
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
    callback.on_epoch_end(plan.epochs)  # sets pruned weights that the last step changed to 0
    return tfmot.sparsity.keras.strip_pruning(pruning)


def cluster(
    network: tf_keras.Model, training: PortraitSequence, validation: PortraitSequence, plan: Plan
) -> tf_keras.Model:
    """Returns a copy of `network` in which each large kernel has at most `plan.clusters` values.

    Batch normalisation is folded and frozen. Otherwise its scales would multiply the values in the
    files.
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
    """Returns `network` with its large convolutions in wrappers.

    tfmot can wrap a whole network, but not if it has unsupported layers, such as PReLU.
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
    """Trains `network` to reproduce the outputs of `given` (Hinton et al., 1503.02531).

    With mattes as targets, a short training on few pictures would change what the long training of
    `given` has achieved.
    """
    height, width = network.input_shape[1:3]
    batch = [tf.TensorSpec((None, height, width, 3))]
    steps = plan.epochs * len(training)
    optimizer = tf_keras.optimizers.Adam(
        tf_keras.optimizers.schedules.CosineDecay(plan.lr, steps, alpha=0.01), clipnorm=1.0
    )
    # Not `network.trainable_weights`: with tfmot's wrappers it contains frozen weights, too.
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
    """The int8 or uint8 format for a network from `quantise.quantisation_aware`."""

    def write(source: Source, path: Path) -> None:
        network = quantise.with_channels(rounding, source.channels)
        path.write_bytes(tflite.convert(network, kind, quantisation_aware=True))

    plain = tflite.FORMATS[kind]
    # Fine-tuning may improve the network, so its outputs may differ more from the original ones.
    tolerance = plain.tolerance._replace(gains=False, mean=0.1)
    return replace(plain, write=write, tolerance=tolerance)
