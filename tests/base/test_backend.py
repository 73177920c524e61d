"""Tests backends of Keras that are not installed."""

import os
import subprocess
import sys

import pytest
from project import ROOT

START = """
from portrait import backend, errors
try:
    backend.start_keras()
except errors.UserError as error:
    print(error)
"""


@pytest.mark.parametrize("name", ["jax", "nonsense"])
def test_a_missing_backend_is_one_line(tmp_path, name):
    """Makes the import of JAX fail, even if it is installed."""
    (tmp_path / "jax.py").write_text("raise ImportError('no JAX here')")
    paths = os.pathsep.join([str(tmp_path), str(ROOT)])
    done = subprocess.run(
        [sys.executable, "-c", START],
        env=os.environ | {"KERAS_BACKEND": name, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert name in done.stdout and len(done.stdout.splitlines()) == 1
