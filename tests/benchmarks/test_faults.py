"""Tests that killed commands leave no incomplete file, and that repeating them succeeds."""

import numpy as np
import pytest
from PIL import Image

from benchmarks.faults import Stage, Trial
from benchmarks.faults_jobs import half_files, jobs
from benchmarks.faults_wants import want


def test_half_files_are_found(tmp_path):
    Image.new("RGB", (40, 40)).save(tmp_path / "whole.png")
    np.savez(tmp_path / "whole.npz", a=np.zeros(100))
    (tmp_path / "whole.json").write_text("{}")
    (tmp_path / "whole.csv").write_text("a,b\n1,2\n")
    assert half_files(tmp_path) == []
    for path in list(tmp_path.iterdir()):
        half = path.read_bytes()[: -(path.stat().st_size // 3)]
        (tmp_path / f".hidden{path.suffix}").write_bytes(half)  # a temporary name
        path.with_stem("half").write_bytes(half)
    found = {line.partition(":")[0] for line in half_files(tmp_path)}
    assert found == {"half.png", "half.npz", "half.json", "half.csv"}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["prepare", "folder", "clip", "train"])
def test_killed_while_it_writes(tmp_path, name):
    job = jobs(tmp_path / "inputs")[name]
    stage = Stage(job.script)
    try:
        trial = Trial(name, job, stage, tmp_path / name)
        trial.kill(3)
    finally:
        stage.close()
    assert trial.wrong == []
    assert sum(trial.counts[each] for each in ("SIGKILL", "SIGTERM", "SIGINT")) == 3


@pytest.mark.slow
@pytest.mark.parametrize("lack", ["full stdout", "no home", "address space"])
@pytest.mark.parametrize("name", ["prepare", "folder", "train"])
def test_what_is_wanting_is_one_line(tmp_path, lack, name):
    assert want(lack, jobs(tmp_path / "inputs")[name], tmp_path / "run") == ""
