"""Shipped files in LiteRT's CompiledModel with the GPU accelerator, the engine of phones.

lavapipe has 16-bit floats, so the engine computes in float16 as on phones. SwiftShader has none.
"""

import gpu_files
import pytest
import tensorflow as tf
import tiny_network
from function_layer import FunctionLayer

from portrait.export import gpu_engine, tflite
from portrait.export.gpu_engine import FLOAT16, FLOAT32
from portrait.models.build import for_inference
from portrait.style_transfer import PAINTINGS
from portrait.style_transfer.export import TOLERANCES

pytestmark = pytest.mark.gpu_clients

RGB = [file for file in gpu_files.SHIPPED if "rgba" not in file.name]


def _assert_right(file, engine):
    if engine.missing:
        pytest.skip(engine.missing)
    verdict = gpu_engine.check(file, gpu_files.pictures(file), engine)
    if verdict.refused:
        pytest.fail(verdict.refused)  # other than the failure that test_overflow_is_seen expects
    assert verdict.wholly
    assert verdict.mean_error < 1e-3  # also fails for NaN
    assert verdict.iou >= 0.997
    return verdict


@pytest.mark.parametrize("file", gpu_files.parameters())
def test_file_in_float16(file):
    # Float16 has 11 bits, float32 has 24, so a larger error proves that the engine uses float16.
    assert _assert_right(file, FLOAT16).max_error > 1e-4


@pytest.mark.parametrize("file", gpu_files.parameters(RGB))
def test_file_in_float32(file):
    assert _assert_right(file, FLOAT32).max_error < 1e-4


@pytest.fixture(scope="module")
def overflowing(tmp_path_factory):
    """MattingNet with activations beyond 65,504."""
    file = next(path for path in gpu_files.SHIPPED if "mattingnet_small" in path.name)
    path = tmp_path_factory.mktemp("files") / "overflowing.tflite"
    path.write_bytes(gpu_files.overflowing(file))
    return path


@pytest.mark.parametrize(
    "file",
    [
        pytest.param(file, id=file.stem, marks=() if index == 0 else pytest.mark.slow)
        for index, file in enumerate(sorted(PAINTINGS.glob("*_256x192_float16.tflite")))
    ],
)
def test_style(file):
    if FLOAT16.missing:
        pytest.skip(FLOAT16.missing)
    verdict = gpu_engine.check(file, gpu_files.pictures(file), FLOAT16)
    assert verdict.refused is None
    assert verdict.wholly
    # In levels of 0..255. Single values of fine texture are off by up to 17.
    assert 0.01 < verdict.max_error < 32
    assert verdict.mean_error < TOLERANCES["float16"].mean


@pytest.mark.xfail(strict=True, raises=AssertionError, reason="the check must fail")
def test_overflow_is_seen(overflowing):
    _assert_right(overflowing, FLOAT16)


def test_overflow_is_no_fault_in_float32(overflowing):
    _assert_right(overflowing, FLOAT32)


def _transposed_in_rank_5(x):
    _, height, width, channels = x.shape
    x = tf.reshape(x, [1, height // 2, 2, width, channels])
    return tf.reshape(tf.transpose(x, [0, 2, 1, 3, 4]), [1, height, width, channels])


def test_file_that_no_gpu_takes_is_refused(tmp_path):
    if FLOAT16.missing:
        pytest.skip(FLOAT16.missing)
    model = tiny_network.build(tail=FunctionLayer(_transposed_in_rank_5, "rank_5"))
    path = tmp_path / "rank_5.tflite"
    path.write_bytes(tflite.convert(for_inference(model), "float32"))
    with pytest.raises(gpu_engine.EngineError, match="refuses"):
        gpu_engine.run(path, tiny_network.pictures(1))
