"""Kills commands at random moments, and runs them without resources that they need.

python benchmarks/faults.py [--kills=120] [--jobs=train,convert,...] [--wants=...] [--seed=0]

Each job is killed (in turn by SIGKILL, SIGTERM and Ctrl-C) after it has begun to write, and started
again until it ends. Its result must then equal the result of an uninterrupted run. After each kill,
no incomplete file may have a final name, no process may be left, and no stack trace may be printed.

Then each job runs with a full disk, a full stdout, a read-only folder, without shared memory,
without a home folder, and with a limit of its address space (3 GB). It must print one line and exit
with status 1, or succeed. The full disk, the read-only folder and the missing shared memory need
the right to mount (`unshare`, root).
"""

import contextlib
import json
import os
import random
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from absl import flags

from benchmarks import faults_stage
from benchmarks.faults_jobs import Job, half_files, jobs
from benchmarks.faults_wants import PATIENCE, ROOT, WANTS, want
from portrait import cli
from portrait.errors import UserError
from portrait.util import aligned

FLAGS = flags.FLAGS
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
# Ctrl-C ends a process silently if it has done its work and Python is shutting down.
_INTERRUPTED = (130, 0, 1, -signal.SIGINT)
_LAST_WILL = 120  # seconds that processes may outlive their parent


class Stage:
    """A process that starts commands of one script; see `faults_stage`."""

    def __init__(self, script: str):
        self._process = subprocess.Popen(
            [sys.executable, faults_stage.__file__, script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"OMP_NUM_THREADS": "1", "TF_NUM_INTRAOP_THREADS": "1"},
        )
        self._text = b""
        self._ended: dict[int, int] = {}
        if not self._next(PATIENCE):
            raise UserError(f"{script}.py is not imported within {PATIENCE} s")

    def start(self, arguments: list[str], folder: Path) -> int:
        """Starts `SCRIPT ARGUMENTS` in a folder, with the output files `out` and `err`.

        Returns:
            The id of the process.
        """
        command = {"arguments": arguments, "folder": str(folder), "out": "out", "err": "err"}
        self._process.stdin.write(json.dumps(command).encode() + b"\n")
        self._process.stdin.flush()
        while "status" in (answer := self._next(PATIENCE)):
            self._ended[answer["pid"]] = answer["status"]
        return answer["pid"]

    def status(self, pid: int, seconds: float = 0.0) -> int | None:
        """Returns the exit status of a process (-N: signal N); None if it has not ended in time."""
        until = time.monotonic() + seconds
        while pid not in self._ended:
            left = max(until - time.monotonic(), 0)
            if (answer := self._next(left)) is None:
                return None
            self._ended[answer["pid"]] = answer["status"]
        return self._ended[pid]

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait()

    def _next(self, seconds: float) -> dict | None:
        while b"\n" not in self._text:
            if not select.select([self._process.stdout], [], [], seconds)[0]:
                return None
            part = os.read(self._process.stdout.fileno(), 1 << 16)
            if not part:
                raise UserError("the process that starts the jobs has ended")
            self._text += part
        line, _, self._text = self._text.partition(b"\n")
        return json.loads(line)


