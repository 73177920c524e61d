"""Tests the checks before a picture is decoded, and the repair of truncated JPEGs."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms, TiffImagePlugin
from scipy.io import savemat

from portrait.io.images import PictureError, read_image
from portrait.io.mattes import read_matte


def noise(height: int = 64, width: int = 64) -> Image.Image:
    rng = np.random.default_rng(0)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8))


def jpeg(**options) -> bytes:
    buffer = io.BytesIO()
    noise().save(buffer, "JPEG", quality=90, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("ending", [b"", b"\xff", b"\0" * 100])
def test_a_jpeg_without_its_end_marker(tmp_path, progressive, ending):
    """All pixels are present, as in files of cameras that lost power and of recovered cards."""
    data = jpeg(progressive=progressive)
    assert data.endswith(b"\xff\xd9")
    (tmp_path / "whole.jpg").write_bytes(data)
    (tmp_path / "cut.jpg").write_bytes(data[:-2] + ending)
    expected = read_image(tmp_path / "whole.jpg")
    np.testing.assert_array_equal(read_image(tmp_path / "cut.jpg"), expected)


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("missing", [6, 40, 400])
def test_a_jpeg_without_its_last_pixels(tmp_path, progressive, missing):
    (tmp_path / "cut.jpg").write_bytes(jpeg(progressive=progressive)[:-missing])
    with pytest.raises(PictureError, match=r"cut\.jpg"):
        read_image(tmp_path / "cut.jpg")


def png_head(width: int, height: int, bits: int, colours: int) -> bytes:
    """Returns the start of a PNG; colours: 0 grey, 2 RGB, 6 RGBA."""
    head = b"IHDR" + struct.pack(">IIBBBBB", width, height, bits, colours, 0, 0, 0)
    body = b"IDAT" + zlib.compress(b"")
    chunks = [
        struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in (head, body)
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def tiff(
    width: int, height: int, bits: int, samples: int, form: int, planar: int = 1, data=b"", extra=-1
):
    """Returns a TIFF with only its first strip; form: 1 integers, 3 floats; extra: of alpha."""
    values = [(256, 4, width), (257, 4, height), (258, 3, bits), (259, 3, 1)]
    values += [(262, 3, 2 if samples > 1 else 1), (273, 4, 4096), (277, 3, samples)]
    values += [(278, 4, 1), (279, 4, len(data)), (284, 3, planar)]
    values += [(338, 3, extra)] * (extra >= 0) + [(339, 3, form)]
    entries = b""
    for tag, kind, value in values:
        if samples > 1 and tag in (258, 339):  # one for each colour, elsewhere
            entries += struct.pack("<HHII", tag, kind, samples, 2048 if tag == 258 else 3072)
        else:
            entries += struct.pack("<HHII", tag, kind, 1, value)
    file = bytearray(4096) + data
    head = b"II*\0" + struct.pack("<IH", 8, len(values)) + entries + bytes(4)
    file[: len(head)] = head
    file[2048 : 2048 + 2 * samples] = struct.pack(f"<{samples}H", *[bits] * samples)
    file[3072 : 3072 + 2 * samples] = struct.pack(f"<{samples}H", *[form] * samples)
    return bytes(file)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("grey.png", png_head(20_000, 20_000, 8, 0)),
        ("deep.png", png_head(20_000, 20_000, 16, 0)),
        ("clear.png", png_head(20_000, 20_000, 8, 6)),
        ("float.tif", tiff(20_000, 20_000, 32, 1, 3)),
        ("float_colour.tif", tiff(20_000, 20_000, 32, 3, 3)),
        ("float_250.tif", tiff(15_800, 15_800, 32, 1, 3, data=b"0" * 99)),
        ("float_colour_150.tif", tiff(12_200, 12_200, 32, 3, 3, data=b"0" * 99)),
        ("deep_colour.tif", tiff(20_000, 20_000, 16, 3, 1)),
    ],
)
def test_what_would_fill_the_memory_is_refused(tmp_path, name, data):
    """The header alone decides, and the message names the limit."""
    (tmp_path / name).write_bytes(data)
    for read in (read_image, read_matte):
        with pytest.raises(PictureError, match=rf"{name}.*(250 megapixels|2 GB)"):
            read(tmp_path / name)


@pytest.mark.parametrize(("kind", "side"), [(np.uint8, 16_000), (np.float64, 15_000)])
def test_mat_files_are_looked_at_first(tmp_path, kind, side):
    """A file of 1 MB may unpack to gigabytes; here the header of a small array claims this."""
    savemat(tmp_path / "a.mat", {"mask": np.zeros((3, 5), kind)})
    data = (tmp_path / "a.mat").read_bytes()
    assert data.count(struct.pack("<ii", 3, 5)) == 1
    data = data.replace(struct.pack("<ii", 3, 5), struct.pack("<ii", side, side))
    (tmp_path / "a.mat").write_bytes(data)
    with pytest.raises(PictureError, match=r"a\.mat.*(250 megapixels|2 GB)"):
        read_matte(tmp_path / "a.mat")


def test_colours_in_planes_of_16_bits(tmp_path):
    """Pillow and OpenCV return stripes."""
    (tmp_path / "a.tif").write_bytes(tiff(8, 1, 16, 3, 1, planar=2, data=bytes(48)))
    with pytest.raises(PictureError, match=r"a\.tif.*planes"):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize(
    ("tags", "raw"),
    [
        ({254: 1}, True),  # a reduced picture: NEF, ARW, DNG
        ({254: 0, 50706: b"\1\4\0\0"}, True),  # DNG
        ({254: 0}, False),
        ({254: 2, 271: "a scanner"}, False),  # a page
    ],
)
def test_raw_photographs_are_not_read_as_their_thumbnails(tmp_path, tags, raw):
    known = TiffImagePlugin.ImageFileDirectory_v2()
    for tag, value in tags.items():
        known.tagtype[tag] = {int: 4, bytes: 1, str: 2}[type(value)]  # the types of TIFF
        known[tag] = value
    noise().save(tmp_path / "a.tif", tiffinfo=known)
    if raw:
        with pytest.raises(PictureError, match=r"a\.tif: a raw photograph"):
            read_image(tmp_path / "a.tif")
    else:
        np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), np.asarray(noise()))


@pytest.mark.parametrize(
    ("extra", "colour"),
    [
        (-1, (178.5, 191.25, 204)),
        (0, (102, 127.5, 153)),
        (1, (229.5, 255, 255)),
        (2, (178.5, 191.25, 204)),
    ],
)
def test_the_fourth_channel_of_floats(tmp_path, extra, colour):
    """0.4, 0.5, 0.6 and 0.5: of no meaning (0), alpha (2), or alpha that colours contain (1)."""
    data = np.float32([0.4, 0.5, 0.6, 0.5] * 2 + [0, 0, 0, 0]).tobytes()
    (tmp_path / "a.tif").write_bytes(tiff(3, 1, 32, 4, 3, data=data, extra=extra))
    read = read_image(tmp_path / "a.tif")
    assert np.abs(read[0, 0] - colour).max() <= 2
    assert (read[0, 2] == (0 if extra == 0 else 255)).all()


def test_a_profile_is_told_by_what_it_does(tmp_path):
    """A picture of linear light whose profile is called sRGB."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    for colour in (b"rTRC", b"gTRC", b"bTRC"):
        entry = profile.index(colour)
        (place,) = struct.unpack_from(">I", profile, entry + 4)
        profile[place : place + 16] = b"curv" + bytes(4) + struct.pack(">IHH", 1, 256, 0)  # gamma 1
        struct.pack_into(">I", profile, entry + 8, 14)
    levels = np.arange(256, dtype=np.uint8)[None, :, None].repeat(3, 2)
    Image.fromarray(levels).save(tmp_path / "a.png", icc_profile=bytes(profile))
    light = levels / 255
    curve = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    assert np.abs(read_image(tmp_path / "a.png") - 255 * curve).max() <= 2


