"""Tests the reading of a file with one convolution and one addition."""

import numpy as np
import tiny_tflite

from portrait.tflite import graph
from portrait.tflite.runtime import TfliteModel

SIZE = (8, 6)


def test_ops_and_tensors():
    read = graph.read(tiny_tflite.convolution(SIZE, np.ones((2, 3))))
    assert [op.name for op in read.ops] == ["CONV_2D", "ADD"]
    assert read.counts() == {"CONV_2D": 1, "ADD": 1}
    assert read.subgraphs == 1
    # The kernel, the bias, and the map that is added.
    assert read.constants == 2 * 3 + 2 + 8 * 6 * 2
    image, kernel, bias = read.ops[0].inputs
    assert (image.name, image.shape, image.type) == ("image", (1, 8, 6, 3), "FLOAT32")
    assert (kernel.shape, bias.shape) == ((2, 1, 1, 3), (2,))
    assert [each.constant for each in (image, kernel, bias)] == [False, True, True]
    assert all(each.fixed for each in read.ops[0].inputs)
    assert read.ops[1].outputs[0].shape == (1, 8, 6, 2)


def test_a_file_that_is_changed_and_packed_runs():
    """Twice the kernel, twice the answer; constants lie at multiples of 16 bytes."""
    parsed = graph.parse(tiny_tflite.convolution(SIZE, (1, 0, 0)))
    buffer = parsed.buffers[parsed.subgraphs[0].tensors[1].buffer]
    buffer.data = np.frombuffer(bytes(buffer.data), np.float32) * 2
    buffer.data = np.frombuffer(buffer.data.tobytes(), np.uint8)
    packed = graph.pack(parsed)
    image = np.random.default_rng(0).uniform(0, 1, (*SIZE, 3)).astype(np.float32)
    assert np.allclose(TfliteModel(packed, "twice")(image)[..., 0], 2 * image[..., 0], rtol=1e-6)
    kernel = np.float32([2, 0, 0]).tobytes()
    assert packed.index(kernel) % 16 == 0


def test_the_name_of_an_op_that_is_not_tflite_s_own():
    parsed = graph.parse(tiny_tflite.convolution(SIZE))
    code = parsed.operatorCodes[0]
    assert graph.op_name(code) == "CONV_2D"
    code.builtinCode = code.deprecatedBuiltinCode = 32  # BuiltinOperator.CUSTOM
    code.customCode = b"Mine"
    assert graph.op_name(code) == "CUSTOM Mine"
