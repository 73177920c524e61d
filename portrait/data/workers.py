"""Worker processes that compute batches ahead into shared memory.

Keras can run a `PyDataset` in processes, but it forks a new pool from a busy process in every
epoch, sends every batch through a pipe, and waits forever for a worker that was killed. Here the
workers live as long as the data set, batches are passed as bytes in shared memory, and the caller
computes a batch that a worker fails to deliver.
"""

import contextlib
import ctypes
import logging
import mmap
import multiprocessing
import signal
import sys
import time
import weakref
from collections.abc import Callable, Hashable, Iterable
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import TypeVar

import cv2
import numpy as np

log = logging.getLogger(__name__)

Batch = TypeVar("Batch")

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h

# A worker whose batch takes longer than this counts as hanging.
PATIENCE = 120.0

# Forking makes the start cheap: nothing is pickled and the pictures are not copied. In a process
# that runs TensorFlow's threads, it is safe on Linux only.
AVAILABLE = sys.platform == "linux"


class Workers:
    """Computes jobs in forked processes, some of them ahead.

    A job is any hashable value from which `compute` makes a list of uint8 arrays, always the same
    for the same job. The processes start here, so create this before other threads start. Only one
    thread at a time may use it.

    Args:
        compute: runs in the workers; returns at most as many rows as `shapes`.
        shapes: the largest shape of each array.
        count: number of processes, at least 1.
    """

    def __init__(
        self,
        compute: Callable[[Hashable], list[np.ndarray]],
        shapes: list[tuple[int, ...]],
        count: int,
    ):
        # Two for each worker keep it busy; two more hide a slow batch.
        slots = [_shared_arrays(shapes) for _ in range(2 * count + 2)]
        context = multiprocessing.get_context("fork")
        self._slots = slots
        self._free = list(range(len(slots)))
        self._slot_of: dict[Hashable, int] = {}  # submitted jobs
        self._rows: dict[Hashable, int] = {}  # finished ones: number of rows
        self._given: dict[Connection, list[Hashable]] = {}  # unfinished jobs of living workers
        self._processes: dict[Connection, BaseProcess] = {}
        for _ in range(count):
            ours, theirs = context.Pipe()
            process = context.Process(
                target=_serve, args=(theirs, compute, slots), daemon=True, name="batch worker"
            )
            process.start()
            theirs.close()
            self._given[ours] = []
            self._processes[ours] = process
        self.close = weakref.finalize(self, _terminate, list(self._processes.values()))
        self.close.atexit = False  # multiprocessing ends them then, after their users have stopped

    def fetch(
        self,
        job: Hashable,
        ahead: Iterable[Hashable],
        finish: Callable[[list[np.ndarray]], Batch],
    ) -> Batch | None:
        """Returns the finished `job`, and starts the jobs in `ahead` as far as slots allow.

        Args:
            job: the job that is needed now.
            ahead: the next jobs, in order; all others are dropped.
            finish: makes the result from the arrays. They are shared memory that is used again
                afterwards, so it has to copy the values that it keeps.

        Returns:
            The result of `finish`; None if the workers cannot deliver (a worker died, hangs, or
            raised an exception): then the caller has to compute the job.
        """
        self._submit([job, *ahead])
        deadline = time.monotonic() + PATIENCE
        while job in self._slot_of and job not in self._rows:
            self._collect(deadline - time.monotonic())
        if job not in self._rows:
            return None
        rows = self._rows[job]
        batch = finish([array[:rows] for array in self._slots[self._slot_of[job]]])
        self._release(job)
        return batch

    def _submit(self, wanted: list[Hashable]) -> None:
        """Gives jobs in order to the least busy worker, while there are slots."""
        while self._collect(0):
            pass
        wanted = wanted[: len(self._slots)]
        for stale in self._rows.keys() - set(wanted):
            self._release(stale)
        for job in wanted:
            if job in self._slot_of:
                continue
            if not self._free or not self._given:
                return
            worker = min(self._given, key=lambda each: len(self._given[each]))
            self._slot_of[job] = self._free.pop()
            self._given[worker].append(job)
            try:
                worker.send((job, self._slot_of[job]))
            except OSError:
                self._lose(worker)

    def _collect(self, timeout: float) -> bool:
        """Receives reports of the workers within `timeout` seconds; False if there were none."""
        ready = wait(list(self._given), max(timeout, 0)) if self._given else []
        for worker in ready:
            try:
                job, rows = worker.recv()
            except (EOFError, OSError):
                self._lose(worker)
                continue
            self._given[worker].remove(job)
            if rows is None:
                self._release(job)
            else:
                self._rows[job] = rows
        if not ready and timeout != 0:
            for worker in [each for each, owed in self._given.items() if owed]:
                self._lose(worker)
        return bool(ready)

    def _lose(self, worker: Connection) -> None:
        """Gives up a worker that died or hangs; the caller then computes its jobs."""
        process = self._processes[worker]
        process.kill()
        process.join()
        for job in self._given.pop(worker):
            self._release(job)
        worker.close()
        rest = f"{len(self._given)} left" if self._given else "the main process does its work"
        log.warning("a data worker ended (status %s); %s", process.exitcode, rest)

    def _release(self, job: Hashable) -> None:
        self._free.append(self._slot_of.pop(job))
        self._rows.pop(job, None)


def _shared_arrays(shapes: list[tuple[int, ...]]) -> list[np.ndarray]:
    """Uninitialised uint8 arrays in anonymous memory that forked processes share.

    Anonymous: there is no name that a killed run could leave behind, and no limit by the size of
    a container's /dev/shm.
    """
    arrays = []
    for shape in shapes:
        size = int(np.prod(shape))
        arrays.append(np.frombuffer(mmap.mmap(-1, size), np.uint8).reshape(shape))
    return arrays


def _serve(
    connection: Connection,
    compute: Callable[[Hashable], list[np.ndarray]],
    slots: list[list[np.ndarray]],
) -> None:
    """The loop of a worker: computes jobs until the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    cv2.setNumThreads(0)
    _keep_memory()
    parent = multiprocessing.parent_process().sentinel
    while parent not in wait([connection, parent]):
        try:
            job, slot = connection.recv()
        except (EOFError, OSError):
            return
        try:
            arrays = compute(job)
            for shared, array in zip(slots[slot], arrays, strict=True):
                shared[: len(array)] = array
            rows = len(arrays[0])
        except Exception:  # the parent computes the job again, and raises the same exception
            rows = None
        try:
            connection.send((job, rows))
        except OSError:
            return


def _keep_memory() -> None:
    """Has glibc keep freed memory instead of returning it to the system after every array.

    A worker allocates the same arrays for every batch; faulting their pages in anew took a fifth of
    its time. TensorFlow's `from_generator` sets the opposite for the process that we come from.
    """
    with contextlib.suppress(OSError, AttributeError):  # another C library
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_THRESHOLD, 32 << 20)
        libc.mallopt(_M_TRIM_THRESHOLD, 1 << 30)


def _terminate(processes: list[BaseProcess]) -> None:
    for process in processes:
        process.terminate()
    for process in processes:
        process.join()
