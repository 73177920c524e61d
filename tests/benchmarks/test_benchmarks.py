"""Tests that benchmarks report errors in one line, and that their help is quick."""

import subprocess
import sys

import pytest
from project import ROOT


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "arguments", "named"),
    [
        ("video", ["--clip=gone.mp4"], "gone.mp4"),
        ("video_alpha", ["--cutouts=gone", "--photos=gone.jpg"], "gone"),
        ("training_step", ["--networks=foo"], "'foo'"),
        ("input_pipeline", ["--data=gone"], "gone"),
        ("loaders", ["--data=gone"], "gone"),
        ("style_video", ["--clips=gone.mp4"], "gone.mp4"),
        ("style", ["--photo=gone.jpg", "--painting=gone.jpg"], "gone.jpg"),
    ],
)
def test_errors_are_one_line(name, arguments, named, tmp_path):
    command = [sys.executable, ROOT / "benchmarks" / f"{name}.py", *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert ended.returncode == 1
    assert ended.stderr.startswith("error: ") and named in ended.stderr
    assert ended.stderr.count("\n") == 1
