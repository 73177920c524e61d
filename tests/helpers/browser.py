"""A headless Chromium that tests control by the DevTools protocol over a pipe, without a driver."""

import base64
import itertools
import json
import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
_FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    "--remote-debugging-pipe",
)


def find() -> str | None:
    """Returns the program, or None if it is not installed."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """One page of a Chromium with its own profile, which closes at the end of a `with` block.

    `flags` are more of the program's. `requests` are the addresses that the page and its workers
    asked for since `watch()`; `complaints` are errors on its console since
    `watch()`, with what its policy refused.
    """

    def __init__(
        self,
        program: str,
        profile: Path,
        width: int = 1280,
        height: int = 1000,
        flags: Sequence[str] = (),
    ):
        # It reads commands from file 3 and writes answers to file 4, a zero byte after each.
        takes, self._commands = os.pipe()
        self._answers, gives = os.pipe()
        moves = f'exec "$@" 3<&{takes} 4>&{gives}'
        flags = (*_FLAGS, *flags, f"--user-data-dir={profile}", f"--window-size={width},{height}")
        self._process = subprocess.Popen(
            ["bash", "-c", moves, "bash", program, *flags, "about:blank"],
            pass_fds=(takes, gives),
            stderr=subprocess.DEVNULL,
        )
        os.close(takes)
        os.close(gives)
        self._read = bytearray()
        self._numbers = itertools.count(1)
        self._session = None
        self.requests: list[str] = []
        self.complaints: list[str] = []
        targets = self.do("Target.getTargets")["targetInfos"]
        page = next(target["targetId"] for target in targets if target["type"] == "page")
        attached = self.do("Target.attachToTarget", targetId=page, flatten=True)
        self._session = attached["sessionId"]

    def __enter__(self) -> "Browser":
        return self

    def __exit__(self, *error) -> None:
        self._process.terminate()
        self._process.wait(10)
        os.close(self._answers)
        os.close(self._commands)

    def do(self, method: str, session: str | None = None, **parameters) -> dict:
        """Sends a command of the protocol, and returns its answer."""
        number = self._send(method, session or self._session, parameters)
        while (answer := self._receive()).get("id") != number:
            pass
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']['message']}")
        return answer["result"]

    def _send(self, method: str, session: str | None, parameters: dict) -> int:
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        return number

    def _receive(self) -> dict:
        while (end := self._read.find(b"\0")) < 0:
            if not (more := os.read(self._answers, 1 << 20)):
                raise RuntimeError("the browser has ended")
            self._read += more
        message = json.loads(self._read[:end])
        del self._read[: end + 1]
        self._note(message.get("method"), message.get("params"))
        return message

    def _note(self, method: str | None, event: dict | None) -> None:
        """Records the data of an event."""
        if method == "Network.requestWillBeSent":
            self.requests.append(event["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            details = event["exceptionDetails"]
            self.complaints.append(
                details.get("exception", details).get("description", str(details))
            )
        elif method == "Runtime.consoleAPICalled" and event["type"] == "error":
            self.complaints.append(str([each.get("value") for each in event["args"]]))
        elif method == "Log.entryAdded" and event["entry"]["level"] == "error":
            self.complaints.append(f"{event['entry']['text']} {event['entry'].get('url', '')}")
        elif method == "Target.attachedToTarget" and event["waitingForDebugger"]:
            self._send("Network.enable", event["sessionId"], {})
            self._send("Runtime.runIfWaitingForDebugger", event["sessionId"], {})

    def watch(self) -> None:
        """Starts to record requests, also of workers, and complaints."""
        for domain in ("Network", "Runtime", "Log", "Page"):
            self.do(f"{domain}.enable")
        attach = {"autoAttach": True, "waitForDebuggerOnStart": True, "flatten": True}
        self.do("Target.setAutoAttach", **attach)

    def run(self, script: str) -> Any:
        """Returns the value of a JavaScript expression in the page; awaits promises."""
        answer = self.do(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in answer:
            raise RuntimeError(_told(answer["exceptionDetails"]))
        return answer["result"].get("value")

    def wait_for(self, script: str, seconds: float = 60) -> Any:
        """Waits until an expression is true, and returns its value."""
        end = time.monotonic() + seconds
        while not (value := self.run(script)):
            if time.monotonic() > end:
                raise TimeoutError(script)
            time.sleep(0.1)
        return value

    def press(self, key: str) -> None:
        """Presses the key of a character."""
        for kind in "keyDown", "keyUp":
            self.do("Input.dispatchKeyEvent", type=kind, key=key, text=key)

    def upload(self, selector: str, file: Path) -> None:
        """Gives a file to an <input type=file>."""
        field = self.do("Runtime.evaluate", expression=f"document.querySelector({selector!r})")
        self.do("DOM.setFileInputFiles", files=[str(file)], objectId=field["result"]["objectId"])

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.do("Page.captureScreenshot")["data"]))


def _told(details: dict) -> str:
    """Returns the message of an exception in the page."""
    return details.get("exception", details).get("description", str(details))
