"""Serves the local page in a thread of the tests."""

import contextlib
import socket
import threading
from collections.abc import Iterator

from portrait.effects import page
from portrait.inference.network import Network


@contextlib.contextmanager
def serving(network: Network) -> Iterator[int]:
    """Serves the page of a network, and yields the port."""
    import uvicorn

    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
        config = uvicorn.Config(page.application(network, port), log_level="warning")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        while not server.started:
            thread.join(0.05)
        yield port
        server.should_exit = True
        thread.join(30)
