"""benchmarks/video_alpha.py on a drawn person, with networks that take red for people."""

import subprocess
import sys

import numpy as np
import pytest
import tiny_tflite
from PIL import Image, ImageDraw
from project import ROOT

from portrait.io.images import write_png


@pytest.mark.slow
def test_the_table(tmp_path):
    person = Image.new("RGBA", (300, 240))
    ImageDraw.Draw(person).rectangle((80, 40, 220, 239), (255, 0, 0, 255))
    (tmp_path / "people").mkdir()
    person.save(tmp_path / "people" / "1.png")
    write_png(tmp_path / "wall.png", np.full((120, 200, 3), (0, 60, 90), np.uint8))
    models = tmp_path / "red.tflite", tmp_path / "red_video.tflite"
    models[0].write_bytes(tiny_tflite.convolution((64, 48)))
    kernel = (*tiny_tflite.RED, 0)
    models[1].write_bytes(tiny_tflite.convolution((64, 48), kernel, name="selfie_net_video_big"))
    flags = {
        "cutouts": tmp_path / "people",
        "photos": tmp_path / "wall.png",
        "people": "0",
        "model": ",".join(map(str, models)),
        "clips": "slow,still",
        "frames": 4,
        "sheet": tmp_path / "sheet.png",
    }
    command = [sys.executable, ROOT / "benchmarks" / "video_alpha.py"]
    command += [f"--{name}={value}" for name, value in flags.items()]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    rows = [line.split() for line in ended.stdout.splitlines()[1:]]
    assert [row[0] for row in rows] == ["slow"] * 8 + ["still"] * 10
    assert [row[1] for row in rows[:8]] == [f"{models[0]}:"] * 3 + [f"{models[1]}:"] * 5
    # This one does not look at the alpha before, so its scores are the same with it and without.
    assert rows[3][-3:-1] == rows[6][-3:-1] and rows[4][-3:-1] == rows[7][-3:-1]
    # A network that is right gives alphas that are nearly right: MAD x1e3, dtSSD.
    for row in rows:
        assert float(row[-3]) < 12 and float(row[-2]) < 12
    assert Image.open(tmp_path / "sheet.png").size == (8 * 240, 18 * 180)
