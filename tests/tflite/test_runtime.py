"""Tests running a `.tflite` file: kernels, threads, and latency with a simulated clock."""

import numpy as np
import pytest
import tiny_tflite
from ai_edge_litert import schema_py_generated as schema

from portrait.errors import UserError
from portrait.inference.network import shipped_files
from portrait.tflite import graph, runtime
from portrait.tflite.runtime import TfliteModel


@pytest.fixture(scope="module")
def file():
    return shipped_files()["fast_scnn"].read_bytes()


def test_threads_and_kernels_reach_litert(file, monkeypatch):
    opened = []

    class Noted(runtime.Interpreter):
        def __init__(self, *arguments, **options):
            opened.append(options)
            super().__init__(*arguments, **options)

    monkeypatch.setattr(runtime, "Interpreter", Noted)
    TfliteModel(file, "file", threads=2)
    TfliteModel(file, "file", xnnpack=False)
    kernels = [each["experimental_op_resolver_type"].name for each in opened]
    assert kernels == ["BUILTIN", "BUILTIN_WITHOUT_DEFAULT_DELEGATES"]
    assert [each["num_threads"] for each in opened] == [2, 1]


def test_both_kernels_compute_the_same(file):
    one, other = (TfliteModel(file, "file", xnnpack=each) for each in (True, False))
    picture = np.random.default_rng(0).integers(0, 256, (*one.input_shape, 3)).astype(np.uint8)
    alpha = one(picture).copy()
    assert alpha.std() > 0
    np.testing.assert_allclose(other(picture), alpha, atol=1e-4)  # sums in another order


def test_latency_is_the_median_after_the_warm_up(file, monkeypatch):
    """Of runs that take 1, 2, 3, ... seconds: 3 to warm up, then 4 to 23."""
    model = TfliteModel(file, "file")
    runs, clock = [], [0.0]

    def invoke():
        runs.append(1)
        clock[0] += len(runs)

    monkeypatch.setattr(model.interpreter, "invoke", invoke)
    monkeypatch.setattr(runtime.time, "perf_counter", lambda: clock[0])
    assert model.latency() == pytest.approx(13.5)


def test_what_is_no_model_is_named():
    with pytest.raises(UserError, match=r"net\.tflite"):
        TfliteModel(b"no model", "net.tflite")


def test_an_empty_file_is_named(tmp_path):
    (tmp_path / "net.tflite").touch()
    with pytest.raises(UserError, match=r"net\.tflite: the file is empty"):
        TfliteModel(tmp_path / "net.tflite", "net.tflite")


def _with_input(kind: int, shape: tuple[int, ...], alone: bool) -> bytes:
    """A file of 4 x 4 pixels with a further input, from which its picture is cast if it is alone.

    Args:
        kind: the type of the further input.
        shape: the shape of the further input, in which -1 is a side that is not fixed.
        alone: whether it replaces the picture.
    """
    model = graph.parse(tiny_tflite.convolution((4, 4)))
    main = model.subgraphs[0]
    tensor = schema.TensorT()
    tensor.name, tensor.type, tensor.buffer = "given", kind, 0
    tensor.shape, tensor.shapeSignature = [abs(side) for side in shape], list(shape)
    main.tensors.append(tensor)
    place = len(main.tensors) - 1
    main.inputs = [place] if alone else [*main.inputs, place]
    if alone:
        code, cast = schema.OperatorCodeT(), schema.OperatorT()
        code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CAST
        code.version = 1
        model.operatorCodes.append(code)
        cast.opcodeIndex, cast.inputs, cast.outputs = len(model.operatorCodes) - 1, [place], [0]
        main.operators.insert(0, cast)
    return graph.pack(model)


@pytest.mark.parametrize("kind", ["FLOAT32", "UINT8", "INT8"])
def test_every_input_that_is_taken_has_a_latency(kind):
    file = _with_input(getattr(schema.TensorType, kind), (1, 4, 4, 3), True)
    assert TfliteModel(file, "net.tflite").latency() > 0


@pytest.mark.parametrize(
    ("kind", "shape", "alone", "reason"),
    [
        ("INT16", (1, 4, 4, 3), True, "the input is int16, not float32, uint8 or int8"),
        ("INT64", (1, 4, 4, 3), True, "the input is int64"),
        ("BOOL", (1, 4, 4, 3), True, "the input is bool"),
        ("FLOAT32", (1, -1, -1, 3), True, "the size of its input is not fixed"),
        ("FLOAT32", (1, 8), False, "it has 2 inputs"),
    ],
)
def test_other_inputs_are_refused(kind, shape, alone, reason):
    """With numbers of other types, the alpha would be 0; with 1 x 1 pixels, one grey."""
    with pytest.raises(UserError, match=rf"net\.tflite: {reason}"):
        TfliteModel(_with_input(getattr(schema.TensorType, kind), shape, alone), "net.tflite")