def test_srgb_by_name_and_by_nature_stays_as_it_is(tmp_path):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    noise().save(tmp_path / "a.png", icc_profile=profile)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), np.asarray(noise()))


def test_bands_of_a_large_picture(tmp_path):
    """A picture with more rows than a band equals Pillow's result."""
    rows = np.add.outer(np.arange(3000), np.arange(2000)).astype(np.uint8)
    picture = Image.fromarray(
        np.dstack([rows, rows.T[:2000].repeat(2, 0)[:3000, :2000], rows, rows])
    )
    picture.save(tmp_path / "a.png", compress_level=1)
    white = Image.new("RGBA", picture.size, "white")
    white.alpha_composite(picture)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), np.asarray(white.convert("RGB")))


def test_libraries_say_nothing_around_our_line(tmp_path, capfd):
    """OpenCV and libtiff write errors about a damaged TIFF to stderr."""
    for number, data in enumerate(
        [
            tiff(8, 8, 32, 3, 3, data=b"0"),
            tiff(8, 8, 16, 3, 1, data=b"0"),
            b"II*\0\x08\0\0\0\xff\xff",
        ]
    ):
        (tmp_path / f"{number}.tif").write_bytes(data)
        with pytest.raises(PictureError, match=rf"{number}\.tif"):
            read_image(tmp_path / f"{number}.tif")
    assert capfd.readouterr() == ("", "")
