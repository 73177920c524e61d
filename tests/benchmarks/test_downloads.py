"""Tests the table of downloads with files whose scores are known."""

import numpy as np
import tiny_tflite
from PIL import Image

from benchmarks import downloads
from benchmarks.side_by_side import from_network
from portrait.data.pairs import find_pairs
from portrait.inference.network import from_tflite

SIZE = (32, 24)


def test_forms_of_a_network_share_its_scores(tmp_path):
    matte = np.zeros(SIZE, np.uint8)
    matte[8:28, 4:20] = 255
    data = tmp_path / "desk"
    data.mkdir()
    Image.fromarray(np.dstack([matte, matte, matte])).save(data / "0.png")
    Image.fromarray(matte).save(data / "0_matte.png")
    folder = tmp_path / "models" / "red"
    folder.mkdir(parents=True)
    red = tiny_tflite.convolution(SIZE)
    (folder / "red_float16.tflite").write_bytes(red)
    (folder / "red_rgba_float16.tflite").write_bytes(
        tiny_tflite.convolution(SIZE, (*tiny_tflite.RED, 0))
    )
    (folder / "red_float32.mlpackage.zip").write_bytes(bytes(1_500_000))
    (folder / "red.weights.h5").write_bytes(b"no file for phones")
    (folder.parent / "refiner").mkdir()
    (folder.parent / "refiner" / "refiner_float16.tflite").write_bytes(b"needs a coarse alpha")
    datasets = {"desk": find_pairs([str(data)], "testing")}
    peer = from_network(from_tflite(red, "peer"))
    _, *rows = downloads.rows(folder.parent, datasets, peer, 1, False)
    assert [(row[0].split("`")[1], *row[2:5]) for row in rows] == [
        ("red_rgba_float16.tflite", "32 x 24", "0.0", "1.000 / 1.000"),
        ("red_float16.tflite", "32 x 24", "0.0", "1.000 / 1.000"),
        ("red_float32.mlpackage.zip", "32 x 24", "1.5", "1.000 / 1.000"),
    ]
    assert [row[5] == "-" for row in rows] == [False, False, True]  # Core ML is not timed
