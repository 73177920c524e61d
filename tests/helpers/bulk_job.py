"""Work for bulk runs that tests can watch, interrupt and kill. A module, because it is pickled."""

import functools
import os
import signal
import time
from pathlib import Path

from portrait.io.decode import PictureError
from portrait.io.files import WriteError, replacing


def work(log: Path, seconds: float, source: Path, target: Path) -> None:
    """Copies a file, slowly and in two parts, and writes its path into a folder of attempts.

    A source called bad... cannot be used; huge... needs too much memory; for full... there is no
    space on the disk; deadly... ends the process.
    """
    (log / f"{source.name}-{os.getpid()}-{time.monotonic_ns()}").write_text(str(source))
    if source.name.startswith("bad"):
        raise PictureError(f"{source}: cannot be used")
    if source.name.startswith("huge"):
        raise MemoryError("Unable to allocate 5.6 GiB")
    if source.name.startswith("full"):
        raise WriteError(f"cannot write {target}: No space left on device")
    if source.name.startswith("deadly"):
        os.kill(os.getpid(), signal.SIGKILL)
    contents = source.read_bytes()
    with replacing(target) as path, open(path, "wb") as file:
        file.write(contents[: len(contents) // 2])
        file.flush()
        time.sleep(seconds)
        file.write(contents[len(contents) // 2 :])


def make(log: Path, seconds: float):
    return functools.partial(work, log, seconds)


if __name__ == "__main__":
    import sys

    from portrait.effects.bulk import run
    from portrait.effects.bulk_tasks import find_tasks

    source, output, log, seconds, workers, cluster = sys.argv[1:]
    tasks = find_tasks(source, output, ["copy"])
    job = functools.partial(make, Path(log), float(seconds))
    print(run(tasks, job, output, int(workers), cluster))
