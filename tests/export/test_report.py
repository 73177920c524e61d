"""Tests the report of an export: a line of the table and a row of the picture."""

import numpy as np
import pytest

from portrait.export import gpu_engine, report, verify
from portrait.export.formats import Activation


def parity(max_error):
    scores = (verify.Score(1, 1, 0), verify.Score(0.875, 0.9, np.inf), verify.Score(0.7, 0.8, 0.01))
    return verify.Parity(max_error, max_error / 10, *scores, 0, [])


@pytest.fixture
def result():
    return report.Result(
        "float16",
        "net_float16.tflite",
        bytes=1_234_000,
        zipped_bytes=987_000,
        violations=[],
        parity={"near": parity(1e-3), "far": parity(2e-3)},
        latency={1: 0.0123, 2: 0.0071},
        activations=[Activation(3.2, "CONV_2D", "a", "stem"), Activation(812.4, "ADD", "b", "sum")],
    )


def test_a_line_has_the_figures_of_the_furthest_runtime(result):
    row = report.table([result]).splitlines()[2].split()
    assert row == [
        *("float16", "1234", "987", "2.0e-03", "2.0e-04", "0.8750", "-0.02500", "12.3", "7.1"),
        *("812", "yes"),
    ]
    result.parity["broken"] = parity(float("nan"))
    assert np.isnan(result.furthest.max_error)


def test_changes_are_kept_with_their_standard_errors(result):
    assert result.as_json()["against_keras"]["far"] == pytest.approx(
        {
            "max_alpha_error": 2e-3,
            "mean_alpha_error": 2e-4,
            "mask_agreement_iou": 1,
            "person_iou": 0.875,
            "keras_person_iou": 0.9,
            "iou_change": -0.025,
            "iou_change_standard_error": None,  # of one picture
            "boundary_iou": 0.7,
            "keras_boundary_iou": 0.8,
            "boundary_iou_change": -0.1,
            "boundary_iou_change_standard_error": 0.01,
        }
    )


def test_gpu_columns_appear_with_a_verdict_and_mark_a_bad_one(result):
    result.gpu_float16 = gpu_engine.Verdict(0.013, 5e-4, 0.9985, True)
    assert report.table([result]).splitlines()[2].split()[9:] == [
        *("812", "yes", "1.3e-02", "5.0e-04", "0.9985", "yes")
    ]
    result.gpu_float16 = gpu_engine.Verdict(float("inf"), float("nan"), 0.36, True)
    assert report.table([result]).splitlines()[2].split()[-1] == "yes!"
    assert result.as_json()["gpu_float16"] == {
        "max_error": None,
        "mean_error": None,
        "iou": 0.36,
        "wholly": True,
        "refused": None,
        "good": False,
    }


def test_a_line_of_a_painting_has_levels_and_no_iou(result):
    result.parity = {"near": verify.Parity(1.25, 0.5, None, None, None, 0, [])}
    row = report.table([result], pictures=True).splitlines()[2].split()
    assert row == ["float16", "1234", "987", "1.250", "0.500", "12.3", "7.1", "812", "yes"]
    assert result.as_json()["against_keras"] == {"near": {"max_error": 1.25, "mean_error": 0.5}}


def test_the_largest_activation_and_its_layer_are_kept(result):
    found = result.as_json()
    assert found["largest_activation"]["layer"] == "sum"
    assert [each["largest"] for each in found["activations"]] == [3.2, 812.4]
    result.activations.append(Activation(float("nan"), "ADD", "c", "broken"))
    assert result.as_json()["largest_activation"]["layer"] == "broken"
    assert result.as_json()["largest_activation"]["largest"] is None


def test_latencies_are_kept_in_milliseconds(result):
    assert result.as_json()["latency_ms"] == pytest.approx({"1": 12.3, "2": 7.1})


def test_a_row_shows_photo_keras_file_and_difference():
    photo = np.full((96, 64, 3), (10, 200, 30), np.uint8)
    keras_alpha, alpha = (np.full((96, 64), level, np.float32) for level in (0.2, 0.6))
    sheet = report.sheet([report.Case("float16", photo, keras_alpha, alpha)])
    assert panels(sheet) == [[10, 200, 30], [51] * 3, [153] * 3, [255] * 3]


def test_a_row_of_a_painting_has_colours():
    photo, painted = np.full((96, 64, 3), 7, np.uint8), np.full((96, 64, 3), 100, np.float32)
    case = report.Case("float16", photo, painted, painted + np.float32([20, 0, 10]))
    assert panels(report.sheet([case])) == [[7] * 3, [100] * 3, [120, 100, 110], [255, 0, 128]]


def panels(sheet):
    """Returns a colour of each of the four panels, which are 128 pixels wide and 4 apart."""
    middle = sheet[sheet.shape[0] // 2]
    return [middle[4 + place * (128 + 4) + 64].tolist() for place in range(4)]
