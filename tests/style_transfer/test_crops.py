"""Tests the training crops of the transform network."""

from pathlib import Path

import numpy as np
import pytest
from style_networks import picture

from portrait.errors import UserError
from portrait.io.images import write_png
from portrait.style_transfer.crops import (
    SHIFT,
    PhotoCrops,
    centre_crop,
    find_photos,
    hold_out,
    move,
)


@pytest.fixture
def folder(tmp_path):
    for index in range(6):
        write_png(tmp_path / f"{index}.png", picture(40 + index, 60, index))
    write_png(tmp_path / "0_matte.png", np.zeros((40, 60), np.uint8))
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    return tmp_path


def test_mattes_are_no_photos(folder):
    names = [path.name for path in find_photos([str(folder)])]
    assert names == ["0.png", "1.png", "2.png", "3.png", "4.png", "5.png", "broken.jpg"]


def test_a_folder_without_pictures_is_an_error(tmp_path):
    with pytest.raises(UserError, match="no photographs"):
        find_photos([str(tmp_path)])


def test_those_held_out_are_not_learned_from():
    photos = [f"{index}.jpg" for index in range(100)]
    rest, held = hold_out(photos, 8)
    assert len(held) == 8 and len(rest) == 92 and not set(rest) & set(held)
    assert held[0] == "0.jpg" and held[-1] == "99.jpg"
    assert hold_out(photos[:3], 8) == (photos[:3], photos[:3])


def test_batches_depend_on_seed_epoch_and_number_only(folder):
    def crops(seed=0):
        return PhotoCrops(find_photos([str(folder)]), 32, 3, 4, 2, seed)

    one, other = crops(), crops()
    one[0]
    np.testing.assert_array_equal(one[1][0]["image"], other[1][0]["image"])
    assert (one[1][0]["image"] != one[2][0]["image"]).any()
    assert (one[1][0]["image"] != crops(1)[1][0]["image"]).any()
    other.epoch = 1
    assert (one[1][0]["image"] != other[1][0]["image"]).any()
    assert one[0][0]["image"].shape == (3, 32, 32, 3) and len(one) == 4


def test_crops_lie_anywhere_and_half_of_them_are_mirrored(folder):
    """Brightness rises to the right in the photograph."""
    images = PhotoCrops([folder / "0.png"], 16, 64, 1, 1)[0][0]["image"]
    assert len({image.tobytes() for image in images}) > 50
    rising = images[:, :, 8:].mean((1, 2, 3)) > images[:, :, :8].mean((1, 2, 3))
    # Binomial: 3 standard deviations of 64 draws, and noise that is stronger than the ramp.
    assert 0.25 < rising.mean() < 0.75


def test_styles_take_turns(folder):
    crops = PhotoCrops(find_photos([str(folder)]), 32, 3, 4, 2)
    turns = np.concatenate([crops[index][0]["mix"] for index in range(4)])
    np.testing.assert_array_equal(turns, np.eye(2)[[0, 1] * 6])


def test_photos_that_cannot_be_read_at_all(folder):
    with pytest.raises(UserError, match="none could be read"):
        PhotoCrops([folder / "broken.jpg"], 32, 1, 1, 1)[0]


def test_a_centre_crop_has_all_of_the_shorter_side():
    photo = np.zeros((40, 80, 3), np.uint8)
    photo[:, 20:60] = 255
    np.testing.assert_array_equal(centre_crop(photo, 40), np.full((40, 40, 3), 255))
    assert centre_crop(photo, 20).shape == (20, 20, 3)


def test_plain_crops_are_not_learned_from(tmp_path):
    """The upper half of the photograph is white, so that one crop in four or so is."""
    photo = np.full((128, 64, 3), 255, np.uint8)
    photo[64:] = np.random.default_rng(0).integers(0, 256, (64, 64, 3))
    path = tmp_path / "sky.png"
    write_png(path, photo)
    crops = PhotoCrops([path], 32, 8, 4, 1)
    assert all(image.std() > 3 for index in range(4) for image in crops[index][0]["image"])
    write_png(path, photo[:64])
    with pytest.raises(UserError, match="all were of one colour"):
        crops[0]


def test_portraits_are_those_that_train(tmp_path):
    for name in "training/a.png", "testing/b.png":
        write_png(tmp_path / name, picture(32, 32))
    assert [path.name for path in find_photos([str(tmp_path)])] == ["a.png"]


def test_too_few_photos_to_hold_any_out_are_told(caplog):
    photos = [Path(f"{number}.jpg") for number in range(15)]
    assert hold_out(photos, 8) == (photos, photos[:8])
    assert "(15)" in caplog.text


def test_the_next_frame_is_moved_by_what_it_says():
    frames = np.stack([picture(48, 48, seed) for seed in (1, 2)]).astype(np.float32)
    shifts = set()
    for seed in range(20):
        after = move(frames, np.random.default_rng(seed))
        down, right = after["shift"][0]
        assert (after["shift"] == after["shift"][:1]).all() and after["moved"].shape == frames.shape
        assert max(abs(down), abs(right)) <= SHIFT
        back = np.roll(frames, (-down, -right), (1, 2))[:, SHIFT:-SHIFT, SHIFT:-SHIFT]
        change = after["moved"][:, SHIFT:-SHIFT, SHIFT:-SHIFT] - back
        assert abs(change.mean()) < 6 and change.std() < 8
        shifts.add((down, right))
    assert len(shifts) > 15
