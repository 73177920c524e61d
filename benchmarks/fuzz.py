"""Damages files of every kind that the project reads, and checks how the project handles them.

python benchmarks/fuzz.py [--mutants=10000] [--seed=0] [--kinds=mp4,tiff] [--first=0]

An unusable file must be refused with an error of one line. Each kind is read in a separate process,
with limits of time and memory. The table counts these outcomes:

    read, refused   correct: the file was used, or refused with a UserError of one line
    trace           any other exception
    lines           an error of several lines, or output of a library on stderr
    hang            no result after --seconds of CPU time, or ten times as many seconds in all
    killed          the process ended unexpectedly, such as by a signal
    memory          the process needed more than 2 GB in addition
    half            a temporary file or an unreadable result was left

Every wrong outcome is listed with its kind and number: `--kinds=KIND --first=NUMBER --mutants=1`
repeats it, and `--keep=DIR` stores the file.
"""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from absl import flags

from benchmarks import fuzz_worker
from benchmarks.fuzz_subjects import subjects
from benchmarks.fuzz_worker import FINE
from portrait import cli
from portrait.errors import UserError
from portrait.util import aligned

FLAGS = flags.FLAGS
OUTCOMES = (*FINE, "trace", "lines", "hang", "killed", "memory", "half")
_START_S = 60.0  # of CPU time, to import TensorFlow
_WAITING = 10  # limit of the elapsed time, as a multiple of the limit of CPU time

if __name__ == "__main__":
    flags.DEFINE_boolean("run", True, "Run the benchmark.")
    flags.DEFINE_integer("mutants", 10_000, "Damaged files over all kinds.", 1)
    flags.DEFINE_integer("seed", 0, "Seed of the damage.")
    flags.DEFINE_list("kinds", [], "Kinds of files. Default: all.")
    flags.DEFINE_integer("first", 0, "The number of the first mutant of each kind.", 0)
    flags.DEFINE_float("seconds", 30.0, "The longest CPU time for a mutant.", 1)
    flags.DEFINE_string("keep", "", "A folder for the files with wrong outcomes.")


def watch(kind: str, first: int, last: int):
    """Yields (number, outcome, text, seconds) of mutants; restarts processes that end early."""
    number = first
    while number < last:
        for answer in _answers(kind, number, last):
            yield answer
            number = answer[0] + 1


def _answers(kind: str, first: int, last: int):
    """Yields the results of one process; the last one reports how it ended if it did not finish."""
    reads, writes = os.pipe()
    numbers = map(str, (FLAGS.seed, first, last, writes))
    process = subprocess.Popen(
        [sys.executable, fuzz_worker.__file__, kind, *numbers],
        pass_fds=[writes],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    os.close(writes)
    number, ready, end = first, False, ""
    try:
        for line in _lines(reads, process.pid):
            if line == "ready":
                ready = True
            else:
                yield tuple(json.loads(line))
                number += 1
    except TimeoutError:
        end = "hang"
    finally:
        os.close(reads)
        if end:
            os.killpg(process.pid, signal.SIGKILL)
        told = process.communicate()[1].decode(errors="replace").strip()
    if not ready:
        raise UserError(f"the process for {kind} does not start: {told[-500:]}")
    if number < last:
        text = f"exit status {process.returncode}; {told[-200:]}"
        yield number, end or "killed", text, FLAGS.seconds


def _lines(pipe: int, process: int):
    """Yields the lines of a pipe until it is closed.

    Raises:
        TimeoutError: the process computed or waited too long without writing a line.
    """
    text, seconds = b"", _START_S
    used, begun = _cpu(process), time.monotonic()
    while True:
        if select.select([pipe], [], [], 1)[0]:
            if not (part := os.read(pipe, 1 << 16)):
                return
            *lines, text = (text + part).split(b"\n")
            yield from (line.decode() for line in lines)
            used, begun, seconds = _cpu(process), time.monotonic(), FLAGS.seconds
        elif _cpu(process) - used > seconds or time.monotonic() - begun > _WAITING * seconds:
            raise TimeoutError


def _cpu(process: int) -> float:
    """Returns the CPU time of a process in seconds."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def run() -> None:
    """Runs all kinds and prints the table."""
    kinds = FLAGS.kinds or list(subjects())
    if unknown := set(kinds) - set(subjects()):
        raise UserError(f"--kinds={min(unknown)}: the kinds are {', '.join(subjects())}")
    share = -(-FLAGS.mutants // len(kinds))
    counts: dict[str, Counter] = defaultdict(Counter)
    slowest: dict[str, float] = defaultdict(float)
    for kind in kinds:
        for number, found, text, seconds in watch(kind, FLAGS.first, FLAGS.first + share):
            counts[kind][found] += 1
            slowest[kind] = max(slowest[kind], seconds)
            if found not in FINE:
                print(f"{kind} {number}: {found}: {text[:300]!r}", flush=True)
                _keep(kind, number)
        print(f"{kind}: {dict(counts[kind])}, slowest {slowest[kind]:.1f} s", flush=True)
    counts["all"] = sum(counts.values(), Counter())
    slowest["all"] = max(slowest.values())
    rows = [
        [kind, *(str(count[each]) for each in OUTCOMES), f"{slowest[kind]:.1f}"]
        for kind, count in counts.items()
    ]
    print("\n".join(aligned([["kind", *OUTCOMES, "slowest s"], *rows])))


def _keep(kind: str, number: int) -> None:
    if FLAGS.keep:
        command = [sys.executable, fuzz_worker.__file__, kind, str(FLAGS.seed), str(number)]
        subprocess.run([*command, FLAGS.keep], stderr=subprocess.DEVNULL)


if __name__ == "__main__":
    cli.run(run, ("run",))
