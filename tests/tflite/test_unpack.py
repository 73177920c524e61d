"""Tests float16 constants stored as float32."""

import gzip

import numpy as np
from project import ROOT

from portrait.tflite import graph
from portrait.tflite.runtime import TfliteModel
from portrait.tflite.unpack import unpack_float16

SHIPPED = ROOT / "trained_models"


def test_the_alphas_stay_the_same_to_the_last_bit():
    path = SHIPPED / "selfie_net_deep" / "selfie_net_deep_256x256_rgba_float16.tflite"
    packed = path.read_bytes()
    unpacked = unpack_float16(packed)
    assert graph.read(packed).counts()["DEQUANTIZE"] > 0
    assert "DEQUANTIZE" not in graph.read(unpacked).counts()
    picture = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)
    run = {name: TfliteModel(each, name) for name, each in (("16", packed), ("32", unpacked))}
    np.testing.assert_array_equal(run["32"](picture), run["16"](picture))
    # Each value takes two bytes more; none is there twice.
    halves = sum(
        len(parsed.buffers[tensor.buffer].data)
        for parsed in [graph.parse(packed)]
        for tensor in parsed.subgraphs[0].tensors
        if tensor.name.endswith(b"/float16")
    )
    assert abs(len(unpacked) - len(packed) - halves) < 0.02 * len(packed)
    assert len(gzip.compress(unpacked)) < 1.4 * len(gzip.compress(packed))


def test_a_file_without_float16_is_left_alone():
    model = (SHIPPED / "fast_scnn" / "fast_scnn_int8.tflite").read_bytes()
    assert unpack_float16(model) == model
