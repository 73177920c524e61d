"""Tests the counts, pictures and files of the benchmark of the baselines, with K-means."""

import json
from dataclasses import replace

import keras
import numpy as np
import pytest
import tiny_portraits
from PIL import Image

from benchmarks import baselines_bench
from portrait.errors import UserError
from portrait.io.images import write_png


def test_multiply_accumulates_by_hand():
    layers = keras.layers
    image = x = keras.Input((8, 6, 3))
    x = layers.Conv2D(4, 3, padding="same")(x)  # 8 x 6 places x 9 x 3 x 4
    x = layers.SeparableConv2D(5, 3, strides=2, padding="same")(x)  # 4 x 3 x (9 x 4 + 4 x 5)
    x = layers.DepthwiseConv2D(3, padding="same")(x)  # 4 x 3 x 9 x 5
    x = layers.Conv2DTranspose(2, 4, strides=2, padding="same")(x)  # 4 x 3 x 16 x 5 x 2
    expected = 48 * 108 + 12 * 56 + 12 * 45 + 12 * 160
    assert baselines_bench.count_macs(keras.Model(image, x)) == expected


def test_table():
    mean = dict.fromkeys(baselines_bench.COLUMNS, 0.5)
    result = {"mean": mean, "parameters": 1234567, "macs": 2_345_000_000, "milliseconds": 7.6}
    head, line, row = baselines_bench.format_table({"unet": result}).splitlines()
    assert head.startswith("| network | pixel acc. | mean acc. | mean IU | f.w. IU | ")
    assert line.count("|") == head.count("|") == row.count("|")
    assert row == f"| unet | {'50.00 | ' * 6}1,234,567 | 2.35 | 8 |"


def test_a_few_are_taken_evenly():
    assert baselines_bench.some(list(range(9)), 3) == [0, 4, 8]
    assert baselines_bench.some([1, 2], 3) == baselines_bench.some([1, 2], 0) == [1, 2]


def test_a_budget_of_pictures(tmp_path):
    for name, count in ("training", 6), ("testing", 5):
        tiny_portraits.write(tmp_path / "set" / name, count, (32, 32))
    budget = baselines_bench.Budget([str(tmp_path / "set")], pictures=4, test_pictures=2)
    bench = baselines_bench.Bench(tmp_path / "out", budget)
    assert [len(pairs) for pairs in bench.testing.values()] == [2]
    training, validation = bench.sequences((32, 32))
    assert len(training.images) + len(validation.images) == 4


def test_times_are_milliseconds(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(baselines_bench.time, "perf_counter", lambda: clock[0])

    def matte_fn(image):
        clock[0] += 0.25

    assert baselines_bench.milliseconds(matte_fn, [None, None]) == 250


def test_the_mean_is_over_the_pictures_of_all_sets(tmp_path):
    for name, count in (("one", 1), ("three", 3)):
        tiny_portraits.write(tmp_path / name / "testing", count, (64, 48), seed=count)
    budget = baselines_bench.Budget([str(tmp_path / name) for name in ("one", "three")])
    bench = baselines_bench.Bench(tmp_path / "out", budget)
    bench.do("kmeans")
    result = bench.result("kmeans")
    one, three = (result["sets"][folder]["person_iou"] for folder in budget.data)
    assert one != three
    assert result["mean"]["person_iou"] == pytest.approx((one + 3 * three) / 4)


def test_results_are_kept_and_not_mixed(tmp_path):
    for number, part in enumerate(("training", "testing")):
        tiny_portraits.write(tmp_path / "set" / part, 3, (64, 48), seed=number)
    budget = baselines_bench.Budget([str(tmp_path / "set")])
    bench = baselines_bench.Bench(tmp_path / "out", budget)
    assert bench.result("kmeans") is None
    bench.do("kmeans")
    table = bench.show(("kmeans", "fast_scnn"))
    assert "| kmeans |" in table and "fast_scnn" not in table
    assert (tmp_path / "out" / "table.md").read_text() == table
    assert bench.result("kmeans")["mean"]["person_iou"] > 0.5
    # Photo, matte and one network beside each other, three portraits in cells of 150 x 200.
    assert np.asarray(Image.open(tmp_path / "out" / "portraits.png")).shape == (640, 466, 3)
    write_png(tmp_path / "photos" / "one.png", np.full((40, 30, 3), 7, np.uint8))
    shown = replace(budget, portraits=str(tmp_path / "photos"))
    mine = baselines_bench.Bench(tmp_path / "mine", shown)
    mine.do("kmeans")
    mine.show(("kmeans",))
    assert np.asarray(Image.open(tmp_path / "mine" / "portraits.png")).shape == (232, 312, 3)
    result = tmp_path / "out" / "kmeans" / "result.json"
    older = json.loads(result.read_text())
    del older["budget"]["person_label"]  # as it was before this flag
    result.write_text(json.dumps(older))
    assert bench.result("kmeans") == older
    for changed in (replace(budget, epochs=3), replace(budget, person_label=["15"]), shown):
        other = baselines_bench.Bench(tmp_path / "out", changed)
        with pytest.raises(UserError, match=r"result\.json"):
            other.result("kmeans")


@pytest.mark.slow
def test_a_network_that_was_interrupted_goes_on(tmp_path):
    for number, part in enumerate(("training", "testing")):
        tiny_portraits.write(tmp_path / "set" / part, 6, (32, 32), seed=number)
    budget = baselines_bench.Budget([str(tmp_path / "set")], "32x32", epochs=2, batch_size=2)
    bench = baselines_bench.Bench(tmp_path / "out", budget)
    bench.do("fast_scnn")
    (run,) = (tmp_path / "out" / "fast_scnn").glob("*/run.json")
    history = (run.parent / "history.csv").read_text()
    result = tmp_path / "out" / "fast_scnn" / "result.json"
    first = json.loads(result.read_text())
    result.unlink()  # as if the benchmark had been killed during scoring
    bench.do("fast_scnn")
    # Except for the order of sums in two runs of a network.
    assert json.loads(result.read_text())["mean"] == pytest.approx(first["mean"], rel=1e-6)
    assert (run.parent / "history.csv").read_text() == history
