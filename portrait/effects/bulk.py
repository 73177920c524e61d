"""Applies effects to thousands or millions of photographs and videos, in processes or on Ray.

A task is a source file and its result. Existing results are not made again, so the same command
continues a run that was killed. Results appear whole or not at all, and sources that cannot be used
are listed in `left_out.jsonl`. If a worker or the program itself is killed, only the work on the
files in progress is lost.
"""

import contextlib
import functools
import json
import logging
import os
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from portrait.errors import UserError
from portrait.io.files import WriteError, replacing
from portrait.io.photos import VIDEO_SUFFIXES, why_left_out
from portrait.io.remote import delivered, fetched, is_url, list_files, temporary_folder
from portrait.util import WorkerPool, start_worker

log = logging.getLogger(__name__)

LEFT_OUT = "left_out.jsonl"

Work = Callable[[Path, Path], None]
"""Makes a result: from a local source file to a local file, as `photos.apply_to_photo` does."""


class Task(NamedTuple):
    """A source and its result, paths or URLs."""

    source: str
    target: str


class Done(NamedTuple):
    """A finished task; `error` is the reason why there is no result, or empty."""

    task: Task
    error: str


@dataclass(frozen=True)
class Outcome:
    """Counts of tasks: results made in this run, existing results, and sources left out."""

    made: int
    existing: int
    left_out: int


def run(
    tasks: Sequence[Task],
    make: Callable[[], Work],
    output: str | Path,
    workers: int,
    cluster: str = "",
) -> Outcome:
    """Works through tasks in parallel, with a progress bar.

    Args:
        tasks: no two with the same target.
        make: makes the function that works, once in each process; it is pickled.
        output: the folder for `left_out.jsonl`.
        workers: the number of processes.
        cluster: empty: processes of this machine; otherwise the address of a Ray cluster: "auto"
            for the one that this machine belongs to, "local" to start Ray on this machine alone.

    Raises:
        UserError: `output` cannot be written, processes cannot start, or there is no such cluster.
    """
    missing = without_existing(tasks)
    existing = len(tasks) - len(missing)
    missing.sort(key=lambda task: not is_long(task))  # the long ones first, to end together
    done_by = _on_ray if cluster else in_processes
    left_out: list[Done] = []
    made = 0
    bar = tqdm(total=len(tasks), initial=existing, unit=" files", disable=None, smoothing=0.05)
    try:
        arguments = [cluster] if cluster else []
        with bar, contextlib.closing(done_by(missing, make, workers, *arguments)) as finished:
            for done in finished:
                if done.error:
                    left_out.append(done)
                    bar.set_postfix_str(f"{len(left_out)} left out")
                made += not done.error
                bar.update()
    finally:
        _write_left_out(left_out, output)
    return Outcome(made, existing, len(left_out))


def without_existing(tasks: Sequence[Task]) -> list[Task]:
    """The tasks whose target does not exist; lists each folder once."""
    there: dict[str, set[str]] = {}
    missing = []
    for task in tasks:
        folder = task.target.rpartition("/")[0]
        if folder not in there:
            there[folder] = _names_in(folder)
        if task.target.rpartition("/")[2] not in there[folder]:
            missing.append(task)
    return missing


def _names_in(folder: str) -> set[str]:
    if is_url(folder):
        return {url.rpartition("/")[2] for url in list_files(folder)}
    try:
        return {entry.name for entry in os.scandir(folder or ".")}
    except OSError:  # there is none
        return set()


def attempt(work: Work, task: Task) -> Done:
    """Makes one result, unless another worker that then died has made it.

    Errors and warnings name the source and the target of the task, not local copies of URLs.

    Raises:
        WriteError: the result cannot be written, and all others would fail, too. That its name is
            too long, or that this picture needs too much memory, is the `error` of `Done`.
    """
    given: dict[str, str] = {}

    def named(text: str) -> str:
        for local, name in given.items():
            text = text.replace(local, name)
        return text

    try:
        if not is_url(task.target) and Path(task.target).exists():
            return Done(task, "")
        with fetched(task.source) as source, delivered(task.target) as target:
            given |= {str(source): task.source, str(target): task.target}
            with _warnings_through(named):
                work(source, target)
    except Exception as error:
        said = why_left_out(error, task.source)
        if not said and isinstance(error, WriteError):
            raise WriteError(named(str(error))) from error
        if not said and not isinstance(error, UserError):
            raise
        said = named(said or str(error))
        return Done(task, said if task.source in said else f"{task.source}: {said}")
    return Done(task, "")


