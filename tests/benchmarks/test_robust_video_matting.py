"""RobustVideoMatting with a stand-in for ONNX Runtime, which is not in requirements.txt."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.robust_video_matting import RobustVideoMatting
from benchmarks.side_by_side import open_model
from portrait.errors import UserError

GREY = np.full((60, 100, 3), 51, np.uint8)  # a fifth of white


class Session:
    """Its alpha is the red channel, and half of it in a frame that has a memory."""

    def __init__(self, file, options, providers):
        if "gone" in file:
            raise RuntimeError("no such file\nand a second line")
        assert options.intra_op_num_threads == 1

    def run(self, outputs, inputs):
        source, ratio = inputs["src"], inputs["downsample_ratio"]
        assert sorted(inputs) == ["downsample_ratio", "r1i", "r2i", "r3i", "r4i", "src"]
        assert ratio.shape == (1,)
        red = source[:, :1] * (0.5 if inputs["r1i"].any() else 1)
        Session.seen = source.shape[2:], float(ratio[0])
        Session.source = source
        return [source, red, *(np.ones_like(red) for _ in range(4))]


@pytest.fixture
def runtime(monkeypatch):
    module = SimpleNamespace(SessionOptions=SimpleNamespace, InferenceSession=Session)
    monkeypatch.setitem(sys.modules, "onnxruntime", module)


def test_frames_remember_and_photographs_do_not(runtime):
    model = RobustVideoMatting("rvm.onnx")
    for share in (0.2, 0.1):
        np.testing.assert_allclose(model(GREY), np.full((60, 100), share), atol=1e-6)
    np.testing.assert_allclose(model.matte(GREY), np.full((60, 100), 0.2), atol=1e-6)
    # A longest side of 512, multiples of 16: 60 / 100 * 512 is 307.
    assert Session.seen == ((304, 512), 1.0)
    model(np.zeros((540, 1024, 3), np.uint8))
    assert Session.seen == ((540, 1024), 0.5)


def test_it_is_a_model_of_comparisons(runtime, tmp_path):
    file = tmp_path / "rvm_mobilenetv3_fp32.onnx"
    file.write_bytes(bytes(1000))
    model = open_model(f"rvm={file}")
    assert (model.name, model.bytes, model.input_shape) == ("rvm", 1000, (512, 384))
    assert model.parameters is None and model.macs is None
    model.invoke()
    assert Session.seen == ((512, 384), 1.0)
    first = Session.source
    model.invoke()
    assert Session.source is first  # only the network is timed, as of the other models
    np.testing.assert_allclose(model.matte(GREY), np.full((60, 100), 0.2), atol=1e-6)
    assert open_model(str(file)).name == "rvm_mobilenetv3_fp32"


def test_a_file_that_cannot_be_read(runtime):
    with pytest.raises(UserError, match=r"gone\.onnx: not a file"):
        open_model("rvm=gone.onnx")


def test_without_onnxruntime(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UserError, match="pip install onnxruntime"):
        open_model("rvm=some.onnx")
