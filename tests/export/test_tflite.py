"""Tests `.tflite` files: contract, folding, precision, runtimes."""

import keras
import numpy as np
import pytest
import tiny_network
from ai_edge_litert import schema_py_generated as schema

from portrait.export import gpu_ops, tflite, verify
from portrait.export.formats import ExportError
from portrait.models.build import build, for_inference
from portrait.models.layers import MEAN, STD
from portrait.tflite import graph as tflite_graph
from portrait.tflite.runtime import TfliteModel


@pytest.fixture(scope="module")
def trained():
    return tiny_network.build()


@pytest.fixture(scope="module")
def pictures():
    return tiny_network.pictures()


@pytest.fixture(scope="module")
def files(trained, pictures):
    """Returns the bytes of every kind of file, for RGB (3) and RGBA (4)."""
    # No black and no white: what a uint8 file takes are bytes all the same.
    pale = pictures.clip(20, 235)
    return {
        (kind, channels): tflite.convert(for_inference(trained, channels), kind, pale)
        for kind in tflite.TOLERANCES
        for channels in (3, 4)
    }


@pytest.fixture(scope="module")
def expected(trained, pictures):
    return verify.keras_outputs(for_inference(trained), pictures)


def _open(folder, model: bytes):
    path = folder / "model.tflite"
    path.write_bytes(model)
    return path


@pytest.mark.parametrize("kind", tflite.TOLERANCES)
@pytest.mark.parametrize("channels", [3, 4])
def test_contract(files, kind, channels):
    interpreter = TfliteModel(files[kind, channels], "file").interpreter
    assert interpreter.get_signature_list() == {
        "serving_default": {"inputs": ["image"], "outputs": ["alpha"]}
    }
    (taken,), (given,) = interpreter.get_input_details(), interpreter.get_output_details()
    dtype = np.uint8 if kind == "uint8" else np.float32
    assert (taken["name"], taken["dtype"], [*taken["shape"]]) == (
        "image",
        dtype,
        [1, *tiny_network.SIZE, channels],
    )
    assert (given["name"], given["dtype"], [*given["shape"]]) == (
        "alpha",
        dtype,
        [1, *tiny_network.SIZE, 1],
    )
    if kind == "uint8":  # bytes of the picture in, 256ths out
        assert taken["quantization"] == (1.0, 0)
        assert given["quantization"] == (1 / 256, 0)


@pytest.mark.parametrize("channels", [3, 4])
def test_normalisation_and_dropping_alpha_are_one_convolution(files, channels):
    parsed = tflite_graph.parse(files["float32", channels])
    graph = parsed.subgraphs[0]
    names = [op.name for op in tflite_graph.read(files["float32", channels]).ops]
    users = [i for i, op in enumerate(graph.operators) if graph.inputs[0] in op.inputs]
    assert [names[i] for i in users] == ["CONV_2D"]
    _, kernel, bias = (
        parsed.buffers[graph.tensors[i].buffer].data for i in graph.operators[users[0]].inputs
    )
    kernel, bias = np.frombuffer(bytes(kernel), "<f4"), np.frombuffer(bytes(bias), "<f4")
    wanted = np.zeros((3, channels))
    wanted[:, :3] = np.diag(1 / np.array(STD))
    np.testing.assert_allclose(kernel.reshape(3, channels), wanted, rtol=1e-6)
    np.testing.assert_allclose(bias, -np.array(MEAN) / STD, rtol=1e-6)


@pytest.mark.parametrize(
    ("kind", "largest"),
    # Sums in another order; 2^-11 of the weights; 2^-8 of weights and activations, some layers on.
    [("float32", 1e-6), ("float16", 2e-3), ("dynamic", 5e-3), ("int8", 0.05), ("uint8", 0.05)],
)
@pytest.mark.parametrize("channels", [3, 4])
def test_equals_keras_in_both_runtimes(
    files, pictures, expected, tmp_path, kind, largest, channels
):
    assert expected.std() > 0.1
    path = _open(tmp_path, files[kind, channels])
    found = {}
    for name, runtime in tflite.runtimes(path).items():
        found[name], _ = verify.compare(runtime, pictures, expected)
        assert found[name].max_error <= largest, name
    assert len(found) == 2


