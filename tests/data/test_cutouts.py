"""Tests that cut-outs with transparent white clothes are read as opaque people."""

import cv2
import numpy as np
from PIL import Image

from portrait.data.cutouts import read_cutout


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
