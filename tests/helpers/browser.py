"""A headless Chromium that tests steer, by the DevTools protocol over a pipe: no driver needed."""

import base64
import itertools
import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
_FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    "--remote-debugging-pipe",
)


def find() -> str | None:
    """The program, if it is installed."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """One page of a Chromium with a profile of its own, closed at the end of a `with` block.

    `requests` are the addresses that the page asked for since `do("Network.enable")`.
    """

    def __init__(self, program: str, profile: Path, width: int = 1280, height: int = 1000):
        # It reads commands from file 3 and writes answers to file 4, a zero byte after each.
        takes, self._commands = os.pipe()
        self._answers, gives = os.pipe()
        moves = f'exec "$@" 3<&{takes} 4>&{gives}'
        flags = (*_FLAGS, f"--user-data-dir={profile}", f"--window-size={width},{height}")
        self._process = subprocess.Popen(
            ["bash", "-c", moves, "bash", program, *flags, "about:blank"],
            pass_fds=(takes, gives),
            stderr=subprocess.DEVNULL,
        )
        os.close(takes)
        os.close(gives)
        self._reader = os.fdopen(self._answers, "rb")
        self._numbers = itertools.count(1)
        self._session = None
        self.requests: list[str] = []
        targets = self.do("Target.getTargets")["targetInfos"]
        page = next(target["targetId"] for target in targets if target["type"] == "page")
        attached = self.do("Target.attachToTarget", targetId=page, flatten=True)
        self._session = attached["sessionId"]

    def __enter__(self) -> "Browser":
        return self

    def __exit__(self, *error) -> None:
        self._process.terminate()
        self._process.wait(10)
        self._reader.close()
        os.close(self._commands)

    def do(self, method: str, **parameters) -> dict:
        """Sends a command of the protocol, and returns its answer."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while (answer := self._receive()).get("id") != number:
            pass
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']['message']}")
        return answer["result"]

    def _receive(self) -> dict:
        read = bytearray()
        while (byte := self._reader.read(1)) != b"\0":
            if not byte:
                raise RuntimeError("the browser has ended")
            read += byte
        message = json.loads(read)
        if message.get("method") == "Network.requestWillBeSent":
            self.requests.append(message["params"]["request"]["url"])
        return message

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression in the page."""
        answer = self.do("Runtime.evaluate", expression=script, returnByValue=True)
        return answer["result"].get("value")

    def wait_for(self, script: str, seconds: float = 60) -> Any:
        """The value of an expression as soon as it is true."""
        end = time.monotonic() + seconds
        while not (value := self.run(script)):
            if time.monotonic() > end:
                raise TimeoutError(script)
            time.sleep(0.2)
        return value

    def upload(self, selector: str, file: Path) -> None:
        """Gives a file to an <input type=file>."""
        field = self.do("Runtime.evaluate", expression=f"document.querySelector({selector!r})")
        self.do("DOM.setFileInputFiles", files=[str(file)], objectId=field["result"]["objectId"])

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.do("Page.captureScreenshot")["data"]))
