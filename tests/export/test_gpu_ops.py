"""Tests that the check accepts ops of GPUs, and names unsupported ones."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tiny_network
from ai_edge_litert import schema_py_generated as schema
from function_layer import FunctionLayer

from portrait.export import gpu_ops, tflite
from portrait.models.build import for_inference
from portrait.tflite import graph as tflite_graph
from portrait.tflite.graph import pack


def _convert(tail) -> tuple[bytes, keras.Model]:
    model = for_inference(tiny_network.build(tail=tail))
    return tflite.convert(model, "float32"), model


def _violations(tail) -> list[tuple[str, str]]:
    """Returns op and layer of each violation in a network with `tail` before its last layer."""
    converted, model = _convert(tail)
    layers = {layer.name for layer in model.layers}
    return [(each.op, each.layer) for each in gpu_ops.check(converted, 0, layers)]


def _patched(change) -> list[str]:
    """Returns the violations of a good network after `change` of its parsed file."""
    upsampled = keras.layers.UpSampling2D(1, interpolation="bilinear", name="upsampled")
    parsed = tflite_graph.parse(_convert(upsampled)[0])
    change(parsed)
    return [each.reason for each in gpu_ops.check(pack(parsed))]


def test_gather_nd_names_its_layer():
    height, width = tiny_network.SIZE
    upside_down = [[[[0, y, x] for x in range(width)] for y in reversed(range(height))]]
    tail = FunctionLayer(lambda x: tf.gather_nd(x, upside_down), "picker")
    assert _violations(tail) == [("GATHER_ND", "picker")]


def test_instance_norm_of_five_dimensions():
    found = _violations(keras.layers.GroupNormalization(groups=-1, name="instance"))
    assert ("MEAN", "instance") in found
    assert {layer for _, layer in found} == {"instance"}


def test_symmetric_padding():
    def pad(x):
        return tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]], "SYMMETRIC")[:, 1:-1, 1:-1]

    assert _violations(FunctionLayer(pad, "mirror")) == [("MIRROR_PAD", "mirror")]


def test_one_dimensional_constant_that_is_added():
    offsets = tf.range(9.0)
    tail = FunctionLayer(lambda x: tf.nn.relu(x) * offsets, "scaled")
    assert _violations(tail) == [("MUL", "scaled")]
    per_channel = tf.reshape(offsets, (1, 1, 1, 9))
    assert _violations(FunctionLayer(lambda x: tf.nn.relu(x) * per_channel, "scaled")) == []


def test_dynamic_batch():
    model = for_inference(tiny_network.build())
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    found = gpu_ops.check(converter.convert(), 0, {layer.name for layer in model.layers})
    ops = {each.op: each for each in found}
    assert ops["SHAPE"].layer == "up"
    assert "not fixed" in ops["CONV_2D"].reason


def test_missing_weights():
    model = for_inference(tiny_network.build())
    specification = tf.TensorSpec((1, *tiny_network.SIZE, 3), tf.float32)
    unfrozen = tf.function(model, input_signature=[specification]).get_concrete_function()
    converted = tf.lite.TFLiteConverter.from_concrete_functions([unfrozen], model).convert()
    found = gpu_ops.check(converted, model.count_params())
    assert "VAR_HANDLE" in {each.op for each in found}
    assert found[-1].op == "(weights)"
    assert str(model.count_params()) in found[-1].reason
    assert gpu_ops.check(tflite.convert(model, "float32"), model.count_params()) == []


def _set_both_alignments(parsed):
    for op in parsed.subgraphs[0].operators:
        if isinstance(op.builtinOptions, schema.ResizeBilinearOptionsT):
            assert op.builtinOptions.halfPixelCenters
            op.builtinOptions.alignCorners = True


def test_align_corners_with_half_pixel_centers():
    (reason,) = _patched(_set_both_alignments)
    assert "align_corners" in reason


def _raise_version(parsed):
    for code in parsed.operatorCodes:
        if code.builtinCode == schema.BuiltinOperator.TRANSPOSE_CONV:
            code.version = 4


def test_newer_op():
    (reason,) = _patched(_raise_version)
    assert "version 4" in reason and "3" in reason


def _slope_a_row(parsed):
    graph = parsed.subgraphs[0]
    prelu = schema.BuiltinOperator.PRELU
    for op in graph.operators:
        if parsed.operatorCodes[op.opcodeIndex].builtinCode == prelu:
            graph.tensors[op.inputs[1]].shape = np.int32([24, 1, 1])


def test_prelu_with_neither_a_slope_a_channel_nor_all():
    (reason,) = _patched(_slope_a_row)
    assert "[24, 1, 1]" in reason


def _second_graph(parsed):
    parsed.subgraphs.append(parsed.subgraphs[0])


def test_conditions_and_loops():
    (reason,) = _patched(_second_graph)
    assert reason.startswith("2 graphs")


@pytest.mark.parametrize("kind", ["float16", "dynamic", "int8", "uint8"])
def test_reduced_precision_is_taken(kind):
    model = for_inference(tiny_network.build(), 4)
    converted = tflite.convert(model, kind, tiny_network.pictures())
    assert gpu_ops.check(converted, model.count_params()) == []
