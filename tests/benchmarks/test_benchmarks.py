"""Tests that benchmarks report errors in one line, and that their help is quick."""

import subprocess
import sys

import pytest
from PIL import Image
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
    _one_line(command, named, tmp_path)


def _one_line(command, named, folder):
    ended = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    assert ended.returncode == 1
    assert ended.stderr.startswith("error: ") and named in ended.stderr
    assert ended.stderr.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize("contents", [[], [b"no picture"], [b"no picture", b"nor this"], [None]])
def test_photographs_without_a_rate_are_one_line(contents, tmp_path):
    (tmp_path / "photos").mkdir()
    for number, each in enumerate(contents):
        path = tmp_path / "photos" / f"{number}.png"
        if each is None:
            Image.new("RGB", (32, 32)).save(path)
        else:
            path.write_bytes(each)
    command = [sys.executable, ROOT / "benchmarks" / "bulk.py", "--photos=photos", "--workers=1"]
    _one_line(command, "photos", tmp_path)
