"""Shipped RGB files in browsers: LiteRT.js and MediaPipe's tasks-vision, on the CPU and the GPU.

Chromium's SwiftShader replaces the GPU. It has no 16-bit floats, so these tests find errors of
operations and sizes, but no overflows.
"""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import browser
import built_page
import gpu_files
import numpy as np
import pytest
import tiny_tflite
from browser import Browser
from PIL import Image

from metrics import person_iou
from portrait.export.gpu_engine import ENGINES
from portrait.tflite.runtime import TfliteModel

pytestmark = [pytest.mark.gpu_clients, pytest.mark.slow]

_MODULES = ENGINES / "browser" / "node_modules"
_FLAGS = (
    *("--ignore-gpu-blocklist", "--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"),
    *("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"),
)
RUNTIMES = ["litert-wasm", "litert-webgpu", "mediapipe-CPU", "mediapipe-GPU"]
FILES = [file for file in gpu_files.SHIPPED if "rgba" not in file.name]


@contextlib.contextmanager
def _page(folder: Path, profile: Path) -> Iterator[Browser]:
    if not (program := browser.find()):
        pytest.skip("no Chromium is installed")
    if not (_MODULES / "ready").is_file():
        pytest.skip("no packages of browser runtimes here: make browser-engines fetches them")
    shutil.copy(Path(__file__).with_name("runtimes.html"), folder / "index.html")
    (folder / "node_modules").symlink_to(_MODULES)
    with (
        built_page.served(folder) as server,
        Browser(program, profile, flags=_FLAGS) as window,
    ):
        window.do("Page.navigate", url=server.url)
        window.wait_for("window.ready")
        yield window


def _copied(side: int) -> list[int]:
    """Returns the columns (or rows) for which MediaPipe's WebGL shader reads the previous pixel.

    The shader rounds x / side * side down. In float32 this is below x for some x, unless the side
    is 2^n times 1, 3, 5 or 9.
    """
    places = np.arange(side, dtype=np.float32)
    return np.flatnonzero(np.floor(places / np.float32(side) * np.float32(side)) < places).tolist()


def _alpha(window: Browser, folder: Path, runtime: str, file: Path, picture: np.ndarray):
    """Runs a file in `folder`; `runtime` names a package and a backend, such as litert-wasm."""
    picture.astype(np.float32).tofile(folder / "picture.f32")
    Image.fromarray(picture).save(folder / "picture.png")
    package, where = runtime.split("-")
    height, width = picture.shape[:2]
    call = {
        "litert": f"litert('/{file.name}', '{where}', '/picture.f32', [1, {height}, {width}, 3])",
        "mediapipe": f"mediapipe('/{file.name}', '{where}', '/picture.png')",
    }[package]
    return built_page.floats(window, call).reshape(height, width)


@pytest.fixture
def folder(tmp_path):
    """The folder that the server of the page reads."""
    (tmp_path / "page").mkdir()
    return tmp_path / "page"


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("file", [pytest.param(file, id=file.stem) for file in FILES])
def test_file(file, runtime, folder, tmp_path):
    picture = gpu_files.pictures(file)[0]
    expected = TfliteModel(file, file.name)(picture)[..., 0]
    shutil.copy(file, folder)
    with _page(folder, tmp_path / "profile") as window:
        alpha = _alpha(window, folder, runtime, file, picture)
    shifted = runtime == "mediapipe-GPU" and any(map(_copied, expected.shape))
    errors = np.abs(alpha - expected)
    assert errors.mean() < 1e-3
    assert errors.max() < (0.2 if shifted else 0.06)
    assert person_iou(alpha, expected) >= 0.997


@pytest.mark.parametrize("size", [(256, 192), (256, 224)])
def test_pixels_that_mediapipe_gives_to_a_network_on_the_gpu(size, folder, tmp_path):
    red = folder / "red.tflite"  # the alpha is the red channel
    red.write_bytes(tiny_tflite.convolution(size))
    picture = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    with _page(folder, tmp_path / "profile") as window:
        alpha = _alpha(window, folder, "mediapipe-GPU", red, picture)
    wrong = np.abs(255 * alpha - picture[..., 0]) > 0.5
    assert np.flatnonzero(wrong.any(axis=0)).tolist() == _copied(size[1])
