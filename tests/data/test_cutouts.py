"""Tests that cut-outs with transparent white clothes are read as opaque people."""

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms

from portrait.data.cutouts import read_cutout
from portrait.io.decode import PictureError


def test_white_clothes_are_opaque_and_gaps_between_hair_stay(tmp_path):
    soft = np.zeros((120, 160), np.uint8)
    cv2.circle(soft, (80, 60), 40, 255, -1)
    soft[55:65, 110:160] = 0  # a gap from the outside
    soft = cv2.GaussianBlur(soft, (0, 0), 1)
    colours = np.where(soft[..., None] > 0, np.uint8((90, 60, 40)), np.uint8(0))
    keyed = soft.copy()
    colours[40:50, 60:90], keyed[40:50, 60:90] = 250, 0  # a white stripe on the shirt
    Image.fromarray(np.dstack([colours, keyed])).save(tmp_path / "person.png")
    found, alpha = read_cutout(tmp_path / "person.png")
    assert np.array_equal(found, colours)
    assert np.abs(alpha - soft / np.float32(255)).max() < 0.01


def test_what_has_no_transparency_is_no_cutout(tmp_path):
    """It would be a person who fills the picture."""
    Image.new("RGB", (40, 30), "red").save(tmp_path / "photo.jpg")
    Image.new("RGBA", (40, 30), "red").save(tmp_path / "opaque.png")
    floats = np.full((30, 40, 3), 0.5, np.float32)
    (tmp_path / "floats.tiff").write_bytes(cv2.imencode(".tiff", floats)[1].tobytes())
    for path in tmp_path.iterdir():
        with pytest.raises(PictureError, match=f"{path.name}: it has no transparency"):
            read_cutout(path)


def test_a_cutout_of_floats(tmp_path):
    bgra = np.zeros((30, 40, 4), np.float32)
    bgra[:, 20:] = (0.5, 0.5, 1, 1)
    (tmp_path / "floats.tiff").write_bytes(cv2.imencode(".tiff", bgra)[1].tobytes())
    colours, alpha = read_cutout(tmp_path / "floats.tiff")
    assert (colours[:, 20:] == (255, 128, 128)).all()
    assert not alpha[:, :20].any() and alpha[:, 20:].all()


def test_people_are_turned_upright(tmp_path):
    picture, exif = Image.new("RGBA", (40, 30)), Image.Exif()
    picture.paste((200, 0, 0, 255), (0, 0, 40, 12))
    exif[0x0112] = 6  # to be turned by 90 degrees, clockwise
    picture.save(tmp_path / "person.png", exif=exif)
    _, alpha = read_cutout(tmp_path / "person.png")
    assert alpha.shape == (40, 30)
    assert alpha[:, 22:].all() and not alpha[:, :12].any()


def test_colours_follow_the_profile(tmp_path):
    """A profile that swaps red and green."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, green = data.index(b"rXYZ") + 4, data.index(b"gXYZ") + 4
    data[red : red + 8], data[green : green + 8] = data[green : green + 8], data[red : red + 8]
    picture = Image.new("RGBA", (40, 30))
    picture.paste((200, 0, 0, 255), (20, 0, 40, 30))
    picture.save(tmp_path / "person.png", icc_profile=bytes(data))
    colours, alpha = read_cutout(tmp_path / "person.png")
    assert np.abs(colours[:, 20:].astype(int) - (0, 200, 0)).max() <= 2
    assert not alpha[:, :20].any() and alpha[:, 20:].all()
