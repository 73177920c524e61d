"""Tests the limits of a verdict, and a file with a known result in float16."""

import numpy as np
import pytest
import tiny_tflite

from portrait.export import gpu_engine
from portrait.export.gpu_engine import FLOAT16, FLOAT32, Engine, Verdict

SIZE = (32, 32)


@pytest.mark.parametrize(
    ("verdict", "good"),
    [
        (Verdict(0.05, 0.0009, 0.998, True), True),
        (Verdict(0.05, 0.0011, 0.998, True), False),
        (Verdict(0.05, 0.0009, 0.996, True), False),
        (Verdict(0.05, 0.0009, 0.998, False), False),
        (Verdict(float("nan"), float("nan"), 0.998, True), False),
        (Verdict(None, None, None, False, "refused"), False),
        (Verdict(6.0, 0.25, None, True), True),  # levels of a picture
        (Verdict(6.0, 0.26, None, True), False),
    ],
)
def test_a_verdict_is_good_within_the_limits(verdict, good):
    assert verdict.good is good


def test_an_engine_that_is_not_here_is_named(tmp_path):
    file = tmp_path / "red.tflite"
    file.write_bytes(tiny_tflite.convolution(SIZE))
    absent = Engine("phone", tmp_path / "absent.json", {})
    verdict = gpu_engine.check(file, np.zeros((1, *SIZE, 3), np.uint8), absent)
    assert "phone" in verdict.refused and not verdict.good


@pytest.mark.gpu_clients
@pytest.mark.parametrize(("engine", "answer"), [(FLOAT16, np.inf), (FLOAT32, 102_000)])
def test_numbers_above_65504_overflow_in_float16_only(engine, answer, tmp_path):
    if engine.missing:
        pytest.skip(engine.missing)
    file = tmp_path / "large.tflite"
    file.write_bytes(tiny_tflite.convolution(SIZE, kernel=(400, 0, 0)))
    outputs, wholly = gpu_engine.run(file, np.full((1, *SIZE, 3), 255, np.uint8), engine)
    assert wholly
    np.testing.assert_array_equal(outputs, np.full((1, *SIZE), answer, np.float32))