class Trial:
    """Runs one job, uninterrupted and killed, and records the faults.

    Attributes:
        counts: the numbers of kills by signal, and of faults by kind.
        wrong: a line for each fault.
    """

    def __init__(self, name: str, job: Job, stage: Stage, folder: Path, seed: int = 0):
        self.name, self.job, self.stage, self.folder = name, job, stage, folder
        self.counts: Counter[str] = Counter()
        self.wrong: list[str] = []
        self._random = random.Random(f"{name} {seed}")
        started = time.monotonic()
        (folder / "whole").mkdir(parents=True)
        self._run("whole", None)
        self.seconds = time.monotonic() - started
        self._expected = job.result(folder / "whole" / "output")

    def kill(self, kills: int) -> None:
        """Kills the job this many times, and lets it end."""
        broken, tries = 0, 0
        output = self._fresh()
        while broken < kills:
            hit = self._run("broken", SIGNALS[broken % len(SIGNALS)])
            broken, tries = broken + hit, tries + 1
            if not hit:  # the job ended before the signal
                self._compare(output)
                output = self._fresh()
            if tries > 5 * kills + 20:
                self._note("never hit", "the job ends too early")
                break
        self._run("broken", None)
        self._compare(output)

    def _fresh(self) -> Path:
        shutil.rmtree(self.folder / "broken", ignore_errors=True)
        (self.folder / "broken").mkdir(parents=True)
        return self.folder / "broken" / "output"

    def _run(self, place: str, signal_number: signal.Signals | None) -> bool:
        """Runs the job, and kills it if a signal is given; returns whether the signal hit it."""
        folder = self.folder / place
        output = folder / "output"
        before = _snapshot(output)
        pid = self.stage.start(self.job.next(output), folder)
        if signal_number is None:
            status = self.stage.status(pid, PATIENCE)
            if status is None:
                os.killpg(pid, signal.SIGKILL)
            text = (folder / "err").read_text(errors="replace")
            done = status == 0 or "is finished" in text
            if not done:
                self._note("failed", f"{place}: status {status}: {text[-300:]!r}")
            self._check(pid, output, folder)
            return False
        until = time.monotonic() + PATIENCE
        while (status := self.stage.status(pid, 0.01)) is None and _snapshot(output) == before:
            if time.monotonic() > until:
                break
        if status is None:
            status = self.stage.status(pid, self._random.expovariate(4 / max(self.seconds, 0.4)))
        hit = status is None
        if hit:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal_number)
            status = self.stage.status(pid, 60)
            self.counts[signal_number.name] += 1
            print(f"{self.name}: {self.counts.total()} kills and ends", flush=True)
            if status is None:
                self._note("hang", f"after {signal_number.name}")
                os.killpg(pid, signal.SIGKILL)
                self.stage.status(pid, 60)
            elif signal_number == signal.SIGINT and status not in _INTERRUPTED:
                self._note("status", f"{status} after Ctrl-C")
        self._check(pid, output, folder)
        return hit

    def _check(self, pid: int, output: Path, folder: Path) -> None:
        text = (folder / "err").read_text(errors="replace")
        if "Traceback" in text or text.count("error: ") > 1:
            self._note("trace", repr(text[-600:]))
        for half in half_files(output):
            self._note("half", half)
        until = time.monotonic() + _LAST_WILL
        while (left := _members(pid)) and time.monotonic() < until:
            time.sleep(0.05)
        if left:
            self._note("orphan", ", ".join(left))
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)

    def _compare(self, output: Path) -> None:
        self.counts["ends"] += 1
        try:
            found = self.job.result(output)
        except Exception as error:
            self._note("differs", f"{type(error).__name__}: {error}")
            return
        if found != self._expected:
            self._note("differs", f"{str(found)[:300]} is not {str(self._expected)[:300]}")

    def _note(self, kind: str, text: str) -> None:
        self.counts[kind] += 1
        self.wrong.append(f"{self.name}: {kind}: {text}")
        print(self.wrong[-1], flush=True)


def _snapshot(output: Path) -> dict[str, tuple[int, int]]:
    found = {}
    for path in output.rglob("*") if output.is_dir() else ():
        with contextlib.suppress(OSError):
            about = path.stat()
            found[str(path)] = (about.st_mtime_ns, about.st_size)
    return found


def _members(session: int) -> list[str]:
    """Returns the names of the living processes of a session."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            name, _, rest = path.read_text().rpartition(") ")
            state, _, _, its = rest.split()[:4]
            if int(its) == session and state != "Z":
                found.append(name.partition(" (")[2])
    return found


def run() -> None:
    """Runs all jobs and prints the tables."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        chosen = jobs(folder / "inputs")
        if unknown := set(FLAGS.jobs) - set(chosen):
            raise UserError(f"--jobs={min(unknown)}: the jobs are {', '.join(chosen)}")
        chosen = {each: chosen[each] for each in FLAGS.jobs or chosen}
        if "convert" in chosen:
            _weights(folder / "inputs")
        share = -(-FLAGS.kills // len(chosen))
        rows = [_killed(name, job, folder, share) for name, job in chosen.items() if share]
        names = list(dict.fromkeys(key for _, counts in rows for key in counts))
        table = [[name, *(str(counts[key]) for key in names)] for name, counts in rows]
        if rows:
            print("\n".join(aligned([["job", *names], *table])))
        for lack in FLAGS.wants:
            for name, job in chosen.items():
                wrong = want(lack, job, folder / lack.replace(" ", "_") / name)
                print(f"{lack}, {name}: {wrong or 'ok'}", flush=True)


def _killed(name: str, job: Job, folder: Path, kills: int) -> tuple[str, Counter]:
    stage = Stage(job.script)
    trial = Trial(name, job, stage, folder / name, FLAGS.seed)
    trial.kill(kills)
    stage.close()
    print(f"{name}: {dict(trial.counts)}", flush=True)
    return name, trial.counts


def _weights(inputs: Path) -> None:
    """Writes random weights for the job that converts."""
    script = (
        "import sys; from portrait.backend import start_keras; start_keras()\n"
        "from portrait.models.build import build\n"
        "build('mattingnet', (32, 32), 'small').save_weights(sys.argv[1])"
    )
    (inputs / "weights").mkdir()
    target = inputs / "weights" / "0001-0.5000.weights.h5"
    subprocess.run([sys.executable, "-c", script, target], check=True, cwd=ROOT)


if __name__ == "__main__":
    flags.DEFINE_boolean("run", True, "Run the benchmark.")
    flags.DEFINE_integer("kills", 120, "Number of kills over all jobs.", 0)
    flags.DEFINE_list("jobs", [], "Names of jobs. Default: all.")
    flags.DEFINE_list("wants", list(WANTS), "The resources to take away.")
    flags.DEFINE_integer("seed", 0, "Seed of the moments of the kills.")
    cli.run(run, ("run",))
