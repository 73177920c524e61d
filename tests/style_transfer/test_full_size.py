"""Pictures that are painted small get their size and their details back."""

import cv2
import numpy as np
import pytest
from skimage import data

from portrait.errors import UnfitError
from portrait.io.images import TooSmallError, resize
from portrait.style_transfer.full_size import FullSize, enlarge, longer_side

PICTURE = np.ascontiguousarray(data.astronaut()[:240, 100:420])


def negative(picture):
    return 255.0 - picture


@pytest.mark.parametrize(
    ("side", "painted"), [(160, (120, 160)), (400, (240, 320)), (0, (240, 320))]
)
def test_the_size_is_kept_whatever_is_painted(side, painted):
    seen = []
    paint = FullSize(lambda small: seen.append(small.shape) or negative(small), longer_side(side))
    result = paint(PICTURE)
    assert (result.shape, result.dtype) == (PICTURE.shape, np.uint8)
    assert seen == [(*painted, 3)]
    if painted == PICTURE.shape[:2]:
        assert np.array_equal(result, 255 - PICTURE)


def test_details_that_the_small_picture_loses_come_back():
    """A network that paints everything grey leaves half of the fine lines of the picture."""
    lines = np.full((120, 160, 3), 100, np.uint8)
    lines[:, ::2] = 140
    small = resize(lines, (60, 80))
    assert (small == 120).all()
    result = enlarge(np.full_like(small, 70), small, lines)
    assert np.abs(np.diff(result[..., 0].astype(int), axis=1)).min() == 20
    assert result.mean() == pytest.approx(70, abs=0.5)


def test_a_picture_that_loses_nothing_is_enlarged_plainly():
    ramp = np.repeat(np.linspace(0, 252, 160).astype(np.uint8)[None, :, None], 120, 0)
    ramp = np.repeat(ramp, 3, 2)
    small = resize(ramp, (60, 80))
    plain = cv2.resize(255 - small, (160, 120), interpolation=cv2.INTER_CUBIC)
    assert np.abs(enlarge(255 - small, small, ramp).astype(int) - plain).max() <= 2


def test_the_result_is_finished_at_full_size():
    def finish(painted, picture):
        assert painted.shape == picture.shape
        return picture

    assert np.array_equal(FullSize(negative, longer_side(80), finish)(PICTURE), PICTURE)


def test_a_panorama_that_is_painted_too_small_is_told_the_remedy():
    def least_of_16(small):
        if min(small.shape[:2]) < 16:
            raise TooSmallError(small.shape, 16)
        return negative(small)

    panorama = PICTURE[:20].repeat(4, 1)  # 1280 x 20
    with pytest.raises(UnfitError, match=r"720 x 11 is too small.*: use a larger --paint_size$"):
        FullSize(least_of_16, longer_side(720), flag="paint_size")(panorama)
    assert FullSize(least_of_16, longer_side(1280))(panorama).shape == panorama.shape
    with pytest.raises(TooSmallError, match=r"at least 16 x 16$"):  # no size helps
        FullSize(least_of_16, longer_side(720))(panorama[:15])