@contextlib.contextmanager
def _warnings_through(named: Callable[[str], str]) -> Iterator[None]:
    """Changes the texts that the project logs in this process meanwhile."""
    plain = logging.getLogRecordFactory()

    def record(name: str, *arguments, **options) -> logging.LogRecord:
        made = plain(name, *arguments, **options)
        if name.startswith("portrait."):
            made.msg, made.args = named(made.getMessage()), ()
        return made

    logging.setLogRecordFactory(record)
    try:
        yield
    finally:
        logging.setLogRecordFactory(plain)


def _on_ray(*arguments) -> Iterator[Done]:
    from portrait.effects.bulk_ray import on_ray

    return on_ray(*arguments)


_work: Work | None = None  # of a worker process


def _start(make: Callable[[], Work], folder: str) -> None:
    global _work
    start_worker()
    tempfile.tempdir = folder
    _work = make()


def _attempt(task: Task) -> Done:
    return attempt(_work, task)


def in_processes(tasks: Iterable[Task], make: Callable[[], Work], workers: int) -> Iterator[Done]:
    """Works on tasks in processes of this machine, and yields them as they are done.

    If a worker is killed, the pool is started anew. The tasks that were being worked on are then
    done one at a time: one that ends its worker again, for example because the picture needs more
    memory than there is, is left out.
    """
    # For the workers' copies of URLs. Workers that are killed do not remove them.
    with temporary_folder("portrait") as folder:
        yield from _in_processes(tasks, functools.partial(_start, make, folder), workers)


def _in_processes(tasks: Iterable[Task], start: Callable[[], None], workers: int) -> Iterator[Done]:
    waiting, suspects = deque(tasks), deque()
    while waiting or suspects:
        queue, ahead = (suspects, 1) if suspects else (waiting, 2 * workers)
        pending: dict[Future, Task] = {}
        count = 1 if suspects else min(workers, len(waiting))
        try:
            pool = WorkerPool(count, start)
        except OSError as error:
            raise UserError(f"worker processes cannot start: {error.strerror}") from error
        try:
            with pool:
                yield from _drain(pool, queue, pending, ahead)
        except BrokenProcessPool:
            log.warning("a worker process was killed: its files are done again")
            if queue is suspects:
                for task in pending.values():  # none if the worker was idle
                    yield Done(task, "its worker process was killed twice")
            else:
                suspects.extend(pending.values())


def _drain(
    pool: WorkerPool, queue: deque[Task], pending: dict[Future, Task], ahead: int
) -> Iterator[Done]:
    """Works on the tasks of `queue`; those that were not finished are left in `pending`."""
    while queue or pending:
        while queue and len(pending) < ahead:
            future = pool.submit(_attempt, queue[0])  # raises if the pool is broken
            pending[future] = queue.popleft()
        for future in wait(pending, return_when=FIRST_COMPLETED).done:
            done = future.result()
            del pending[future]
            yield done


def is_long(task: Task) -> bool:
    """Whether a task is a video."""
    return Path(task.target).suffix.lower() in VIDEO_SUFFIXES


def _write_left_out(left_out: Sequence[Done], output: str | Path) -> None:
    """Writes the list of what was left out in this run, or removes an earlier one."""
    path = f"{str(output).rstrip('/')}/{LEFT_OUT}"
    if not left_out and not (is_url(path) or Path(path).exists()):
        return
    lines = [json.dumps({"source": done.task.source, "error": done.error}) for done in left_out]
    with delivered(path) as local, replacing(local) as temporary:
        temporary.write_text("".join(f"{line}\n" for line in lines))
