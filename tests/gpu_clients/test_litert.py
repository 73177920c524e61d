"""Shipped files in LiteRT's CompiledModel with the GPU accelerator, whose engine phones use.

lavapipe has 16-bit floats, so that the engine computes in float16 as on phones; SwiftShader has
none.
"""

import gpu_files
import pytest
import tensorflow as tf
import tiny_network
from function_layer import FunctionLayer

from portrait.export import gpu_engine, tflite
from portrait.export.gpu_engine import FLOAT16, FLOAT32
from portrait.models.build import for_inference

pytestmark = pytest.mark.gpu_clients


@pytest.fixture(params=[FLOAT16, FLOAT32], ids=["float16", "float32"])
def engine(request):
    if request.param.missing:
        pytest.skip(request.param.missing)
    return request.param


@pytest.fixture(scope="module")
def overflowing(tmp_path_factory):
    """MattingNet with activations beyond 65,504."""
    file = next(path for path in gpu_files.SHIPPED if "mattingnet_small" in path.name)
    path = tmp_path_factory.mktemp("files") / "overflowing.tflite"
    path.write_bytes(gpu_files.overflowing(file))
    return path


def _assert_right(file, engine):
    verdict = gpu_engine.check(file, gpu_files.pictures(file), engine)
    assert verdict.refused is None
    assert verdict.wholly
    assert verdict.mean_error < 1e-3  # not so of NaN
    assert verdict.iou >= 0.997
    return verdict


@pytest.mark.parametrize("file", gpu_files.parameters())
def test_file(file, engine):
    verdict = _assert_right(file, engine)
    # Float16 has 11 bits, float32 has 24: this proves which of them the engine computes in.
    assert (verdict.max_error > 1e-4) == (engine is FLOAT16)


@pytest.mark.xfail(strict=True, raises=AssertionError, reason="what test_file must see")
def test_overflow_is_seen(overflowing):
    if FLOAT16.missing:
        pytest.skip(FLOAT16.missing)
    _assert_right(overflowing, FLOAT16)


def test_overflow_is_no_fault_in_float32(overflowing):
    if FLOAT32.missing:
        pytest.skip(FLOAT32.missing)
    _assert_right(overflowing, FLOAT32)


def _transposed_in_rank_5(x):
    _, height, width, channels = x.shape
    x = tf.reshape(x, [1, height // 2, 2, width, channels])
    return tf.reshape(tf.transpose(x, [0, 2, 1, 3, 4]), [1, height, width, channels])


def test_file_that_no_gpu_takes_is_refused(engine, tmp_path):
    model = tiny_network.build(tail=FunctionLayer(_transposed_in_rank_5, "rank_5"))
    path = tmp_path / "rank_5.tflite"
    path.write_bytes(tflite.convert(for_inference(model), "float32"))
    with pytest.raises(gpu_engine.EngineError, match="refuses"):
        gpu_engine.run(path, tiny_network.pictures(1), engine)
