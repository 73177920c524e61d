"""Tests people in front of other photographs: unchanged parts, colours of edges and hair."""

import cv2
import numpy as np
import pytest
from PIL import Image

from portrait.data.backgrounds import load_backgrounds, replace_background
from portrait.errors import UserError

SIZE = (256, 192)
INNER = 58  # radius of the solid part of the person


def disc() -> np.ndarray:
    """A person whose matte falls from 255 to 0 within 4 pixels."""
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    distance = np.hypot(rows - 102, columns - 105)
    return (255 * np.clip((INNER - distance) / 4 + 0.5, 0, 1)).astype(np.uint8)


def photograph(matte, person, wall) -> np.ndarray:
    alpha = matte[..., None] / 255
    return np.rint(alpha * np.array(person) + (1 - alpha) * np.array(wall)).astype(np.uint8)


def before_black(image, matte) -> np.ndarray:
    rng = np.random.default_rng(0)
    return replace_background(image, matte, np.zeros_like(image), rng, strength=0)


def test_inside_stays_and_outside_is_replaced():
    matte = disc()
    image = np.random.default_rng(1).integers(0, 256, (*SIZE, 3), np.uint8)
    wall = np.full((30, 30, 3), (10, 200, 90), np.uint8)
    result = replace_background(image, matte, wall, np.random.default_rng(0), strength=0)
    inside = cv2.erode(matte, np.ones((5, 5))) == 255  # its rim is repainted, see the next test
    np.testing.assert_array_equal(result[inside], image[inside])
    outside = result[matte == 0]
    np.testing.assert_array_equal(outside, np.broadcast_to((10, 200, 90), outside.shape))


def test_no_halo_of_the_old_background():
    # A person of grey 100 photographed before white, put before black: alpha * 100 is right; the
    # photograph's own edge colours would be up to 63 levels brighter, at alpha 0.5 to 0.6.
    # Colours are quotients of bytes, the divisor at least 26: off by up to 0.5 * 255 / 26 + 2.
    matte = disc()
    result = before_black(photograph(matte, (100,) * 3, (255,) * 3), matte)
    inner = matte > 127
    np.testing.assert_allclose(result[inner], np.dstack([matte] * 3)[inner] / 2.55, atol=7)


def test_a_loose_strand_takes_the_persons_colour():
    """Half transparent, far from solid parts, and in the person's own colour."""
    matte = disc()
    strand = np.s_[20:90, 180:182]
    matte[strand] = 128
    result = before_black(photograph(matte, (200, 150, 60), (40, 10, 5)), matte)
    # Two roundings, and that of the mixture.
    np.testing.assert_allclose(result[strand], np.broadcast_to((100, 75, 30), (70, 2, 3)), atol=2)


def test_a_strand_of_another_colour_keeps_most_of_it():
    """A black braid with an alpha of 3/4 beside a white shirt stays black in front of green."""
    matte = disc()
    strand = np.s_[20:90, 180:184]
    image = photograph(matte, (240, 240, 240), (0, 160, 0))
    matte[strand] = 191
    image[strand] = (0, 40, 0)
    result = before_black(image, matte)
    # The nearest of the person stands in for the quarter that was green: 3/4 * 1/4 * 240 = 45.
    np.testing.assert_allclose(result[strand], np.full((70, 4, 3), 45), atol=2)


@pytest.mark.parametrize("level", [100, 200])
def test_without_a_sure_person_or_a_background_colours_stay(level):
    image = np.full((*SIZE, 3), 180, np.uint8)
    result = before_black(image, np.full(SIZE, level, np.uint8))
    np.testing.assert_allclose(result, 180 * level / 255, atol=1)


@pytest.mark.parametrize("size", [(32, 32), (65, 50), (8, 6)])
def test_any_size_goes(size):
    matte = cv2.resize(disc(), size[::-1])
    image = np.full((*size, 3), 90, np.uint8)
    result = before_black(image, matte)
    assert result.shape == image.shape
    np.testing.assert_allclose(result, np.dstack([matte] * 3) / 255 * 90, atol=7)


def test_folders_of_photographs_are_read_and_shrunk_to_cover_the_frame(tmp_path, caplog):
    (tmp_path / "walls").mkdir()
    for name, size in (("walls/a.png", (400, 800)), ("b.png", (30, 20)), ("c.png", (90, 40))):
        Image.new("RGB", size, (1, 2, 3)).save(tmp_path / name)
    (tmp_path / "d.jpg").write_bytes(b"nothing")
    photos = load_backgrounds([tmp_path], (80, 60))
    # The frame and a quarter to spare, 100 x 75, is covered: 400 x 800 becomes 75 x 150.
    assert sorted(photo.shape for photo in photos) == [(20, 30, 3), (40, 90, 3), (150, 75, 3)]
    assert {tuple(photo[0, 0]) for photo in photos} == {(1, 2, 3)}
    assert "(1): d.jpg" in caplog.text


def test_no_background_is_an_error(tmp_path):
    with pytest.raises(UserError, match="gone"):
        load_backgrounds([tmp_path / "gone"], SIZE)
    with pytest.raises(UserError, match="--backgrounds="):
        load_backgrounds([tmp_path], SIZE)


def test_backgrounds_are_no_mattes(tmp_path):
    for name in ("a.png", "a_matte.png", "more/b.png", "more/b_matte.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (20, 30)).save(tmp_path / name)
    assert len(load_backgrounds([tmp_path], (20, 15))) == 2


def test_testing_pictures_are_no_backgrounds(tmp_path):
    for name, width in (("training/a.png", 10), ("testing/b.png", 11), ("c.png", 12)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (width, 20)).save(tmp_path / name)
    assert [photo.shape[1] for photo in load_backgrounds([tmp_path], (20, 15))] == [10]
    (tmp_path / "training" / "a.png").unlink()
    (tmp_path / "training").rmdir()
    with pytest.raises(UserError, match="no training sub-folder"):
        load_backgrounds([tmp_path], (20, 15))
