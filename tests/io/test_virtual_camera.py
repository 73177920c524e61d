"""Tests the frames that a virtual camera receives, and the error without a camera."""

import sys
import time
from fractions import Fraction

import numpy as np
import pytest

from portrait.errors import UserError
from portrait.io.video_frames import Frame
from portrait.io.video_outputs import check_target, write_video
from portrait.io.virtual_camera import Device


class Clip:
    path, time_base, rate, audio = "a clip", Fraction(1, 1000), Fraction(25), None


@pytest.fixture
def received(monkeypatch):
    """Records the calls of a backend of pyvirtualcam: (width, height, rate, device), then bytes."""
    library = pytest.importorskip("pyvirtualcam")
    from pyvirtualcam import camera

    got = []

    class Backend(library.Backend):
        def __init__(self, *, width, height, fps, fourcc, device):
            got.append((width, height, fps, device))
            self._device = device

        def close(self):
            got.append("closed")

        def send(self, frame):
            got.append((time.monotonic(), frame.copy()))

        def device(self):
            return self._device

        def native_fourcc(self):
            return None

    monkeypatch.setattr(camera, "BACKENDS", {"test": Backend})
    return got


def frames(*shape, times=(0, 40, 120)):
    return [Frame(np.full(shape, 50 + time, np.uint8), time) for time in times]


def test_frames_arrive_at_their_times(received):
    assert write_video(Device("/dev/video7"), Clip(), frames(6, 8, 3)) == (3, True)
    assert received[0] == (8, 6, 25, "/dev/video7") and received[-1] == "closed"
    moments, pictures = zip(*received[1:-1], strict=True)
    assert [np.unique(picture).tolist() for picture in pictures] == [[50], [90], [170]]
    assert moments[1] - moments[0] >= 0.03 and moments[2] - moments[0] >= 0.11


def test_alphas_become_grey_and_sizes_even(received):
    write_video(Device("/dev/video7"), Clip(), frames(7, 9, times=(0,)))
    assert received[0][:2] == (8, 6)
    assert received[1][1].size == 8 * 6 * 3


def test_there_is_no_such_device():
    pytest.importorskip("pyvirtualcam")
    with pytest.raises(UserError, match="/dev/video99") as error:
        write_video(Device("/dev/video99"), Clip(), frames(6, 8, 3))
    assert "\n" not in str(error.value)


def test_without_the_library_it_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyvirtualcam", None)
    with pytest.raises(UserError, match=r"requirements-camera\.txt"):
        check_target(Device("/dev/video7"), False)


def test_a_camera_has_no_transparency():
    with pytest.raises(UserError, match="/dev/video7"):
        check_target(Device("/dev/video7"), True)
