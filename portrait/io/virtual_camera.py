"""Sends frames to a virtual camera, which other programs show like a webcam.

pyvirtualcam does the work. It is optional; docs/requirements-camera.txt pins its version.
"""

import time
from fractions import Fraction
from typing import NamedTuple

import av
import cv2
import numpy as np

from portrait.errors import UserError, first_line
from portrait.io.video_frames import Frame


class Device(NamedTuple):
    """A virtual camera as a target for frames; `name` is for example "/dev/video2"."""

    name: str


class VirtualCamera:
    """An open virtual camera.

    Args:
        device: the camera.
        shape: the shape of the frames, (H, W) or (H, W, 3). If a side is odd, the last row or
            column is dropped.
        time_base: the unit of `Frame.pts` in seconds.
        rate: frames per second, which is told to the programs that show the camera.

    Raises:
        UserError: pyvirtualcam is not installed, or there is no such device.
    """

    def __init__(self, device: Device, shape: tuple[int, ...], time_base: Fraction, rate: Fraction):
        library = _library()
        self._height, self._width = shape[0] // 2 * 2, shape[1] // 2 * 2
        self._time_base = float(time_base)
        self._start: float | None = None
        try:
            self._camera = library.Camera(
                self._width, self._height, float(rate), device=device.name
            )
        except (RuntimeError, ValueError, OSError) as error:
            raise UserError(
                f"--virtual_camera={device.name}: {first_line(error).rstrip('.')}; on Linux, "
                "`sudo modprobe v4l2loopback` makes such a device"
            ) from error

    def write(self, frame: Frame) -> None:
        """Sends a frame, uint8 of the camera's `shape`, at its time after the first frame."""
        image = frame.image[: self._height, : self._width]
        if image.ndim == 2:
            image = cv2.merge([image] * 3)
        due, now = frame.pts * self._time_base, time.monotonic()
        if self._start is None:
            self._start = now - due
        time.sleep(max(0.0, self._start + due - now))
        self._camera.send(np.ascontiguousarray(image))

    def write_audio(self, packet: av.Packet) -> None:
        """Does nothing: a camera has no sound."""

    def close(self) -> None:
        self._camera.close()


def check_device(device: Device, transparent: bool) -> None:
    """Raises UserError if pyvirtualcam is not installed, or if the frames have transparency."""
    if transparent:
        raise UserError(f"--virtual_camera={device.name}: a camera shows no transparency")
    _library()


def _library():
    try:
        import pyvirtualcam
    except ImportError as error:
        raise UserError(
            "--virtual_camera needs a library: pip install -r docs/requirements-camera.txt"
        ) from error
    return pyvirtualcam
