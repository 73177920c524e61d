"""Tests bulk matting in several processes: killed workers lose, repeat or truncate no file."""

import contextlib
import errno
import functools
import json
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import bulk_job
import pytest
from project import ROOT

from portrait.effects import bulk
from portrait.effects.bulk import Task
from portrait.effects.bulk_tasks import find_tasks
from portrait.errors import UserError
from portrait.io.files import WriteError

needs_ray = pytest.mark.skipif(
    find_spec("ray") is None, reason="no Ray: pip install -r requirements-cluster.txt"
)
SCRIPT = ROOT / "tests" / "helpers" / "bulk_job.py"


def files(folder: Path, count: int, *more: str) -> Path:
    """A list of `count` sources of different contents, and of `more` ones."""
    folder.mkdir()
    names = [f"{number:04}" for number in range(count)] + list(more)
    for name in names:
        (folder / f"{name}.jpg").write_bytes(name.encode() * 100)
    (folder / "list.txt").write_text("".join(f"{folder / name}.jpg\n" for name in names))
    (folder / "log").mkdir()
    return folder


def attempts(folder: Path, name: str) -> int:
    return len(list((folder / "log").glob(f"{name}.jpg-*")))


def results(output: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in output.rglob("*_copy.png")}


def expected(folder: Path, count: int) -> dict[str, bytes]:
    return {f"{n:04}_copy.png": f"{n:04}".encode() * 100 for n in range(count)}


def left_out(output: Path) -> list[str]:
    lines = (output / "left_out.jsonl").read_text().splitlines()
    return sorted(Path(json.loads(line)["source"]).name for line in lines)


def test_what_exists_is_not_made_again_and_bad_files_are_listed(tmp_path):
    folder, output = files(tmp_path / "in", 12, "bad1", "bad2"), tmp_path / "out"
    make = functools.partial(bulk_job.make, folder / "log", 0)
    tasks = find_tasks(str(folder / "list.txt"), str(output), ["copy"])
    assert bulk.run(tasks[:5], make, output, 1) == bulk.Outcome(5, 0, 0)
    assert not (output / "left_out.jsonl").exists()
    assert bulk.run(tasks, make, output, 2) == bulk.Outcome(7, 5, 2)
    assert results(output) == expected(folder, 12)
    assert {attempts(folder, f"{number:04}") for number in range(12)} == {1}
    assert left_out(output) == ["bad1.jpg", "bad2.jpg"]
    (folder / "bad1.jpg").rename(folder / "good1.jpg")
    tasks = find_tasks(str(folder / "list.txt"), str(output), ["copy"])[:12]
    assert bulk.run(tasks, make, output, 2) == bulk.Outcome(0, 12, 0)
    assert left_out(output) == []


@pytest.mark.slow
def test_a_file_that_ends_its_worker_is_left_out_and_nothing_else(tmp_path):
    folder, output = files(tmp_path / "in", 8, "deadly"), tmp_path / "out"
    tasks = find_tasks(str(folder / "list.txt"), str(output), ["copy"])
    tasks.insert(0, tasks.pop())
    make = functools.partial(bulk_job.make, folder / "log", 0)
    assert bulk.run(tasks, make, output, 2) == bulk.Outcome(8, 0, 1)
    assert results(output) == expected(folder, 8)
    assert left_out(output) == ["deadly.jpg"] and attempts(folder, "deadly") == 2


@pytest.mark.slow
def test_the_death_of_an_idle_worker_leaves_no_file_out(tmp_path):
    folder, output = files(tmp_path / "in", 3, "deadly"), tmp_path / "out"
    tasks = find_tasks(str(folder / "list.txt"), str(output), ["copy"])
    tasks.insert(0, tasks.pop())
    left_out = []
    for done in bulk.in_processes(tasks, functools.partial(bulk_job.make, folder / "log", 0), 2):
        left_out += [done.task] if done.error else []
        for worker in multiprocessing.active_children():
            worker.kill()
            worker.join()
        time.sleep(0.5)  # the pool notices it
    assert results(output) == expected(folder, 3) and left_out == tasks[:1]


def test_a_stop_kills_the_workers_and_waits_for_their_end(tmp_path):
    """Otherwise, Python warns of leaked semaphores after the message."""
    earlier, folder = set(multiprocessing.active_children()), files(tmp_path / "in", 2, "bad")
    tasks = find_tasks(str(folder / "list.txt"), str(tmp_path / "out"), ["copy"])
    start = time.monotonic()
    make = functools.partial(bulk_job.make, folder / "log", 120)
    with contextlib.closing(bulk.in_processes(tasks[::-1], make, 2)) as finished:
        assert next(finished).error
    assert time.monotonic() - start < 120
    assert set(multiprocessing.active_children()) <= earlier


