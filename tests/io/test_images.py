"""Tests every kind of file in real folders: writes it and reads it back."""

import struct

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms

from portrait.errors import UserError
from portrait.io.images import PictureError, list_images, read_image, write_png
from portrait.io.mattes import read_matte

RED, BLUE = (255, 0, 0), (0, 0, 255)


@pytest.fixture
def halves() -> Image.Image:
    """32 wide, 16 high; the left half red, the right half blue."""
    picture = Image.new("RGB", (32, 16), RED)
    picture.paste(BLUE, (16, 0, 32, 16))
    return picture


def noise(size: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, size, np.uint8)


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "ppm", "gif"])
def test_lossless_formats_come_back_exactly(tmp_path, halves, suffix):
    halves.save(tmp_path / f"a.{suffix}")
    np.testing.assert_array_equal(read_image(tmp_path / f"a.{suffix}"), np.asarray(halves))


@pytest.mark.parametrize(("mode", "suffix"), [("RGB", "jpg"), ("CMYK", "jpg"), ("RGB", "webp")])
def test_lossy_formats_keep_their_colours(tmp_path, halves, mode, suffix):
    halves.convert(mode).save(tmp_path / f"a.{suffix}", quality=95)
    read = read_image(tmp_path / f"a.{suffix}").astype(int)
    assert read.shape == (16, 32, 3)
    # Chroma is subsampled, so colours are exact only away from the border between the halves.
    assert np.abs(read[:, :8] - RED).max() <= 6
    assert np.abs(read[:, -8:] - BLUE).max() <= 6


@pytest.mark.parametrize("mode", ["L", "1", "P", "LA", "RGBA"])
def test_modes_become_rgb(tmp_path, halves, mode):
    halves.convert(mode).save(tmp_path / "a.png")
    expected = np.asarray(halves.convert(mode).convert("RGB"))
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), expected)


def test_transparent_pictures_lie_on_white(tmp_path, halves):
    halves.putalpha(Image.fromarray(np.repeat(np.uint8([[0] * 16 + [51] * 16]), 16, 0)))
    halves.save(tmp_path / "a.png")
    read = read_image(tmp_path / "a.png")
    assert (read[:, :16] == 255).all()
    assert (read[0, -1] == (204, 204, 255)).all()  # a fifth of blue, four fifths of white


def test_palette_with_a_transparent_colour(tmp_path):
    picture = Image.fromarray(np.uint8([[0, 1]]), "P")
    picture.putpalette([9, 9, 9, 200, 0, 0])
    picture.save(tmp_path / "a.png", transparency=0)
    assert read_image(tmp_path / "a.png").tolist() == [[[255, 255, 255], [200, 0, 0]]]


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("colour", [False, True])
def test_16_bits_are_scaled_not_clipped(tmp_path, suffix, colour):
    values = np.arange(0, 65536, 257, dtype=np.uint16).reshape(16, 16)
    cv2.imwrite(str(tmp_path / f"a.{suffix}"), np.stack([values] * 3, -1) if colour else values)
    expected = np.repeat(np.arange(256, dtype=np.uint8).reshape(16, 16, 1), 3, axis=2)
    np.testing.assert_array_equal(read_image(tmp_path / f"a.{suffix}"), expected)


@pytest.mark.parametrize("suffix", ["jpg", "png"])
@pytest.mark.parametrize(
    ("orientation", "undo"),
    [(2, "FLIP_LEFT_RIGHT"), (3, "ROTATE_180"), (5, "TRANSPOSE"), (6, "ROTATE_270")],
)
def test_exif_orientation_is_applied(tmp_path, suffix, orientation, undo):
    # EXIF 6: the stored top row is the scene's right side, so turn by 90 degrees clockwise.
    path = tmp_path / f"a.{suffix}"
    stored = Image.fromarray(cv2.resize(noise((2, 3)), (48, 32)))
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(path, exif=exif, quality=100)
    upright = np.asarray(stored.transpose(Image.Transpose[undo])).astype(int)
    for read in (read_image(path)[..., 0], read_matte(path)):
        assert read.shape == upright.shape
        assert np.abs(read - upright).max() <= 3


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "bmp", "tif"])
@pytest.mark.parametrize("share", [0.1, 0.6, 0.98])
def test_truncated_files_are_refused(tmp_path, suffix, share):
    path = tmp_path / f"cut.{suffix}"
    Image.fromarray(noise((64, 64, 3))).save(path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(PictureError, match=r"cut\.") as caught:
        read_image(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"<html>not found</html>", "not a picture"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "not a picture|damaged"),
        (b"II*\0garbage", "not a picture|damaged"),
    ],
)
def test_what_is_no_picture_is_named(tmp_path, data, reason):
    (tmp_path / "a.jpg").write_bytes(data)
    with pytest.raises(PictureError, match=rf"a\.jpg: .*({reason})"):
        read_image(tmp_path / "a.jpg")
    with pytest.raises(PictureError, match=r"none\.jpg"):
        read_image(tmp_path / "none.jpg")


