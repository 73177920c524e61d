"""Tests the memory and the time of processes against what they are known to use."""

import multiprocessing
import os
import sys
import time

import numpy as np
import pytest

from benchmarks import processes

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def _spin(started, stop) -> None:
    own = np.ones(50 << 20, np.uint8)  # noqa: F841 (held)
    while time.process_time() < 0.3:
        pass
    started.set()
    stop.wait()


def test_a_family_with_shared_memory():
    before = processes.memory([os.getpid()])[1]
    shared = np.ones(100 << 20, np.uint8)
    context = multiprocessing.get_context("fork")
    started, stop = context.Event(), context.Event()
    child = context.Process(target=_spin, args=(started, stop))
    child.start()
    try:
        assert started.wait(60)
        family = processes.family()
        assert {os.getpid(), child.pid} <= set(family)
        # The shared array counts once, the child's own one too.
        assert processes.memory([os.getpid(), child.pid])[1] - before == pytest.approx(150, abs=20)
        assert 0.27 < processes.seconds(child.pid) < 5  # in whole ticks of 10 ms
    finally:
        stop.set()
        child.join()
    assert child.pid not in processes.family()
    assert processes.memory([child.pid]) == (0, 0) and processes.seconds(child.pid) == 0
    del shared
