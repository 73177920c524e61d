"""Tests the fused layers against Keras's: values, gradients, moving statistics, files."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from portrait.models.layers import BatchNormalization, PReLU

# The last one is what pyramid pooling makes of two pictures.
SHAPES = [(4, 6, 5, 3), (3, 1, 7, 8), (2, 1, 1, 4)]


def twins(shape, **options):
    """The fused layer and Keras's with the same random weights, and an input."""
    random = np.random.default_rng(0)
    pair = BatchNormalization(**options), keras.layers.BatchNormalization(**options)
    weights = random.uniform(0.5, 2, (4, shape[-1]))
    for layer in pair:
        layer.build(shape)
        layer.set_weights(weights)
    return *pair, random.normal(3, 2, shape).astype(np.float32)


def step(layer, x):
    """Outputs of a training step, and the gradients of a loss of input, gamma and beta."""
    x = tf.constant(x)
    toward = np.random.default_rng(1).normal(size=x.shape).astype(np.float32)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x, training=True)
        loss = tf.reduce_sum(tf.cast(y, tf.float32) * toward)
    variables = [x, *(each.value for each in layer.trainable_variables)]
    return [np.asarray(each) for each in (y, *tape.gradient(loss, variables))]


@pytest.mark.parametrize("shape", SHAPES)
def test_training_step(shape):
    ours, theirs, x = twins(shape, momentum=0.9)
    names = ("y", "dx", "dgamma", "dbeta")
    for name, a, b in zip(names, step(ours, x), step(theirs, x), strict=True):
        assert a == pytest.approx(b, rel=1e-4, abs=1e-5), name
    # 0.9 of what was, and a tenth of the batch's own mean and (biased) variance.
    mean, variance = x.mean((0, 1, 2)), x.var((0, 1, 2))
    start = twins(shape)[0].get_weights()
    for layer in (ours, theirs):
        assert np.asarray(layer.moving_mean) == pytest.approx(0.9 * start[2] + 0.1 * mean, 1e-5)
        expected = 0.9 * start[3] + 0.1 * variance
        assert np.asarray(layer.moving_variance) == pytest.approx(expected, 1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_inference_and_frozen(shape):
    ours, theirs, x = twins(shape)
    assert np.array_equal(ours(x, training=False), theirs(x, training=False))
    ours.trainable = theirs.trainable = False
    assert np.array_equal(ours(x, training=True), theirs(x, training=True))
    assert np.array_equal(ours.moving_mean, theirs.moving_mean)


@pytest.mark.parametrize(
    "options", [{"axis": 1}, {"scale": False}, {"center": False}, {"renorm": True}]
)
def test_options_that_the_kernel_lacks(options):
    x = np.random.default_rng(0).normal(3, 2, (3, 4, 5, 4)).astype(np.float32)
    ours, theirs = BatchNormalization(**options), keras.layers.BatchNormalization(**options)
    assert np.array_equal(ours(x, training=True), theirs(x, training=True))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision(dtype):
    ours, theirs, x = twins((4, 6, 5, 3), dtype=f"mixed_{dtype}")
    y, expected = ours(x, training=True), theirs(x, training=True)
    assert y.dtype == expected.dtype == dtype
    rounding = {"float16": 2**-10, "bfloat16": 2**-7}[dtype]
    values = np.asarray(tf.cast(expected, tf.float32))
    assert np.asarray(tf.cast(y, tf.float32)) == pytest.approx(values, rel=rounding, abs=rounding)
    assert ours.moving_variance.dtype == "float32"
    assert np.asarray(ours.moving_mean) == pytest.approx(np.asarray(theirs.moving_mean), 1e-3)


def test_files_of_the_two_are_the_same(tmp_path):
    def network(layer):
        return keras.Sequential([keras.Input((4, 4, 2)), layer(), keras.layers.Conv2D(1, 1)])

    ours, theirs = network(BatchNormalization), network(keras.layers.BatchNormalization)
    theirs.set_weights([np.full_like(w, i + 1) for i, w in enumerate(theirs.get_weights())])
    theirs.save_weights(tmp_path / "a.weights.h5")
    ours.load_weights(tmp_path / "a.weights.h5")
    for a, b in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        assert np.array_equal(a, b)


def prelus(channels: int, **options):
    """The fused PReLU and Keras's with the same random slopes, also negative ones and above 1."""
    slopes = np.random.default_rng(2).uniform(-0.5, 1.5, (1, 1, channels))
    pair = [kind(shared_axes=[1, 2], **options) for kind in (PReLU, keras.layers.PReLU)]
    for layer in pair:
        layer.build((None, 6, 5, channels))
        layer.set_weights([slopes])
    return pair


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_training_step_of_prelu(dtype):
    x = np.random.default_rng(3).normal(0, 2, (4, 6, 5, 3)).astype(np.float32)
    x[0, 0, 0] = 0
    ours, theirs = prelus(3, dtype=dtype)
    upstream = tf.constant(np.random.default_rng(4).normal(size=x.shape).astype(np.float32))

    @tf.function  # as `fit` does
    def gradients(layer, x, **arguments):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, **arguments)
            loss = tf.reduce_sum(tf.cast(y, tf.float32) * upstream)
        return y, *tape.gradient(loss, [x, layer.alpha.value])

    found = gradients(ours, tf.constant(x), training=True)
    expected = gradients(theirs, tf.constant(x))
    rounding = {"float32": 1e-5, "mixed_bfloat16": 2**-7, "mixed_float16": 2**-10}[dtype]
    for name, a, b in zip(("y", "dx", "dslopes"), found, expected, strict=True):
        assert (a.dtype, a.shape) == (b.dtype, b.shape), name
        a, b = (np.array(tf.cast(each, tf.float32)) for each in (a, b))
        # At 0, the slope may be that of either side.
        if name == "dx":
            a[0, 0, 0] = b[0, 0, 0] = 0
        assert a == pytest.approx(b, rel=4 * rounding, abs=8 * rounding), name


@pytest.mark.parametrize("options", [{"shared_axes": None}, {"shared_axes": [1]}])
def test_prelu_with_other_slopes(options):
    x = np.random.default_rng(5).normal(size=(2, 4, 3, 2)).astype(np.float32)
    ours, theirs = PReLU(**options), keras.layers.PReLU(**options)
    for layer in (ours, theirs):
        layer.build(x.shape)
        layer.set_weights([np.full(layer.alpha.shape, 0.3)])
    assert np.array_equal(ours(x, training=True), theirs(x))


def test_prelu_of_pictures_of_any_size():
    model = keras.Sequential([keras.Input((None, None, 2)), PReLU(shared_axes=[1, 2])])
    model.compile("sgd", loss="mse")
    x = np.random.default_rng(7).normal(size=(2, 6, 5, 2)).astype(np.float32)
    model.fit(x, np.abs(x), verbose=0)
    assert (np.asarray(model.layers[0].alpha) < 0).all()


def test_prelu_in_inference():
    ours, theirs = prelus(3)
    x = np.random.default_rng(6).normal(size=(2, 6, 5, 3)).astype(np.float32)
    assert np.array_equal(ours(x), theirs(x))
    assert ours.name.startswith("p_re_lu")  # as in files of weights and of TFLite
