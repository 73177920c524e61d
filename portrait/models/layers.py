"""Batch normalisation that trains fast on a CPU.

Keras 3 composes the training step of its BatchNormalization from about fifteen element-wise ops.
TensorFlow has one fused kernel for it; with that, a step of Fast-SCNN on two CPU cores takes half
of the time (`benchmarks/training_step.py`).
"""

import types
from collections.abc import Sequence

import keras


def batch_normalization(framework: types.ModuleType) -> type:
    """The layer's class for networks in `framework`, `keras` or `tf_keras`."""
    return BatchNormalization if framework is keras else framework.layers.BatchNormalization


@keras.saving.register_keras_serializable("portrait_segmentation")
class BatchNormalization(keras.layers.BatchNormalization):
    """`keras.layers.BatchNormalization` over the last axis; same weights, names and results.

    On the TensorFlow backend, training steps on 4-D inputs use the fused kernel. Every other case
    (inference, other backends, masks, options of the layer that the kernel lacks) is the parent's.
    See `keep_statistics` for training without the statistics of batches.
    """

    keeps_statistics = False

    def call(self, inputs, training=None, mask=None):
        training = training and not self.keeps_statistics
        fused = (
            keras.backend.backend() == "tensorflow"
            and training
            and self.trainable
            and mask is None
            and len(inputs.shape) == 4
            and self.axis in (-1, 3)
            and (self.scale and self.center)
            and not (self.renorm or self.synchronized)
        )
        if not fused:
            return super().call(inputs, training=training, mask=mask)
        import tensorflow as tf

        outputs, mean, variance = tf.compat.v1.nn.fused_batch_norm(
            inputs,
            scale=keras.ops.cast(self.gamma, "float32"),
            offset=keras.ops.cast(self.beta, "float32"),
            epsilon=self.epsilon,
            is_training=True,
        )
        # The kernel's variance is the unbiased one, n / (n - 1) times Keras's: 2 times after a pool
        # of whole pictures in a batch of two.
        count = tf.cast(tf.size(inputs) // inputs.shape[-1], "float32")
        variance *= (count - 1.0) / count
        keep = self.momentum
        self.moving_mean.assign(self.moving_mean * keep + mean * (1.0 - keep))
        self.moving_variance.assign(self.moving_variance * keep + variance * (1.0 - keep))
        return outputs


def keep_statistics(model: keras.Model) -> None:
    """Lets the batch normalisations of `model` train as they are applied.

    They divide by the moving statistics, which stay as they are, where others take those of the
    batch; gamma and beta are trained. What a trained network has learned for its statistics is not
    disturbed by small batches, or by augmented ones.
    """
    for layer in model.layers:
        if isinstance(layer, BatchNormalization):
            layer.keeps_statistics = True


# ImageNet's mean and standard deviation of RGB in 0..255.
MEAN = (123.68, 116.779, 103.939)


STD = (58.393, 57.12, 57.375)


def normalize(
    image,
    framework: types.ModuleType = keras,
    mean: Sequence[float] = MEAN,
    std: Sequence[float] = STD,
    order: Sequence[int] = (0, 1, 2),
):
    """Raw RGB 0..255, (N, H, W, 3), to (RGB - mean) / std, as a frozen 1x1 convolution.

    `order` is the order of the result's channels: (2, 1, 0) is BGR, and `mean` and `std` have it,
    too.

    A convolution because phones run it on the GPU as one op, where a subtraction and a division by
    per-channel constants are two that some delegates broadcast wrongly; and because dropping the
    alpha of RGBA is then only a column of zeros (`build.for_inference`).
    """
    kernel = [[[[1.0 / std[j] if i == order[j] else 0.0 for j in range(3)] for i in range(3)]]]
    return framework.layers.Conv2D(
        3,
        1,
        kernel_initializer=framework.initializers.Constant(kernel),
        bias_initializer=framework.initializers.Constant(
            [-m / s for m, s in zip(mean, std, strict=True)]
        ),
        trainable=False,
        # 0..255 does not fit the 8 bits of bfloat16: this layer keeps full precision.
        dtype="float32",
        name="normalize",
    )(image)
