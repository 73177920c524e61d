"""The process that `fuzz.py` starts to read damaged files of one kind.

python benchmarks/fuzz_worker.py KIND SEED FIRST LAST PIPE    reads mutants
python benchmarks/fuzz_worker.py KIND SEED NUMBER FOLDER      writes a mutant to a folder
"""

import contextlib
import json
import logging
import os
import random
import resource
import sys
import tempfile
import time
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.fuzz_subjects import Subject, subjects
from portrait import cli
from portrait.errors import UserError

FINE = ("read", "refused")
_MOST_BYTES = 2_000_000_000
_ADDRESSES = 8_000_000_000  # limit of additional address space, to protect the computer


def mutant(subject: Subject, original: bytes, kind: str, seed: int, number: int) -> bytes:
    """Returns the damaged file with this number."""
    return subject.mutate(original, random.Random(f"{kind} {seed} {number}"))


def outcome(subject: Subject, path: Path, output: Path) -> tuple[str, str]:
    """Reads the file at `path`; returns one of the outcomes of `fuzz.py`, and details."""
    before, peak = _status("VmRSS"), 0
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    try:
        with _stderr() as written:
            try:
                subject.use(path, output)
                found = "read", ""
            except UserError as error:
                found = ("lines" if "\n" in str(error) else "refused"), str(error)
            except Exception as error:
                where = traceback.extract_tb(error.__traceback__)[-1]
                text = f"{type(error).__name__}: {error} ({where.filename}:{where.lineno})"
                found = ("refused" if cli.told(error) else "trace"), text
    finally:
        peak = _status("VmHWM") - before
    if found[0] in FINE and written[0]:
        found = "lines", written[0]
    if found[0] in FINE and peak > _MOST_BYTES:
        found = "memory", f"{peak / 1e9:.1f} GB"
    left = [each.name for each in output.iterdir()]
    if any(".part" in name for name in left) or (left and found[0] == "refused"):
        found = "half", ", ".join(left)
    return found


def _status(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


@contextlib.contextmanager
def _stderr():
    """Captures the stderr of the process; yields a list whose only item is the text."""
    written = [""]
    with tempfile.TemporaryFile() as file:
        kept = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            yield written
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
            file.seek(0)
            written[0] = file.read(2000).decode(errors="replace")


def work(kind: str, seed: int, first: int, last: int, answers: int) -> None:
    """Reads mutants, and writes a line for each to the pipe `answers`."""
    logging.disable(logging.CRITICAL)  # our own warnings are allowed
    subject = subjects()[kind]
    with tempfile.TemporaryDirectory() as folder, open(answers, "w", buffering=1) as pipe:
        path = Path(folder) / "in" / subject.file
        path.parent.mkdir()
        subject.make(path)
        original = path.read_bytes()
        with contextlib.suppress(UserError):  # imports modules before the limits are set
            subject.use(path, _empty(Path(folder) / "out"))
        resource.setrlimit(resource.RLIMIT_AS, (_status("VmSize") + _ADDRESSES, -1))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        pipe.write("ready\n")
        for number in range(first, last):
            path.unlink()  # HDF5 recognises files that it has not closed by their inode
            path.write_bytes(mutant(subject, original, kind, seed, number))
            begun = time.process_time()
            found = outcome(subject, path, _empty(Path(folder) / "out"))
            pipe.write(json.dumps([number, *found, time.process_time() - begun]) + "\n")


def keep(kind: str, seed: int, number: int, folder: Path) -> None:
    """Writes a mutant into a folder."""
    subject = subjects()[kind]
    with tempfile.TemporaryDirectory() as place:
        subject.make(Path(place) / subject.file)
        data = mutant(subject, (Path(place) / subject.file).read_bytes(), kind, seed, number)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{kind.replace(' ', '_')}_{number}_{subject.file}").write_bytes(data)


def _empty(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    for each in folder.iterdir():
        each.unlink()
    return folder


if __name__ == "__main__":
    kind, *numbers = sys.argv[1:]
    if len(numbers) == 4:
        work(kind, *map(int, numbers))
    else:
        keep(kind, int(numbers[0]), int(numbers[1]), Path(numbers[2]))
