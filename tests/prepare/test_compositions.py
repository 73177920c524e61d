"""Tests compositions of cut-outs: colours follow the matte, and stopped runs continue."""

import cv2
import numpy as np
import pytest
from PIL import Image

from portrait.errors import UserError
from portrait.prepare import compositions


@pytest.fixture
def person(tmp_path):
    alpha = np.zeros((120, 160), np.uint8)
    cv2.circle(alpha, (80, 70), 40, 255, -1, cv2.LINE_AA)
    red = np.full((120, 160, 3), (220, 30, 30), np.uint8)
    Image.fromarray(np.dstack([red, alpha])).save(tmp_path / "anna.png")
    return tmp_path / "anna.png"


def test_pictures_mix_person_and_background_by_the_matte():
    alpha = np.zeros((120, 160), np.float32)
    cv2.circle(alpha, (80, 70), 40, 1.0, -1, cv2.LINE_AA)
    colours = np.full((120, 160, 3), (220, 30, 30), np.uint8)
    blue = np.full((50, 40, 3), (10, 20, 240), np.uint8)
    shapes = set()
    for seed in range(12):
        picture, matte = compositions.compose(colours, alpha, blue, np.random.default_rng(seed))
        assert picture.shape == (*matte.shape, 3)
        shapes.add(matte.shape[1] > matte.shape[0])
        assert np.abs(picture[matte == 0] - np.int16((10, 20, 240))).max() <= 1
        share = matte.astype(float) / 255
        # Blue falls with the matte, whatever the person's light is.
        blueness = (240 - picture[..., 2].astype(float)) / (240 - picture[matte == 255][0, 2])
        assert blueness == pytest.approx(share, abs=0.02)
    assert shapes == {True, False}


@pytest.mark.parametrize("shape", [(1, 1), (40, 1), (1, 40)])
def test_people_of_one_pixel_do_not_vanish(shape):
    blue = np.full((60, 40, 3), (20, 40, 200), np.uint8)
    for seed in range(8):
        random = np.random.default_rng(seed)
        people = np.full((*shape, 3), 200, np.uint8), np.ones(shape, np.float32)
        picture, matte = compositions.compose(*people, blue, random)
        assert picture.shape == (*matte.shape, 3) and matte.all()


def test_writes_each_person_and_keeps_what_is_there(person, tmp_path):
    scenes = [np.full((60, 60, 3), 90, np.uint8)]
    written = compositions.write([person], scenes, tmp_path / "new", 2)
    assert [path.name for path in written] == ["anna@1.jpg", "anna@2.jpg"]
    assert all(path.with_name(f"{path.stem}_matte.png").exists() for path in written)
    written[1].unlink()
    before = written[0].stat().st_mtime_ns
    assert compositions.write([person], scenes, tmp_path / "new", 2) == written
    assert written[0].stat().st_mtime_ns == before


def test_other_arguments_need_another_folder(person, tmp_path):
    scenes, output = [np.full((60, 60, 3), 90, np.uint8)], tmp_path / "new"
    compositions.write([person], scenes, output, 1)
    for people, each, seed in (([person], 2, 0), ([person], 1, 1), ([], 1, 0)):
        with pytest.raises(UserError, match="new contains other data"):
            compositions.write(people, scenes, output, each, seed)


def test_two_people_of_one_name_are_refused(person, tmp_path):
    """The second would be taken for compositions that exist already."""
    (tmp_path / "b").mkdir()
    other = tmp_path / "b" / "anna.webp"
    Image.open(person).save(other)
    with pytest.raises(UserError, match="two pictures are called anna"):
        compositions.write([person, other], [], tmp_path / "new", 1)


def test_no_cutout_can_be_read(tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match="cut-outs"):
        compositions.write([tmp_path / "broken.png"], [], tmp_path / "new", 1)
    assert not (tmp_path / "new").exists()
