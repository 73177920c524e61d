"""Python in a process of its own, for command lines whose flags are called as main.py's."""

import os
import subprocess
import sys

from project import ROOT


def python(*arguments, folder=None) -> subprocess.CompletedProcess:
    """Runs `python ARGUMENTS` in `folder`, with the project's modules, and keeps what it writes."""
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        timeout=300,
    )
