"""Worker processes that compute batches ahead into shared memory.

Keras can run a `PyDataset` in processes by itself, but it forks a new pool out of a busy process
every epoch, sends every batch through a pipe, and waits for ever for a worker that was killed. Here
the workers live as long as the data set, batches travel as bytes in shared memory, and a batch that
a worker fails to deliver is simply computed by the caller.
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

# A batch that takes longer than this comes from a worker that hangs.
PATIENCE = 120.0

# Forking is what makes starting cheap: nothing is pickled and the pictures are not copied. Only on
# Linux is it safe in a process that runs TensorFlow's threads.
AVAILABLE = sys.platform == "linux"


class Workers:
    """Computes jobs in forked processes, some ahead of being asked for.

    A job is any hashable value from which `compute` makes a list of uint8 arrays, always the same
    for the same job. The processes start here, so create this before the process grows threads. One
    thread at a time may use it.

    Args:
        compute: runs in the workers; may return fewer rows than `shapes` says, never more.
        shapes: the largest shape of each array.
        count: number of processes, at least 1.
    """

    def __init__(
        self,
        compute: Callable[[Hashable], list[np.ndarray]],
        shapes: list[tuple[int, ...]],
        count: int,
    ):
        # Two a worker keep it busy; two more hide a slow batch.
        slots = [_shared_arrays(shapes) for _ in range(2 * count + 2)]
        context = multiprocessing.get_context("fork")
        self._slots = slots
        self._free = list(range(len(slots)))
        self._slot_of: dict[Hashable, int] = {}  # submitted jobs
        self._rows: dict[Hashable, int] = {}  # finished ones: number of rows
        self._given: dict[Connection, list[Hashable]] = {}  # what each living worker still owes
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
        """Returns `job` finished, and has the jobs of `ahead` computed as far as slots allow.

        Args:
            job: what is wanted now.
            ahead: what will be wanted next, in order; everything else is forgotten.
            finish: makes the result from the arrays. They are shared memory that is used again
                afterwards, so it has to copy what it keeps.

        Returns:
            What `finish` returns; None where the workers cannot deliver (a worker died, hangs, or
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
        """Hands out jobs in order, to the least busy worker each, while there are slots."""
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
        """Takes in what the workers report within `timeout` seconds; False if nothing came."""
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
        """Gives up a worker that died or hangs; its jobs fall back to the caller."""
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
    """A worker's life: computes what it is sent until the parent is gone."""
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
        except Exception:  # the parent computes the job again and so meets the same exception
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