def test_decompression_bombs_are_refused(tmp_path):
    (tmp_path / "bomb.ppm").write_bytes(b"P4\n30000 30000\n")
    with pytest.raises(PictureError, match="250"):
        read_image(tmp_path / "bomb.ppm")


def test_list_images_takes_pictures_only_in_order(tmp_path):
    names = ["b.JPG", "a.png", "c.HIF", "ä 日本.jpeg", ".hidden.png", "._a.png", "Thumbs.db"]
    for name in (*names, "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    found = [path.name for path in list_images(tmp_path)]
    assert found == ["a.png", "b.JPG", "c.HIF", "ä 日本.jpeg"]
    with pytest.raises(UserError, match="cannot list"):
        list_images(tmp_path / "none")


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_write_png_reads_back(tmp_path, mode):
    shape = (5, 7, len(mode)) if mode != "L" else (5, 7)
    write_png(tmp_path / "new" / "ä.png", noise(shape))
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "new" / "ä.png")), noise(shape))
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["ä.png"]


def profile_with_red_and_green_swapped() -> bytes:
    """The sRGB profile with red and green swapped and another name."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, green = data.index(b"rXYZ") + 4, data.index(b"gXYZ") + 4
    data[red : red + 8], data[green : green + 8] = data[green : green + 8], data[red : red + 8]
    return bytes(data).replace("sRGB".encode("utf-16-be"), "swap".encode("utf-16-be"))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_colours_follow_the_profile(tmp_path, halves, mode):
    halves.convert(mode).save(tmp_path / "a.png", icc_profile=profile_with_red_and_green_swapped())
    read = read_image(tmp_path / "a.png").astype(int)
    assert np.abs(read[:, :16] - (0, 255, 0)).max() <= 2
    assert np.abs(read[:, 16:] - BLUE).max() <= 2


@pytest.mark.parametrize("mode", ["L", "1", "RGB"])
def test_profiles_that_do_not_fit_are_passed_over(tmp_path, halves, mode):
    profile = b"damaged" if mode == "RGB" else profile_with_red_and_green_swapped()
    halves.convert(mode).save(tmp_path / "a.png", icc_profile=profile)
    expected = np.asarray(halves.convert(mode).convert("RGB"))
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), expected)


def test_a_rotated_picture_whose_exif_is_odd(tmp_path, halves):
    """Cameras write tags outside the standard: here the resolution is a text."""
    head = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 2)
    rotated = struct.pack("<HHII", 0x0112, 3, 1, 6)
    exif = head + rotated + struct.pack("<HHI4sI", 0x011A, 2, 3, b"72", 0)
    halves.save(tmp_path / "a.jpg", exif=exif, quality=100)
    turned = read_image(tmp_path / "a.jpg")
    assert np.abs(turned.astype(int) - np.rot90(np.asarray(halves), -1)).mean() < 6


@pytest.mark.parametrize(("levels", "scale"), [(1.0, 255), (1.02, 255), (9.0, 255), (250.0, 1)])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_floats(tmp_path, levels, scale, channels):
    """White is 1, also where highlights are brighter, or 255."""
    values = np.linspace(-0.01, levels, 64, dtype=np.float32).reshape(8, 8)
    cv2.imwrite(str(tmp_path / "a.tif"), np.dstack([values] * channels))
    if channels == 4:
        cv2.imwrite(str(tmp_path / "a.tif"), np.dstack([values] * 3 + [values * 0 + 255 / scale]))
    expected = np.round((values * scale).clip(0, 255))[..., None].repeat(3, 2)
    assert np.abs(read_image(tmp_path / "a.tif") - expected).max() <= 1  # the order of rounding


def test_transparent_floats_lie_on_white(tmp_path):
    bgra = np.zeros((8, 8, 4), np.float32)
    bgra[..., 2] = 0.5
    bgra[:, 2:4, 3], bgra[:, 4:, 3] = 0.2, 1
    cv2.imwrite(str(tmp_path / "a.tif"), bgra)
    read = read_image(tmp_path / "a.tif")
    assert (read[:, :2] == 255).all() and (read[:, 4:] == (128, 0, 0)).all()
    assert np.abs(read[:, 2:4] - (229.6, 204, 204)).max() <= 1  # a fifth of (128, 0, 0)
    alpha = read_matte(tmp_path / "a.tif")
    assert alpha[0].tolist() == [0, 0, 51, 51, 255, 255, 255, 255]


def test_soft_mattes_of_floats_stay_soft(tmp_path):
    levels = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
    cv2.imwrite(str(tmp_path / "a.tif"), np.dstack([levels] * 3))
    assert read_matte(tmp_path / "a.tif") == pytest.approx(levels * 255, abs=1)
