"""Tests benchmarks/effects.py on photographs of scikit-image."""

import subprocess
import sys

import numpy as np
import pytest
from project import ROOT

from portrait.data.sample.astronaut import matted_portrait
from portrait.data.sample.sample import sample_backgrounds
from portrait.io.images import write_png


@pytest.mark.slow
def test_tables(tmp_path):
    photo, _, alpha = matted_portrait()
    (tmp_path / "data" / "testing").mkdir(parents=True)
    write_png(tmp_path / "data" / "testing" / "1.png", photo[:, 40:376])
    write_png(
        tmp_path / "data" / "testing" / "1_matte.png", np.uint8(np.rint(255 * alpha[:, 40:376]))
    )
    for index, background in enumerate(sample_backgrounds()):
        write_png(tmp_path / "photos" / f"{index}.png", background)
    flags = [f"--data={tmp_path / 'data'}", f"--photos={tmp_path / 'photos'}"]
    result = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "effects.py", *flags],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert result.returncode == 0, result.stderr
    rows = {line[:32].strip(): line[32:].split() for line in result.stdout.splitlines()}
    halo = [float(rows[name][0]) for name in ("the picture's own colours", "multi-level (stills)")]
    assert halo[1] < halo[0] / 3
    # Boundary IoU and gradient error: each refinement is better than the one before.
    errors = np.float64([rows[name] for name in ("none", "guided", "closed_form")])
    assert (np.diff(errors[:, 1]) > 0).all() and (np.diff(errors[:, 3]) < 0).all()
    assert float(rows["as they are"][0]) > 0.9
    assert rows["portraits"] == ["0", "of", "1", "empty"]
    assert "%|" not in result.stderr  # no progress bars in a log file