def test_without_shared_memory_the_reason_is_told(tmp_path, monkeypatch):
    def refuse(*arguments):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(bulk, "WorkerPool", refuse)
    folder = files(tmp_path / "in", 1)
    tasks = find_tasks(str(folder / "list.txt"), str(tmp_path / "out"), ["copy"])
    with pytest.raises(UserError, match="cannot start: Read-only file system"):
        bulk.run(tasks, functools.partial(bulk_job.make, folder / "log", 0), tmp_path / "out", 2)


def test_a_place_that_cannot_be_written_ends_the_run(tmp_path):
    folder = files(tmp_path / "in", 3)
    (tmp_path / "out").touch()
    tasks = find_tasks(str(folder / "list.txt"), str(tmp_path / "out"), ["copy"])
    with pytest.raises(WriteError, match="out"):
        bulk.attempt(functools.partial(bulk_job.work, folder / "log", 0), tasks[0])


def test_one_that_needs_too_much_memory_or_has_a_long_name_ends_nothing(tmp_path):
    long = "\u5199" * 83  # of three bytes: with _copy.png more than 255
    folder, output = files(tmp_path / "in", 2, "huge", long), tmp_path / "out"
    tasks = find_tasks(str(folder / "list.txt"), str(output), ["copy"])
    tasks += [Task(each.source, Path(each.target).as_uri()) for each in tasks[2:]]
    work = functools.partial(bulk_job.work, folder / "log", 0)
    done = [bulk.attempt(work, task) for task in reversed(tasks)]
    assert sorted(results(output)) == ["0000_copy.png", "0001_copy.png"]
    assert [each.task for each in done if not each.error] == tasks[1::-1]
    assert all(each.error.startswith(each.task.source) for each in done if each.error)
    assert "there is not enough memory" in done[1].error and "too long" in done[0].error


@pytest.mark.parametrize("ended", [pytest.param("deadly", marks=pytest.mark.slow), "full"])
def test_no_copy_of_a_url_stays(tmp_path, ended):
    folder, output = files(tmp_path / "in", 3, ended), tmp_path / "out"
    tasks = find_tasks(folder.as_uri(), str(output), ["copy"])
    make = functools.partial(bulk_job.make, folder / "log", 0.1)
    with pytest.raises(WriteError) if ended == "full" else contextlib.nullcontext():
        assert bulk.run(tasks, make, output, 2) == bulk.Outcome(3, 0, 1)
    copies = [Path(path.read_text()) for path in (folder / "log").iterdir()]
    # Workers make their folders in one of the parent.
    folders = {each for copy in copies for each in copy.parents if each.name.startswith("portrait")}
    assert len(folders) == 1 and not folders.pop().exists()


def test_where_there_is_no_space_for_copies_the_run_ends(tmp_path, monkeypatch):
    import fsspec.implementations.local

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(fsspec.implementations.local.LocalFileSystem, "get_file", full)
    folder = files(tmp_path / "in", 1)
    (task,) = find_tasks(folder.as_uri(), str(tmp_path / "out"), ["copy"])
    with pytest.raises(WriteError, match=r"0000\.jpg: No space"):
        bulk.attempt(functools.partial(bulk_job.work, folder / "log", 0), task)


def test_urls_are_read_and_written(tmp_path):
    folder, output = files(tmp_path / "in", 3, "bad"), (tmp_path / "out").as_uri()
    tasks = find_tasks((folder).as_uri(), output, ["copy"])
    work = functools.partial(bulk_job.work, folder / "log", 0)
    done = [bulk.attempt(work, task) for task in tasks]
    expected_error = f"{folder.as_uri()}/bad.jpg: cannot be used"  # and not the name of its copy
    assert [each.error for each in done] == ["", "", "", expected_error]
    assert results(tmp_path / "out") == expected(folder, 3)
    assert bulk.without_existing(tasks) == [tasks[3]]
    missing = bulk.attempt(work, bulk.Task(f"{folder.as_uri()}/none.jpg", f"{output}/none.png"))
    assert "none.jpg" in missing.error


