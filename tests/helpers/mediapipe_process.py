"""Runs MediaPipe's ImageSegmenter in a process; it cannot share TensorFlow's environment."""

import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from project import ROOT

from portrait.export.gpu_engine import ENGINES

PYTHON = ENGINES / "mediapipe" / "bin" / "python"
_ROOT = ENGINES / "root"
# Mesa's driver on the processor. MediaPipe refuses to run on a renderer of that name, so it is
# given another one.
_MESA = {
    "force_gl_renderer": "Mesa",
    "GALLIVM_PERF": "nopt",
    "LP_NATIVE_VECTOR_WIDTH": "128",
    "MESA_SHADER_CACHE_DIR": str(ENGINES / "shaders"),
    "LD_LIBRARY_PATH": os.pathsep.join(map(str, _ROOT.glob("usr/lib/*-linux-gnu"))),
    "LIBGL_DRIVERS_PATH": os.pathsep.join(map(str, _ROOT.glob("usr/lib/*-linux-gnu/dri"))),
    "__EGL_VENDOR_LIBRARY_DIRS": str(_ROOT / "usr/share/glvnd/egl_vendor.d"),
}


def skip_without(gpu: bool = False) -> None:
    """Skips the test if MediaPipe, or the driver for its GPU delegate, is not installed."""
    if not (PYTHON.parents[1] / "ready").is_file():
        pytest.skip("no MediaPipe here: make gpu-engines fetches it")
    if gpu and not (_ROOT / "usr/share/glvnd/egl_vendor.d").is_dir():
        pytest.skip("no Mesa 25 here: make gpu-engines fetches it")


def masks(
    files: Sequence[Path], pictures: np.ndarray, delegate: str = "CPU", seconds: float = 600
) -> dict[str, np.ndarray]:
    """Returns the masks of each file, float32 (N, masks, H, W), by the name without suffix.

    Args:
        files: `.tflite` files of the pictures' size.
        pictures: uint8 RGB (N, H, W, 3).
        delegate: "CPU", or "GPU" for OpenGL ES.
        seconds: after which the process is ended.
    """
    script = ROOT / "tests" / "helpers" / "mediapipe_masks.py"
    with tempfile.TemporaryDirectory() as folder:
        given, answer = Path(folder, "pictures.npy"), Path(folder, "masks.npz")
        np.save(given, pictures)
        done = subprocess.run(
            [PYTHON, script, delegate, given, answer, *files],
            env=os.environ | _MESA if delegate == "GPU" else None,
            capture_output=True,
            text=True,
            timeout=seconds,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        with np.load(answer) as archive:
            return dict(archive)
