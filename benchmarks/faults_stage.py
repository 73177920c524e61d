"""Runs commands of one script in forked processes, without importing TensorFlow each time.

python benchmarks/faults_stage.py SCRIPT

Reads a line of JSON for each command from stdin: `arguments`, `folder`, and the files `out` and
`err`. Writes {"pid": N} when the command has started and {"pid": N, "status": M} when it has ended.
"""

import importlib
import json
import os
import select
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

_MODULES = {
    "main": ("train", "use", "settings"),
    "stylize": ("style_flags",),
    "prepare_data": ("prepare",),
    "apply": ("apply",),
}


def stage(script: str) -> None:
    """Starts commands until stdin is closed."""
    module = importlib.import_module(script)
    for name in _MODULES[script]:
        importlib.import_module(f"portrait.commands.{name}")
    if script in ("main", "stylize"):
        from portrait.backend import start_keras

        start_keras()  # nothing is computed yet, so there are no threads that a fork would lose
    living, waiting = set(), b""
    print(json.dumps({"ready": True}), flush=True)
    while True:
        if select.select([0], [], [], 0.02)[0]:
            if not (part := os.read(0, 1 << 16)):
                return
            *lines, waiting = (waiting + part).split(b"\n")
            for line in lines:
                if not (pid := os.fork()):
                    _begin(script, **json.loads(line))
                    from portrait import cli

                    cli.run(module.dispatch, module.VERBS)
                    return
                living.add(pid)
                print(json.dumps({"pid": pid}), flush=True)
        for pid in list(living):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                living.remove(pid)
                code = os.waitstatus_to_exitcode(status)
                print(json.dumps({"pid": pid, "status": code}), flush=True)


def _begin(script: str, arguments: list[str], folder: str, out: str, err: str) -> None:
    os.setsid()
    os.chdir(folder)
    for number, name in ((0, os.devnull), (1, out), (2, err)):
        handle = os.open(name, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        os.dup2(handle, number)
    sys.argv = [f"{script}.py", *arguments]


if __name__ == "__main__":
    stage(sys.argv[1])
