"""Tests the baselines as files for phones: ops of GPUs, and alphas of Keras."""

import keras
import numpy as np
import pytest
from tiny_portraits import draw

from benchmarks.baselines_bench import count_macs
from benchmarks.side_by_side import count_macs as macs_of_file
from portrait.export import formats, verify
from portrait.models.build import build, for_inference

SHAPE = (64, 32)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["portrait_fcn", "deeplab_lfov", "cnn_resnet", "refine_unet"])
def test_exported(name, tmp_path):
    keras.utils.set_random_seed(0)
    trained = build(name, SHAPE)
    random = np.random.default_rng(0)
    for layer in trained.layers:
        if layer.name.startswith(("score", "fc8")):  # zeros, which would hide everything
            layer.set_weights([random.normal(0, 1e-3, each.shape) for each in layer.get_weights()])
    pictures, _ = draw(4, SHAPE)
    source = formats.Source(for_inference(trained), pictures)
    expected = verify.keras_outputs(source.model, pictures)
    assert expected.std() > 1e-3
    for kind in ("float32", "float16"):
        format_ = formats.load_format(kind)
        path = tmp_path / f"{kind}.tflite"
        format_.write(source, path)
        assert not format_.inspect(path, source).violations
        for run in format_.runtimes(path).values():
            parity, _ = verify.compare(run, pictures, expected)
            # Alphas of random weights are close to the mask's threshold: one pixel is 0.0006 IoU.
            assert not verify.problem(parity, format_.tolerance._replace(iou=0.003))
    # The benchmark's count from Keras's layers is that from the file's ops.
    assert count_macs(source.model) == macs_of_file((tmp_path / "float32.tflite").read_bytes())
