"""Tests groups of pictures with known colours and shapes, and a table by hand."""

import cv2
import numpy as np
import pytest
from PIL import Image

from benchmarks import fairness
from portrait.data.pairs import find_pairs
from portrait.inference.network import Network

FACE = (0.25, 0.25, 0.5, 0.5)


def plain(lightness: float, yellow: float, size=(80, 60)) -> np.ndarray:
    """A picture of one colour, L* and b*, uint8 RGB."""
    colour = np.float32([[[lightness, 0, yellow]]])
    rgb = cv2.cvtColor(colour, cv2.COLOR_LAB2RGB).clip(0, 1)
    return np.broadcast_to(np.rint(255 * rgb).astype(np.uint8), (*size, 3)).copy()


@pytest.mark.parametrize(
    ("lightness", "yellow", "angle"),
    [(50, 20, 0), (70, 20, 45), (30, 20, -45), (60, 17.32, 30), (60, -10, 135)],
)
def test_the_typology_angle_of_a_colour(lightness, yellow, angle):
    assert fairness.typology_angle(plain(lightness, yellow), FACE) == pytest.approx(angle, abs=1.5)


def test_contrast_is_the_distance_between_the_sides_of_the_outline():
    person = np.zeros((80, 60), bool)
    person[30:, 20:45] = True
    image = plain(40, 0)
    image[person] = plain(60, 0)[person]
    assert fairness.contrast(image, person) == pytest.approx(20, abs=0.5)
    assert np.isnan(fairness.contrast(image, np.ones((80, 60), bool)))


def test_small_parts_are_no_people():
    person = np.zeros((80, 60), bool)
    person[10:70, 5:20] = True
    assert fairness.parts(person) == 1
    person[0:3, 50:53] = True
    assert fairness.parts(person) == 1
    person[20:70, 30:45] = True
    assert fairness.parts(person) == 2


def test_groups_of_a_picture():
    matte = np.zeros((80, 60), np.float32)
    matte[30:, 20:45] = 1
    image = plain(30, 0)
    image[matte > 0] = plain(40, 15)[matte > 0]
    found = fairness.groups(image, matte, lambda image: None)
    assert "skin" not in found and found["people"] == "one"
    assert found["light"].startswith("dark") and found["framing"] == "20 to 50 %"
    found = fairness.groups(image, matte, lambda image: (0.4, 0.5, 0.3, 0.3))
    assert found["skin"].startswith("brown")  # arctan((40 - 50) / 15) = -34 degrees


def test_a_table_by_hand():
    scores = {
        "theirs": {"a": {"person_iou": 0.5, "boundary_iou": 0.2}, "b": None},
        "ours": {"a": {"person_iou": 0.6, "boundary_iou": 0.4}, "b": None},
    }
    scores["theirs"]["b"] = {"person_iou": 0.7, "boundary_iou": 0.2}
    scores["ours"]["b"] = {"person_iou": 1.0, "boundary_iou": 0.4}
    text = fairness.table({"people": {"one": ["a", "b"]}}, scores)
    theirs, ours = text.splitlines()[1:]
    assert "0.6000 ± 0.1000" in theirs and "+0.0000 ± 0.0000" in theirs
    # Differences 0.1 and 0.3: mean 0.2, standard deviation 0.1414, divided by the root of two.
    assert "0.8000 ± 0.2000" in ours and "+0.2000 ± 0.1000" in ours


def test_models_are_scored_on_pictures_with_a_person(tmp_path):
    for name, columns in (("one", 30), ("nobody", 0)):
        matte = np.zeros((80, 60), np.uint8)
        matte[20:, :columns] = 255
        Image.fromarray(plain(90, 0) // 2).save(tmp_path / f"{name}.png")
        Image.fromarray(matte).save(tmp_path / f"{name}_matte.png")
    everywhere = Network("all", (80, 60), lambda image: np.ones((80, 60), np.float32))
    members, scores = fairness.measure([everywhere], find_pairs([tmp_path], "testing"))
    (name,) = scores["all"]
    assert name.endswith("one.png") and members["framing"] == {"20 to 50 %": [name]}
    assert scores["all"][name]["person_iou"] == pytest.approx(60 * 30 / (80 * 60))
