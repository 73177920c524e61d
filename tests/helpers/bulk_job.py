"""Work for bulk runs that tests can watch, interrupt and kill. A module, because it is pickled."""

import functools
import os
import signal
import time
from pathlib import Path

from portrait.io.decode import PictureError
from portrait.io.files import replacing


def work(log: Path, seconds: float, source: Path, target: Path) -> None:
    """Copies a file, slowly and in two parts, and writes its name into a folder of attempts.

    A source called bad... cannot be used; one called deadly... ends the process.
    """
    (log / f"{source.name}-{os.getpid()}-{time.monotonic_ns()}").touch()
    if source.name.startswith("bad"):
        raise PictureError(f"{source}: cannot be used")
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
