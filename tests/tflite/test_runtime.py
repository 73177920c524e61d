"""Tests running a `.tflite` file: kernels, threads, and latency with a simulated clock."""

import numpy as np
import pytest

from portrait.errors import UserError
from portrait.inference.network import shipped_files
from portrait.tflite import runtime
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