def test_rgba_ignores_the_alpha_of_the_picture(files, pictures):
    run = TfliteModel(files["float32", 4], "file")
    opaque, clear = (
        run(verify.as_input(pictures[0], 4, opacity)[0]).copy() for opacity in (255, 0)
    )
    np.testing.assert_array_equal(opaque, clear)


@pytest.mark.parametrize("channels", [3, 4])
def test_all_constants_of_float16_files_are_float16(files, channels):
    """Kernels, biases and slopes; a GPU computes in float16 in any case."""
    parsed = tflite_graph.parse(files["float16", channels])
    stored = [
        (tensor.type, len(parsed.buffers[tensor.buffer].data))
        for tensor in parsed.subgraphs[0].tensors
        if parsed.buffers[tensor.buffer].data is not None
        and tensor.type in (schema.TensorType.FLOAT16, schema.TensorType.FLOAT32)
    ]
    assert {kind for kind, _ in stored} == {schema.TensorType.FLOAT16}
    exact = tflite_graph.read(files["float32", channels])
    floats = [
        tensor
        for op in exact.ops
        for tensor in op.inputs
        if tensor.constant and tensor.type == "FLOAT32"
    ]
    assert sum(size for _, size in stored) == 2 * sum(
        int(np.prod(shape)) for shape in {each.name: each.shape for each in floats}.values()
    )


@pytest.mark.parametrize("kind", ["int8", "uint8"])
def test_full_integer_files_compute_nothing_in_float(files, kind):
    ops = tflite_graph.read(files[kind, 3]).ops
    inner = [op for op in ops if op.name not in ("QUANTIZE", "DEQUANTIZE")]
    types = {t.type for op in inner for t in (*op.inputs, *op.outputs) if not t.constant}
    assert types == {"INT8"}


@pytest.mark.parametrize("kind", tflite.TOLERANCES)
def test_constants_lie_on_16_byte_boundaries(files, kind):
    model = files[kind, 3]
    parsed = schema.Model.GetRootAs(model, 0)
    base = np.frombuffer(model, np.uint8).ctypes.data
    offsets = [
        parsed.Buffers(i).DataAsNumpy().ctypes.data - base
        for i in range(parsed.BuffersLength())
        if parsed.Buffers(i).DataLength()
    ]
    assert len(offsets) > 5
    assert not any(offset % 16 for offset in offsets)


def test_a_converter_that_leaves_floats_is_found_out(trained, files, pictures, monkeypatch):
    monkeypatch.setattr(tflite, "run_converter", lambda *arguments: files["float32", 3])
    with pytest.raises(ExportError, match="CONV_2D"):
        tflite.convert(for_inference(trained), "int8", pictures)


def test_full_integer_wants_pictures(trained):
    with pytest.raises(ValueError, match="calibration"):
        tflite.convert(for_inference(trained), "int8")


@pytest.mark.parametrize(
    ("name", "size"),
    [
        *(("mattingnet", "small"), ("fast_scnn", "big")),
        pytest.param("lite_unet", "big", marks=pytest.mark.slow),
        pytest.param("ensemble", "big", marks=pytest.mark.slow),
        pytest.param("mattingnet", "big", marks=pytest.mark.slow),
    ],
)
def test_the_real_networks(name, size, tmp_path):
    keras.utils.set_random_seed(0)
    model = for_inference(build(name, (64, 64), size))
    pictures = tiny_network.pictures(2, (64, 64))
    _spread_alphas(model, pictures)
    expected = verify.keras_outputs(model, pictures)
    assert expected.std() > 0.1
    converted = tflite.convert(model, "float32")
    layers = {layer.name for layer in model.layers}
    assert gpu_ops.check(converted, model.count_params(), layers) == []
    for runtime in tflite.runtimes(_open(tmp_path, converted)).values():
        parity, _ = verify.compare(runtime, pictures, expected)
        # 60 layers of sums in another order, which fresh weights damp and the spreading amplifies.
        assert parity.max_error < 1e-3


def _spread_alphas(model, pictures) -> None:
    """Changes the last layer of a fresh network so that its logits have a deviation of 1."""
    alphas = verify.keras_outputs(model, pictures).astype(np.float64).clip(1e-6, 1 - 1e-6)
    logits = np.log(alphas / (1 - alphas))
    *others, kernel, bias = model.get_layer("output").get_weights()
    scale = 1 / logits.std()
    last = [*others, kernel * scale, (bias - logits.mean()) * scale]
    model.get_layer("output").set_weights(last)
