"""Layers that several networks use: normalisation, fast activations and norms, and the heads.

Keras 3 composes the training step of its BatchNormalization from about fifteen element-wise ops.
TensorFlow has one fused kernel for them, which halves the time of a training step of Fast-SCNN on
two CPU cores (`benchmarks/training_step.py`). PReLU has no kernel; XLA compiles one. With it, a
training step of MattingNet takes 0.8 of the time, in bfloat16 0.64 (docs/experiments.md).
"""

import functools
from collections.abc import Callable, Sequence

import keras

from portrait.backend import has_gpu

# ImageNet's mean and standard deviation of RGB in 0..255.
MEAN = (123.68, 116.779, 103.939)
STD = (58.393, 57.12, 57.375)


@keras.saving.register_keras_serializable("portrait_segmentation")
class BatchNormalization(keras.layers.BatchNormalization):
    """`keras.layers.BatchNormalization` over the last axis; same weights, names and results.

    On the TensorFlow backend, training steps on 4-D inputs use the fused kernel. All other cases
    (inference, other backends, masks, `synchronized` and other options that the kernel does not
    support) call the parent.
    """

    def call(self, inputs, training=None, mask=None):
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
        # The kernel returns the unbiased variance, n / (n - 1) times the variance of Keras. The
        # factor is 2 for global pooling with a batch of two.
        count = tf.cast(tf.size(inputs) // inputs.shape[-1], "float32")
        variance *= (count - 1.0) / count
        keep = self.momentum
        self.moving_mean.assign(self.moving_mean * keep + mean * (1.0 - keep))
        self.moving_variance.assign(self.moving_variance * keep + variance * (1.0 - keep))
        return outputs


@keras.saving.register_keras_serializable("portrait_segmentation")
class PReLU(keras.layers.PReLU):
    """`keras.layers.PReLU` with one slope per channel; same weights, names and results.

    On the TensorFlow backend without a GPU, training steps on 4-D inputs of a known width use ops
    that XLA fuses.
    All other cases call the parent.
    """

    def call(self, inputs, training=None):
        fused = (
            keras.backend.backend() == "tensorflow"
            and training
            and len(inputs.shape) == 4
            and inputs.shape[2] is not None
            and self.alpha.shape[:-1] == (1, 1)
            and not has_gpu()
        )
        if not fused:
            return super().call(inputs)
        return _fused_prelu()(inputs, keras.ops.cast(self.alpha, inputs.dtype))


@functools.cache
def _fused_prelu() -> Callable:
    """PReLU of a tensor (N, H, W, C) and slopes (1, 1, C), of the same type."""
    import tensorflow as tf

    @tf.function(jit_compile=True)
    def forward(x, slopes):
        return tf.where(x > 0, x, slopes * x)

    @tf.function(jit_compile=True)
    def backward(x, slopes, upstream):
        below = tf.minimum(x, tf.cast(0, x.dtype)) * upstream
        # Long rows are summed fast. A sum to C values would take longer than everything else.
        rows = tf.reshape(below, (-1, x.shape[2] * x.shape[3]))
        sums = tf.reduce_sum(tf.cast(rows, tf.float32), axis=0)
        return tf.where(x > 0, upstream, slopes * upstream), sums

    @tf.custom_gradient
    def prelu(x, slopes):
        def gradient(upstream):
            to_x, sums = backward(x, slopes, upstream)
            to_slopes = tf.reduce_sum(tf.reshape(sums, (-1, x.shape[3])), axis=0)
            return to_x, tf.cast(to_slopes, slopes.dtype)[None, None]

        return forward(x, slopes), gradient

    return prelu


def normalize(
    image,
    mean: Sequence[float] = MEAN,
    std: Sequence[float] = STD,
    order: Sequence[int] = (0, 1, 2),
    name: str = "normalize",
):
    """Normalises raw RGB 0..255 to (RGB - mean) / std with a frozen 1x1 convolution.

    A convolution is a single op on phone GPUs. A subtraction and a division by per-channel
    constants are two ops, which some delegates broadcast incorrectly. A convolution can also ignore
    the alpha channel of RGBA with a row of zeros (`build.for_inference`).

    Args:
        image: (N, H, W, C), in 0..255; C is 3 for RGB.
        mean: the mean of each output channel, in 0..255.
        std: the standard deviation of each output channel, in 0..255.
        order: the input channel of each output channel; (2, 1, 0) gives BGR.
        name: the name of the layer.

    Returns:
        (N, H, W, C), float32.
    """
    channels = range(len(order))
    kernel = [[[[1.0 / std[j] if i == order[j] else 0.0 for j in channels] for i in channels]]]
    return keras.layers.Conv2D(
        len(order),
        1,
        kernel_initializer=keras.initializers.Constant(kernel),
        bias_initializer=keras.initializers.Constant(
            [-m / s for m, s in zip(mean, std, strict=True)]
        ),
        trainable=False,
        # bfloat16 has 8 significant bits, too few for 0..255: this layer stays in float32.
        dtype="float32",
        name=name,
    )(image)


def band(x):
    """The boundary head: the band along the outline, float32 (N, H, W, 1) in 0..1.

    Args:
        x: the last map of the decoder, (N, H / 2, W / 2, C).
    """
    x = keras.layers.Conv2D(1, 1, name="boundary_logits")(x)
    x = keras.layers.UpSampling2D(2, interpolation="bilinear")(x)
    return keras.layers.Activation("sigmoid", dtype="float32", name="boundary_attention")(x)


def heads(x) -> dict:
    """The heads of a network whose decoder ends at half size.

    Args:
        x: the last map of the decoder, (N, H / 2, W / 2, C).

    Returns:
        `output`, the alpha (N, H, W, 1) in 0..1, and `boundary_attention`, see `band`, both
        float32.
    """
    boundary = band(x)
    alpha = keras.layers.Conv2DTranspose(
        1, 2, strides=2, activation="sigmoid", dtype="float32", name="output"
    )(x)
    return {"output": alpha, "boundary_attention": boundary}
