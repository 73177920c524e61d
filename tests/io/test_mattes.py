"""Tests mattes in all forms of data sets."""

import cv2
import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from portrait.io.images import PictureError
from portrait.io.mattes import read_matte

MATTE = np.uint8([[0, 0, 255, 255], [0, 128, 255, 255], [0, 0, 64, 255]])
BINARY = np.where(MATTE > 127, np.uint8(255), np.uint8(0))


def saved(tmp_path, picture: Image.Image, **options):
    picture.save(tmp_path / "m.png", **options)
    return read_matte(tmp_path / "m.png")


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_soft_grey_mattes_come_back_exactly(tmp_path, mode):
    np.testing.assert_array_equal(saved(tmp_path, Image.fromarray(MATTE).convert(mode)), MATTE)


def test_alpha_counts_where_it_varies(tmp_path):
    photo = Image.fromarray(MATTE[::-1]).convert("RGB")
    photo.putalpha(Image.fromarray(MATTE))
    np.testing.assert_array_equal(saved(tmp_path, photo), MATTE)
    photo.putalpha(Image.fromarray(MATTE // 255))  # it is an opacity, not a mask of 0 and 1
    np.testing.assert_array_equal(saved(tmp_path, photo), MATTE // 255)
    photo.putalpha(255)
    np.testing.assert_array_equal(saved(tmp_path, photo), MATTE[::-1])


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.uint16])
def test_masks_of_0_and_1_are_stretched(tmp_path, dtype):
    mask = Image.fromarray((MATTE > 127).astype(dtype))
    np.testing.assert_array_equal(saved(tmp_path, mask), BINARY)


def test_16_bit_mattes(tmp_path):
    for values in (MATTE.astype(np.uint16) * 257, MATTE.astype(np.uint16)):
        cv2.imwrite(str(tmp_path / "m.png"), values)
        np.testing.assert_array_equal(read_matte(tmp_path / "m.png"), MATTE)


def test_coloured_palettes_are_labels_and_grey_ones_are_mattes(tmp_path):
    labels = Image.fromarray((MATTE > 127).astype(np.uint8) * 15, "P")
    labels.putpalette([0, 0, 0] * 15 + [192, 128, 128])  # Pascal VOC's person
    np.testing.assert_array_equal(saved(tmp_path, labels), BINARY)
    inverted = Image.fromarray(255 - MATTE, "P")  # index 0 is white here
    inverted.putpalette([255 - level for level in range(256) for _ in range(3)])
    np.testing.assert_array_equal(saved(tmp_path, inverted), MATTE)


def test_float_mattes(tmp_path):
    Image.fromarray(MATTE.astype(np.float32) / 255).save(tmp_path / "m.tif")
    np.testing.assert_array_equal(read_matte(tmp_path / "m.tif"), MATTE)
    Image.fromarray(MATTE.astype(np.float32) * 100).save(tmp_path / "m.tif")
    with pytest.raises(PictureError, match="outside"):
        read_matte(tmp_path / "m.tif")


def test_mat_files_as_eg1800_has_them(tmp_path):
    mask = (MATTE > 127).astype(np.uint8)
    savemat(tmp_path / "1_mask.mat", {"mask": mask, "other": np.ones((3, 3))})
    savemat(tmp_path / "2_mask.mat", {"anything": mask.astype(float)})
    for name in ("1_mask.mat", "2_mask.mat"):
        np.testing.assert_array_equal(read_matte(tmp_path / name), BINARY)
    savemat(tmp_path / "3_mask.mat", {"a": mask, "b": mask})
    (tmp_path / "4_mask.mat").write_bytes(b"no such thing" * 20)
    for name in ("3_mask.mat", "4_mask.mat", "5_mask.mat"):
        with pytest.raises(PictureError, match=name):
            read_matte(tmp_path / name)


def test_an_empty_matte_is_all_background(tmp_path):
    assert saved(tmp_path, Image.new("L", (4, 3))).tolist() == [[0] * 4] * 3


def test_labels_that_do_not_tell_which_is_the_person_are_refused(tmp_path):
    labels = np.repeat(np.uint8([[0, 1, 2, 3]]), 8, axis=0).repeat(8, axis=1)
    for name, picture in (
        ("numbers.png", Image.fromarray(labels)),
        ("colours.png", Image.fromarray(np.uint8([[0] * 3, [255, 0, 0], [0, 0, 255]] * 2)[labels])),
    ):
        picture.save(tmp_path / name)
        with pytest.raises(PictureError, match=name):
            read_matte(tmp_path / name)
