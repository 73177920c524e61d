"""Builds the page for the browser, serves it, and opens it in Chromium."""

import base64
import contextlib
import functools
import io
import threading
from collections.abc import Iterator, Sequence
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import browser
import numpy as np
import pytest
from browser import Browser
from PIL import Image

from portrait.errors import UserError
from web.build import build

READY = "Boolean(window.studio && studio.network)"
_FLAGS = (
    *("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"),
    *("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"),
)


def built(folder: Path, own: Sequence[Path] = ()) -> Path:
    """Builds the page, or skips the test if LiteRT.js is missing."""
    try:
        build(folder, own)
    except UserError as error:
        pytest.skip(str(error))
    return folder


class Server(ThreadingHTTPServer):
    """Serves a folder at `url`, as `python -m http.server` does, and keeps the paths asked for."""

    daemon_threads = True

    def __init__(self, folder: Path):
        self.paths: list[str] = []
        super().__init__(("127.0.0.1", 0), functools.partial(_Handler, directory=folder))
        self.url = f"http://127.0.0.1:{self.server_port}/"
        self._thread = threading.Thread(target=self.serve_forever)
        self._thread.start()

    def stop(self) -> None:
        """Stops the server."""
        self.shutdown()
        self.server_close()
        self._thread.join()


class _Handler(SimpleHTTPRequestHandler):
    def log_message(self, *arguments) -> None:
        self.server.paths.append(self.path)


@contextlib.contextmanager
def served(folder: Path) -> Iterator[Server]:
    """A static server for a folder; `stop` takes the page offline."""
    server = Server(folder)
    try:
        yield server
    finally:
        server.stop()


@contextlib.contextmanager
def opened(url: str, profile: Path, ready: str = READY) -> Iterator[Browser]:
    """Opens a page in a browser with a fake camera, and waits until `ready` is true."""
    if not (program := browser.find()):
        pytest.skip("no Chromium is installed")
    with Browser(program, profile, 1280, 860, _FLAGS) as window:
        window.watch()
        window.do("Page.navigate", url=url)
        window.wait_for(ready)
        yield window


def open_photo(window: Browser, path: Path) -> None:
    """Opens a photograph, and waits for its alpha."""
    width = Image.open(path).width
    window.run("studio.frame && (studio.frame.alpha = null)")
    window.upload("#photo", path)
    window.wait_for(f"studio.frame?.width === {width} && studio.frame.alpha !== null")


def content(window: Browser, value: str) -> bytes:
    """Returns the bytes of the Blob, or the numbers, of an expression."""
    script = f"""(async () => {{
        const value = await {value};
        const reader = new FileReader();
        const read = new Promise((done) => reader.addEventListener('load', done));
        reader.readAsDataURL(new Blob([value]));
        await read;
        return reader.result.split(',')[1];
    }})()"""
    return base64.b64decode(window.run(script))


def picture(window: Browser, blob: str) -> np.ndarray:
    """Returns the pixels of the Blob of an expression."""
    return np.asarray(Image.open(io.BytesIO(content(window, blob))))


def floats(window: Browser, values: str) -> np.ndarray:
    """Returns the values of the Float32Array of an expression."""
    return np.frombuffer(content(window, values), np.float32)


def bytes_of(content: bytes) -> str:
    """Returns a JavaScript expression for bytes, a Uint8Array."""
    text = base64.b64encode(content).decode()
    return f"Uint8Array.from(atob('{text}'), (each) => each.charCodeAt())"
