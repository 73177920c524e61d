"""A pipeline of stages that run in parallel, each in its own thread."""

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

_END = object()


class Pipeline:
    """Passes items through stages in order, while each stage works on a different item.

    Decoders, LiteRT, OpenCV and encoders release Python's lock, so threads are enough. The queues
    between stages are short, so memory does not grow.

    Args:
        source: yields the items; a thread iterates over it.
        stages: functions from an iterator over items to an iterable of results, such as
            generators, which may hold items back; each runs in its own thread.
        between: the length of the queues between stages.

    Iterating yields the results. An exception in the source or a stage is raised there, after the
    results of all earlier items: for the stages behind it, the items end there. Use it in a `with`
    block, which ends the threads.
    """

    def __init__(self, source: Iterable, *stages: Callable[[Iterator], Iterable], between: int = 4):
        self._stop = threading.Event()
        queues = [queue.Queue(between) for _ in range(len(stages) + 1)]
        self._last = queues[-1]
        self._threads = [threading.Thread(target=self._feed, args=(source, queues[0]), daemon=True)]
        self._threads += [
            threading.Thread(target=self._work, args=(stage, before, after), daemon=True)
            for stage, before, after in zip(stages, queues, queues[1:], strict=False)
        ]

    def __enter__(self) -> "Pipeline":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def __iter__(self) -> Iterator:
        while (item := self._take(self._last)) is not _END:
            if isinstance(item, _Failure):
                raise item.error
            yield item

    def _feed(self, source: Iterable, after: queue.Queue) -> None:
        end = _END
        try:
            for item in source:
                if not self._put(after, item):
                    return
        except BaseException as error:  # raised again in the thread that iterates
            end = _Failure(error)
        self._put(after, end)

    def _work(self, stage: Callable, before: queue.Queue, after: queue.Queue) -> None:
        failed: list[_Failure] = []

        def items() -> Iterator:
            while (item := self._take(before)) is not _END:
                if isinstance(item, _Failure):
                    failed.append(item)  # the stage still gives out what it holds back
                    return
                yield item

        def results() -> Iterator:
            yield from stage(items())
            for failure in failed:
                raise failure.error

        self._feed(results(), after)

    def _put(self, into: queue.Queue, item: Any) -> bool:
        """Puts an item into a queue; returns False if the pipeline was stopped before."""
        while not self._stop.is_set():
            try:
                into.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def _take(self, out_of: queue.Queue) -> Any:
        while not self._stop.is_set():
            try:
                return out_of.get(timeout=0.1)
            except queue.Empty:
                continue
        return _END


class _Failure:
    def __init__(self, error: BaseException):
        self.error = error
