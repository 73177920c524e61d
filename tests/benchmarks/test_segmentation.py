"""Tests the comparison of models: other `.tflite` files, costs counted by hand, the report."""

import json
import subprocess
import sys
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
import tiny_network
import tiny_tflite
from PIL import Image
from project import ROOT

from benchmarks import segmentation_report, side_by_side
from benchmarks.side_by_side import count_macs, count_parameters, from_network, open_model
from portrait.data.pairs import find_pairs
from portrait.errors import UserError
from portrait.evaluation.cases import FALSE, MISSED
from portrait.evaluation.evaluate import evaluate
from portrait.export import tflite
from portrait.inference.network import from_tflite, shipped_files
from portrait.models.build import for_inference
from portrait.models.weights import SHIPPED
from portrait.tflite.metadata import stated_normalization

SIZE = (32, 24)


@pytest.fixture(scope="module")
def red() -> bytes:
    """A model without metadata whose alpha is the red channel of its input."""
    return tiny_tflite.convolution(SIZE, (1, 0, 0), stated=False)


@pytest.fixture(scope="module")
def green() -> bytes:
    return tiny_tflite.convolution(SIZE, (0, 1, 0), stated=False)


@pytest.fixture
def desk(tmp_path):
    """Twelve pictures whose red channel is the matte, and whose green one lacks its left part."""
    folder = tmp_path / "desk"
    folder.mkdir()
    for number in range(12):
        matte = np.zeros(SIZE, np.uint8)
        matte[8:28, 4:20] = 255
        photo = np.dstack([matte, matte, matte])
        photo[:, : 4 + number, 1] = 0
        Image.fromarray(photo).save(folder / f"{number:02}.png")
        Image.fromarray(matte).save(folder / f"{number:02}_matte.png")
    return folder


def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)


@pytest.mark.parametrize("kind", [tf.uint8, tf.int8])
def test_quantised_models_take_bytes(kind):
    """The range of pixel values: here 0..1."""
    image = keras.Input((*SIZE, 3), batch_size=1)
    convolution = keras.layers.Conv2D(1, 1)
    model = keras.Model(image, convolution(image))
    convolution.set_weights([np.eye(3)[0].reshape(1, 1, 3, 1), np.zeros(1)])
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    scale = np.linspace(0, 1, np.prod(SIZE) * 3, dtype=np.float32).reshape(1, *SIZE, 3)
    converter.representative_dataset = lambda: iter([[scale]])
    converter.inference_input_type = kind
    alpha = from_tflite(converter.convert(), "bytes").matte(picture())
    np.testing.assert_allclose(alpha, picture()[..., 0] / 255, atol=0.01)


def test_our_own_files_say_what_they_take():
    network = for_inference(tiny_network.build(SIZE), channels=4)
    file = tflite.convert(network, "float32")
    assert stated_normalization(file, "small") == (0, 1)
    alpha = from_tflite(file, "ours").matte(picture())
    rgba = np.dstack([picture(), np.zeros(SIZE)])[np.newaxis].astype(np.float32)
    np.testing.assert_allclose(alpha, np.asarray(network(rgba))[0, ..., 0], atol=1e-5)


def test_costs_by_hand():
    image = keras.Input((8, 8, 3), batch_size=1)
    x = keras.layers.Conv2D(4, 3, strides=2, padding="same")(image)  # 16 places, 108 weights
    x = keras.layers.DepthwiseConv2D(3, padding="same")(x)  # 16 places, 36 weights
    x = keras.layers.Conv2DTranspose(1, 2, strides=2)(x)  # from 16 places, 16 weights
    model = keras.Model(image, x)
    # Biases of zeros would be stored once for all layers.
    random = np.random.default_rng(0)
    model.set_weights([random.normal(size=each.shape) for each in model.get_weights()])
    file = tf.lite.TFLiteConverter.from_keras_model(model).convert()
    assert count_macs(file) == 16 * (108 + 36 + 16)
    assert count_parameters(file) == 108 + 4 + 36 + 4 + 16 + 1


def test_half_precision_weights_count_once():
    network = for_inference(tiny_network.build())
    single, half = (tflite.convert(network, kind) for kind in ("float32", "float16"))
    assert len(half) < len(single)
    assert count_parameters(half) == count_parameters(single)
    assert count_macs(half) == count_macs(single)


def test_a_path_may_hold_an_equals_sign(tmp_path, red):
    path = tmp_path / "lr=0.001" / "red.tflite"
    path.parent.mkdir()
    path.write_bytes(red)
    for text, name in ((str(path), "red"), (f"mine={path}", "mine")):
        assert open_model(text, "0..1").name == name


def test_what_is_no_segmenter(tmp_path):
    for text in (f"{tmp_path}/none.tflite", "mine=some.weights.h5", "unet"):
        with pytest.raises(UserError, match=text.partition("=")[2] or text):
            open_model(text, "0..1")