def test_messages_name_urls_and_not_local_copies(tmp_path, caplog):
    (tmp_path / "0.jpg").touch()
    task = bulk.Task((tmp_path / "0.jpg").as_uri(), (tmp_path / "out" / "0.png").as_uri())

    def warns(source, target):
        logging.getLogger("portrait.effects.photos").warning("%s: 100 %% empty", source)
        logging.getLogger("others").warning("%s", source)
        target.touch()

    def fails(source, target):
        raise WriteError(f"cannot write {target} from {source}: the disk is full")

    assert bulk.attempt(warns, task) == bulk.Done(task, "")
    ours, others = caplog.messages
    assert ours == f"{task.source}: 100 % empty" and others != task.source
    expected = f"^cannot write {task.target} from {task.source}: the disk is full$"
    with pytest.raises(WriteError, match=expected):
        bulk.attempt(fails, task)
    logging.getLogger("portrait").warning("%s", others)
    assert caplog.messages[-1] == others  # only during an attempt


def start(folder: Path, output: Path, cluster: str = "") -> subprocess.Popen:
    command = [SCRIPT, folder / "list.txt", output, folder / "log", "0.05", "2", cluster]
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests" / "helpers")])
    # Ray's sockets have names of at most 107 characters.
    env = os.environ | {"PYTHONPATH": paths, "RAY_TMPDIR": "/tmp"}
    return subprocess.Popen(
        [sys.executable, *command], env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def wait_for(condition, process: subprocess.Popen) -> None:
    end = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, process.stdout.read().decode()
        assert time.monotonic() < end
        time.sleep(0.01)


def workers_of(folder: Path) -> set[int]:
    """The worker processes that are still alive."""
    found = {int(path.name.split("-")[1]) for path in (folder / "log").iterdir()}
    return {process for process in found if Path(f"/proc/{process}").exists()}


def killed_and_continued(tmp_path: Path, cluster: str) -> None:
    """A worker is killed after 10 results, the program after 30; then the same command again."""
    folder, output = files(tmp_path / "in", 80, "bad"), tmp_path / "out"
    first = start(folder, output, cluster)
    wait_for(lambda: len(results(output)) >= 10, first)
    os.kill(workers_of(folder).pop(), signal.SIGKILL)
    wait_for(lambda: len(results(output)) >= 30, first)
    first.kill()
    first.wait()
    before = results(output)
    assert 30 <= len(before) < 80
    deadline = time.monotonic() + 60
    while workers_of(folder) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not workers_of(folder)  # no worker continues without the program
    again = start(folder, output, cluster)
    told = again.communicate(timeout=300)[0].decode()
    assert again.returncode == 0, told
    assert results(output) == expected(folder, 80)
    assert left_out(output) == ["bad.jpg"]
    there = len(results(output)) - int(told.split("made=")[1].split(",")[0])
    # Two workers may finish their current files; Ray's continue until Ray notices.
    assert len(before) <= there <= (80 if cluster else len(before) + 2)
    assert not [path for path in output.rglob("*") if path.name.startswith(".")]
    # At most the files in progress of the killed processes are done twice.
    twice = [number for number in range(80) if attempts(folder, f"{number:04}") > 1]
    assert len(twice) <= 2 + 2 * 2 + 16 * bool(cluster)


@pytest.mark.slow
def test_killed_in_the_middle_and_continued(tmp_path):
    killed_and_continued(tmp_path, "")


@needs_ray
@pytest.mark.slow
def test_killed_in_the_middle_and_continued_on_ray(tmp_path):
    killed_and_continued(tmp_path, "local")


@needs_ray
@pytest.mark.slow
def test_nothing_stays_of_a_failed_start_of_ray(monkeypatch):
    # In a process of its own, because Ray takes over signals.
    script = """
import ray
import psutil  # Ray brings it
from ray._private import services
from portrait.effects import bulk_ray

get_node = services.get_node
def failing(*_):
    services.get_node = get_node
    print("failed with", count())
    raise OSError

def count():
    names = [each.name() for each in psutil.Process().children(recursive=True)]
    return names.count("gcs_server"), names.count("raylet")

services.get_node = failing
bulk_ray._connect("local", 1)
print("started with", count())
"""
    monkeypatch.setenv("RAY_TMPDIR", "/tmp")  # names of sockets have at most 107 characters
    ended = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=600
    )
    assert ended.stdout.splitlines() == ["failed with (1, 1)", "started with (1, 1)"], ended.stderr


@pytest.mark.skipif(find_spec("ray") is not None, reason="Ray is installed")
def test_without_ray_the_command_that_works_is_told(tmp_path):
    folder = files(tmp_path / "in", 1)
    tasks = find_tasks(str(folder / "list.txt"), str(tmp_path / "out"), ["copy"])
    make = functools.partial(bulk_job.make, folder / "log", 0)
    with pytest.raises(UserError, match=r"requirements-cluster\.txt"):
        bulk.run(tasks, make, tmp_path / "out", 2, "auto")
