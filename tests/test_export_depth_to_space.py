"""Files are the same function before and after their transposed convolutions are rewritten."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from export import depth_to_space, tflite, tflite_file, tflite_graph

SIDE = 12
RANDOM = np.random.default_rng(0)


def network(channels: int, kernel: int, stride: int, bias: bool = True) -> keras.Model:
    keras.utils.set_random_seed(channels)
    large = keras.initializers.RandomNormal(stddev=1.0)  # else all alphas are about a half
    image = keras.Input((SIDE, SIDE, 3))
    x = keras.layers.Conv2D(5, 3, padding="same", activation="relu")(image)
    x = keras.layers.Conv2DTranspose(
        channels,
        kernel,
        strides=stride,
        padding="same",
        use_bias=bias,
        kernel_initializer=large,
        bias_initializer=large,
    )(x)
    return keras.Model(image, keras.layers.Activation("sigmoid")(x))


def converted(model: keras.Model, int8: bool) -> bytes:
    """The converter's own bytes."""
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [tflite._frozen(model)], tf.Module()
    )
    if int8:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        pictures = RANDOM.random((4, 1, SIDE, SIDE, 3), np.float32)
        converter.representative_dataset = lambda: ([each] for each in pictures)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    with tflite._quiet():
        return converter.convert()


def rewritten(file: bytes) -> tuple[bytes, int]:
    model = tflite_graph.parse(file)
    count = depth_to_space.rewrite(model)
    return tflite_file.pack(model), count


def answer(file: bytes, kernels: OpResolverType) -> np.ndarray:
    interpreter = Interpreter(model_content=file, experimental_op_resolver_type=kernels)
    interpreter.allocate_tensors()
    picture = np.random.default_rng(1).random((1, SIDE, SIDE, 3), np.float32)
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], picture)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


@pytest.mark.parametrize("int8", [False, True])
@pytest.mark.parametrize("channels, block", [(1, 2), (3, 2), (2, 4)])
def test_the_same_numbers(int8, channels, block):
    file = converted(network(channels, block, block), int8)
    new, count = rewritten(file)
    assert count == 1
    names = [op.name for op in tflite_graph.read(new).ops]
    assert "TRANSPOSE_CONV" not in names
    assert names.count("DEPTH_TO_SPACE") == 1
    expected = answer(file, OpResolverType.BUILTIN)
    assert expected.std() > 0.05
    assert np.abs(answer(new, OpResolverType.BUILTIN) - expected).max() <= (0 if int8 else 1e-6)
    # LiteRT's own int8 kernels round once more in a transposed convolution.
    plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    error = np.abs(answer(new, plain) - answer(file, plain)).max()
    assert error <= (2 / 256 if int8 else 1e-6)


@pytest.mark.parametrize("kernel, stride, bias", [(3, 2, True), (4, 2, True), (2, 2, False)])
def test_what_overlaps_or_has_no_bias_stays(kernel, stride, bias):
    file = converted(network(1, kernel, stride, bias), int8=False)
    new, count = rewritten(file)
    assert count == 0
    assert [op.name for op in tflite_graph.read(new).ops].count("TRANSPOSE_CONV") == 1


def test_exports_have_it():
    file = tflite.convert(network(1, 2, 2), "float32")
    assert {"DEPTH_TO_SPACE", "CONV_2D"} <= set(tflite_graph.read(file).counts())
