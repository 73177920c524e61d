"""Tests HEIC photographs, the format of iPhones."""

import io

import numpy as np
import pillow_heif
import pytest
from PIL import Image, ImageCms

from portrait.io.images import PictureError, read_image
from portrait.io.mattes import read_matte


def halves() -> Image.Image:
    """64 wide, 32 high; the left half red, the right half blue."""
    picture = Image.new("RGB", (64, 32), (255, 0, 0))
    picture.paste((0, 0, 255), (32, 0, 64, 32))
    return picture


def save(path, picture: Image.Image, **options) -> None:
    pillow_heif.from_pillow(picture).save(path, quality=95, **options)


@pytest.mark.parametrize("name", ["a.heic", "a.HEIF", "a.jpg"])
def test_colours(tmp_path, name):
    """The name does not matter, because apps of phones rename files."""
    buffer = io.BytesIO()
    save(buffer, halves())
    (tmp_path / name).write_bytes(buffer.getvalue())
    read = read_image(tmp_path / name).astype(int)
    assert read.shape == (32, 64, 3)
    assert np.abs(read[:, :28] - (255, 0, 0)).max() <= 6
    assert np.abs(read[:, 36:] - (0, 0, 255)).max() <= 6


def test_orientation(tmp_path):
    """An upright phone stores the scene rotated: 6 is a quarter turn clockwise."""
    exif = Image.Exif()
    exif[0x0112] = 6
    save(tmp_path / "a.heic", halves(), exif=exif.tobytes())
    read = read_image(tmp_path / "a.heic").astype(int)
    assert read.shape == (64, 32, 3)
    assert np.abs(read[:28] - (255, 0, 0)).max() <= 6
    assert np.abs(read[36:] - (0, 0, 255)).max() <= 6
    save(tmp_path / "a_matte.heic", halves().getchannel("R"), exif=exif.tobytes())
    matte = read_matte(tmp_path / "a_matte.heic")
    assert matte.shape == (64, 32) and matte[:28].min() >= 250 and matte[36:].max() <= 5


def test_profile(tmp_path):
    """A profile that swaps red and green."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, green = data.index(b"rXYZ") + 4, data.index(b"gXYZ") + 4
    data[red : red + 8], data[green : green + 8] = data[green : green + 8], data[red : red + 8]
    picture = halves()
    picture.info["icc_profile"] = bytes(data)
    save(tmp_path / "a.heic", picture)
    read = read_image(tmp_path / "a.heic").astype(int)
    assert np.abs(read[:, :28] - (0, 255, 0)).max() <= 8


@pytest.mark.parametrize("share", [0.1, 0.6, 0.97])
def test_truncated_files_are_refused(tmp_path, share):
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 256, (64, 64, 3), np.uint8))
    buffer = io.BytesIO()
    save(buffer, noise)
    data = buffer.getvalue()
    (tmp_path / "cut.heic").write_bytes(data[: int(len(data) * share)])
    with pytest.raises(PictureError, match=r"cut\.heic"):
        read_image(tmp_path / "cut.heic")
