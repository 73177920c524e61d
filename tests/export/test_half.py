"""Which weights stay in float32 in a float16 file."""

import numpy as np
import pytest
import tiny_network
from ai_edge_litert import schema_py_generated as schema

from portrait.export import half, tflite, verify
from portrait.export.formats import ExportError
from portrait.export.tflite_finish import large_floats, to_half
from portrait.models.build import for_inference
from portrait.tflite import graph

UP = (8, 3, 3, 80)  # the kernel of the transposed convolution, as TFLite has it


@pytest.fixture(scope="module")
def pictures():
    return tiny_network.pictures()


@pytest.fixture(scope="module")
def network():
    """All its large kernels but the transposed convolution's are what float16 can hold."""
    trained = tiny_network.build()
    down, separable = trained.get_layer("down"), trained.get_layer("separable")
    down.set_weights([np.zeros_like(down.get_weights()[0])])
    depthwise, pointwise, bias = separable.get_weights()
    separable.set_weights([depthwise, pointwise.astype(np.float16).astype(np.float32), bias])
    return for_inference(trained)


@pytest.fixture
def parsed(network):
    return graph.parse(tflite.convert(network, "float32"))


def _shapes(parsed, buffers) -> set[tuple[int, ...]]:
    return {tuple(t.shape) for t in parsed.subgraphs[0].tensors if t.buffer in buffers}


def test_only_what_rounding_changes_is_kept(parsed, pictures):
    large = large_floats(parsed)
    assert _shapes(parsed, large) == {(32, 3, 3, 8), (80, 1, 1, 32), UP}
    kept = half.sensitive(parsed, pictures, 0.0)
    assert _shapes(parsed, kept) == {UP}
    assert half.sensitive(parsed, pictures, 1.0) == set()


def test_the_model_is_left_as_it_was(parsed, pictures, network):
    half.sensitive(parsed, pictures, 0.0)
    again = graph.parse(tflite.convert(network, "float32"))
    for mine, its in zip(parsed.buffers, again.buffers, strict=True):
        assert bytes(b"" if mine.data is None else mine.data) == bytes(
            b"" if its.data is None else its.data
        )


def test_a_file_keeps_them(network, pictures, tmp_path, monkeypatch):
    def halves(limit):
        monkeypatch.setattr(tflite, "HALF_LIMIT", limit)
        path = tmp_path / f"{limit}.tflite"
        path.write_bytes(tflite.convert(network, "float16", pictures))
        tensors = graph.parse(path.read_bytes()).subgraphs[0].tensors
        expected = verify.keras_outputs(network, pictures)
        parity, _ = verify.compare(tflite.runtimes(path)["XNNPACK"], pictures, expected)
        types = {tuple(each.shape) for each in tensors if each.type == schema.TensorType.FLOAT16}
        return types, parity.max_error

    plain, larger = halves(1.0)
    strict, smaller = halves(0.0)
    assert plain - strict == {UP}
    assert smaller < 1e-6 < larger


def test_beyond_float16():
    np.testing.assert_array_equal(to_half(np.float32([0.5, -65504])), [0.5, -65504])
    with pytest.raises(ExportError, match="65504"):
        to_half(np.float32([65520]))
