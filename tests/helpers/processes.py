"""Runs Python in a separate process, for scripts with flags of the same names as main.py's."""

import os
import subprocess
import sys

from project import ROOT


def python(*arguments, folder=None, given: str | None = None) -> subprocess.CompletedProcess:
    """Runs `python ARGUMENTS` in `folder`, with the project's modules, and keeps what it writes.

    Args:
        arguments: of Python.
        folder: to run in; by default where the tests run.
        given: what it reads from stdin.
    """
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=folder,
        input=given,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests/helpers")])},
        timeout=300,
    )