def test_models_are_timed_in_turn(monkeypatch):
    """Each run follows an untimed one, and is compared round by round."""
    order, clock = [], [0.0]
    monkeypatch.setattr(side_by_side.time, "perf_counter", lambda: clock[0])

    def fake(name: str, *seconds: float):
        runs = iter([each for second in seconds for each in (50.0, second)])

        def invoke():
            order.append(name)
            clock[0] += next(runs)

        return SimpleNamespace(name=name, invoke=invoke)

    first, second = side_by_side.latencies([fake("a", 1, 2, 4), fake("b", 3, 8, 4)], rounds=3)
    assert order == list("aabb") * 3
    assert first == pytest.approx({"median": 2e3, "low": 1.5e3, "high": 3e3, "relative": 1})
    # 3 / 1, 8 / 2, 4 / 4: their median is 3, where that of the medians would be 4 / 2.
    assert second == pytest.approx({"median": 4e3, "low": 3.5e3, "high": 6e3, "relative": 3})


def test_a_sheet_shows_the_largest_gains_and_losses(red, green, desk):
    """Against green, red gains more with each picture, because green misses a wider part."""
    files = (red, "red"), (green, "green")
    opened = [from_network(from_tflite(file, name, "0..1")) for file, name in files]
    pairs = {pair.image: pair for pair in find_pairs([desk], "testing")}
    report = side_by_side.compare(opened, {"desk": list(pairs.values())}, rounds=1)
    first, second = (model["pictures"] for model in report["models"])
    assert segmentation_report.largest_differences(second, first, 3) == ([11, 10, 9], [])
    assert segmentation_report.largest_differences(first, second, 2) == ([], [11, 10])
    sheet = segmentation_report.sheet(report, opened, pairs, 1, 4)
    # Panels photograph, matte, red, green: 157 pixels wide with 6 between them, from 28 on. The
    # legend above has the colours, too.
    missed, false = ((sheet[74:] == colour).all(axis=2) for colour in (MISSED, FALSE))
    assert set((np.flatnonzero(missed.any(axis=0)) - 28) // 163) == {3} and not false.any()
    # With four rows of 210 pixels, each with a caption of 30, and a margin.
    assert sheet.shape == (74 + 4 * 240 + 28, 28 + 4 * 163 - 6 + 28, 3)


def test_no_sheet_without_differences(red, desk):
    opened = [from_network(from_tflite(red, "red", "0..1"), name) for name in ("one", "same")]
    pairs = find_pairs([desk], "testing")
    report = side_by_side.compare(opened, {"desk": pairs}, rounds=1)
    assert segmentation_report.sheet(report, opened, {p.image: p for p in pairs}, 1, 4) is None
    with pytest.raises(UserError, match="one"):
        side_by_side.compare([opened[0], opened[0]], {"desk": pairs}, rounds=1)


def test_a_blank_picture_is_neither_gain_nor_loss():
    theirs = [{"blank": True}, {"blank": False, "person_iou": 0.5}, {"blank": True}]
    ours = [{"blank": True}, {"blank": False, "person_iou": 0.25}, {"blank": True}]
    assert segmentation_report.largest_differences(theirs, ours, 9) == ([], [1])


def test_the_plot_is_hollow_where_a_model_was_trained():
    model = {"bytes": 2_000_000, "latency_ms": {"relative": 2.0}, "trained_on": ["garden"]}
    means = {"desk": (0.9, 0.8), "garden": (0.7, 0.6)}
    sets = {
        name: {"mean": dict(zip(("person_iou", "boundary_iou"), ious, strict=True))}
        for name, ious in means.items()
    }
    figure = segmentation_report.plot(
        {"models": [model | {"name": "net", "sets": sets | {"blank": {"mean": None}}}]}
    )
    dots = [axes.collections[0] for axes in figure.axes]
    points = [each.get_offsets()[0].tolist() for each in dots]
    assert points == [[2, 0.9], [2, 0.7], [2, 0.8], [2, 0.6]]
    assert [len(each.get_facecolors()) for each in dots] == [1, 0, 1, 0]


def test_a_table_by_hand():
    model = {
        "name": "net",
        "input_shape": (64, 48),
        "bytes": 1_234_567,
        "parameters": 7654,
        "macs": 98_760_000,
        "latency_ms": {"median": 2.0, "low": 1.5, "high": 3.0, "relative": 0.5},
        "trained_on": ["garden"],
        "sets": {
            "desk": {"pictures": 3, "mean": dict.fromkeys(segmentation_report.SHOWN, 0.01234)}
        },
    }
    _, costs, _, _, scores = segmentation_report.table({"models": [model]}).splitlines()
    assert costs.split() == ["net", "64x48", "1235", "7,654", "98.8", "2.00", "1.50..3.00", "0.50"]
    # MAD in thousandths, other scores unscaled.
    assert scores.split() == ["desk", "net", "3", "0.0123", "0.0123", "0.0123", "12.34", "0.0123"]


def test_leads_are_told_with_their_standard_errors():
    rows = [
        {"set": name, "blank": blank, **dict.fromkeys(segmentation_report.SHOWN, iou)}
        for name, blank, iou in (
            ("a", False, 0.5),
            ("a", False, 0.7),
            ("a", True, 0.0),
            ("b", False, 0.9),
        )
    ]
    better = [
        row | {"person_iou": row["person_iou"] + gain}
        for row, gain in zip(rows, (0.1, 0.3, 9, 0), strict=True)
    ]
    models = [
        {"name": name, "sets": {"a": {}, "b": {}}, "pictures": pictures, "trained_on": ["b"]}
        for name, pictures in (("peer", rows), ("ours", better))
    ]
    head, first, second = segmentation_report.leads({"models": models})
    assert head[:3] == ("data set", "minus peer", "pictures")
    assert first[:5] == ("a", "ours", "2", "+0.2000 ± 0.1000", "+0.0000 ± 0.0000")
    assert second[:4] == ("b", "ours *", "1", "-")


def test_the_sets_of_a_training_are_read_beside_the_model(tmp_path, green):
    flags = {"model": "fast_scnn", "data": ["/elsewhere/desk", "data/garden/"]}
    (tmp_path / "run.json").write_text(json.dumps({"flags": flags}))
    (tmp_path / "green.tflite").write_bytes(green)
    for source in (tmp_path, tmp_path / "green.tflite", f"mine={tmp_path}"):
        assert side_by_side.trained_sets(str(source)) == ["desk", "garden"]
    assert side_by_side.trained_sets(str(tmp_path.parent / "theirs.tflite")) == []


def test_shipped_networks_say_what_they_were_trained_on():
    for name in shipped_files():
        assert "selfies" in side_by_side.trained_sets(name), name


def test_command_line_without_tensorflow(red, green, desk, tmp_path):
    (tmp_path / "green.tflite").write_bytes(green)
    (tmp_path / "red.tflite").write_bytes(red)
    script = (
        "import runpy, sys\n"
        "try: runpy.run_path(sys.argv.pop(1), run_name='__main__')\n"
        "except SystemExit as end: assert not end.code\n"
        "assert 'tensorflow' not in sys.modules and 'keras' not in sys.modules\n"
    )
    benchmark = ROOT / "benchmarks" / "segmentation.py"
    arguments = [
        f"--models={tmp_path}/green.tflite,same={tmp_path}/green.tflite,{tmp_path}/red.tflite",
        *(f"--data={desk}", f"--output={tmp_path}/out", "--input_range=0..1", "--rounds=2"),
    ]
    command = [sys.executable, "-c", script, benchmark, *arguments]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    names = {"segmentation.json", "segmentation.png", "red_against_green.png"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == names
    report = json.loads((tmp_path / "out" / "segmentation.json").read_text())
    model = from_tflite(green, "green", "0..1")
    expected = evaluate(model.matte, {"desk": find_pairs([desk], "testing")}, tmp_path / "e")
    assert [entry["name"] for entry in report["models"]] == ["green", "same", "red"]
    means = [entry["sets"]["desk"]["mean"] for entry in report["models"][:2]]
    assert means == 2 * [pytest.approx(expected["sets"]["desk"]["mean"], abs=1e-6)]
    assert report["rounds"] == 2
    assert "desk      green" in result.stdout
    assert "same" in result.stdout.partition("minus green")[2]


def test_weights_run_as_a_file_of_the_size_that_is_given():
    network = open_model(f"mine={SHIPPED / 'fast_scnn'}", input_shape=(64, 96))
    assert network.name == "mine"
    assert network.input_shape == (64, 96)


def test_the_peer_scores_what_it_was_seen_to_score(portrait_data):
    """MediaPipe's selfie model, as another script measured it: 0.8553, 0.9036, 0.6415.

    That script shrank pictures in another way, which changes the fourth decimal.
    """
    peer = portrait_data / "peers" / "mediapipe_selfie_segmentation.tflite"
    model = open_model(str(peer), "0..1")
    people = side_by_side.find_datasets([str(portrait_data / "portraits" / "people")])
    report = side_by_side.compare([model], people, rounds=1)["models"][0]
    means = report["sets"]["people"]["mean"]
    assert means["person_iou"] == pytest.approx(0.8553, abs=5e-4)
    assert means["mean_iou"] == pytest.approx(0.9036, abs=5e-4)
    assert means["boundary_iou"] == pytest.approx(0.6415, abs=5e-4)
    assert report["parameters"] == 106401
