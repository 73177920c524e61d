"""Small helpers for several parts of the project: tables, evenly spaced items, worker processes."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.connection import wait

WORKER_CONTEXT = "forkserver" if os.name == "posix" else "spawn"
"""How worker processes start: not forked, because threads of TensorFlow and OpenCV do not survive
that."""


def aligned(rows: Sequence[Sequence[str]], words: int = 1) -> list[str]:
    """Formats rows as aligned lines: the first `words` columns to the left, others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if place < words else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]


def figure(value: float | None, scale: float = 1) -> str:
    """Formats a mean for tables: shares with four digits, otherwise `value * scale` with two."""
    if value is None:
        return "-"
    return f"{value:.4f}" if scale == 1 and value < 10 else f"{value * scale:.2f}"


def evenly(items: Sequence, count: int) -> list:
    """At most `count` of the items, evenly spaced."""
    if count >= len(items):
        return list(items)
    import numpy as np

    return [items[index] for index in np.linspace(0, len(items) - 1, count).round().astype(int)]


def start_worker() -> None:
    """Prepares a worker process that shares the cores with others: for a pool's initializer."""
    import cv2

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    cv2.setNumThreads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


class WorkerPool(ProcessPoolExecutor):
    """Worker processes. An exception in the `with` block kills them: large pictures take minutes.

    The block always ends after them. Otherwise, Python warns of leaked semaphores at Ctrl-C.

    Args:
        workers: the number of processes.
        start: the initializer, which must call `start_worker`.

    Raises:
        OSError: processes cannot start; their locks are in shared memory.
    """

    def __init__(self, workers: int, start: Callable[[], None] = start_worker):
        self._earlier = set(multiprocessing.active_children())
        super().__init__(workers, multiprocessing.get_context(WORKER_CONTEXT), start)

    def __exit__(self, kind, *_) -> None:
        if kind is not None:
            for worker in set(multiprocessing.active_children()) - self._earlier:
                worker.kill()
        self.shutdown(cancel_futures=kind is not None)


def _end_with_parent() -> None:
    """Ends this worker when the parent is killed; otherwise it would wait forever."""
    wait([multiprocessing.parent_process().sentinel])
    os._exit(1)
