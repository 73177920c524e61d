"""Runs jobs of `faults.py` without a resource that they need."""

import os
import subprocess
import sys
from pathlib import Path

from benchmarks.faults_jobs import Job, half_files

ROOT = Path(__file__).resolve().parent.parent
PATIENCE = 3600
"""Seconds for any step, on a busy computer."""
WANTS = {
    "full disk": (1,),
    "full stdout": (1,),
    "read-only folder": (1,),
    "no shared memory": (0,),
    "no home": (0,),
    "address space": (0, 1),
}
"""The statuses with which a command may exit, by the resource that is missing."""

_IN_MOUNT = 'mount -t tmpfs -o {options} none "$1" && shift && "$@"; code=$?; {after}; exit $code'


def want(name: str, job: Job, folder: Path, kilobytes: int = 12) -> str:
    """Runs a job without a resource; returns a description of the fault, or an empty text."""
    (folder / "output").mkdir(parents=True)
    command = [sys.executable, str(ROOT / f"{job.script}.py"), *job.next(folder / "output")]
    env, stdout = dict(os.environ), subprocess.PIPE
    if name == "full disk":
        keep = f'cp -a "{folder}/output/." "{folder}/kept"'
        command = _mounted(folder / "output", command, f"size={kilobytes}k", keep)
    elif name == "read-only folder":
        command = _mounted(folder / "output", command, "ro,size=4k")
    elif name == "no shared memory":
        command = _mounted(Path("/dev/shm"), command, "ro,size=4k")
    elif name == "no home":
        env = {k: v for k, v in env.items() if k != "HOME"} | {"HOME": "/nonexistent"}
    elif name == "address space":
        command = ["prlimit", "--as=3000000000", *command]
    else:
        stdout = open("/dev/full", "w")  # noqa: SIM115
    try:
        ended = subprocess.run(
            command, stdout=stdout, stderr=subprocess.PIPE, text=True, timeout=PATIENCE,
            env=env, cwd=folder, start_new_session=True,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return "it hangs"
    lines = [line for line in ended.stderr.splitlines() if line.startswith("error: ")]
    if "Traceback" in ended.stderr or ended.returncode not in WANTS[name]:
        return f"status {ended.returncode}: {ended.stderr[-400:]!r}"
    if ended.returncode and len(lines) != 1:
        return f"not one line: {ended.stderr[-400:]!r}"
    half = half_files(folder / ("kept" if name == "full disk" else "output"))
    return "; ".join(half)


def _mounted(place: Path, command: list[str], options: str, after: str = ":") -> list[str]:
    script = _IN_MOUNT.format(options=options, after=after)
    return ["unshare", "-m", "sh", "-c", script, "sh", str(place), *command]
