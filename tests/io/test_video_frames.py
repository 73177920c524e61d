"""Tests that mirrored, transparent and interlaced frames are displayed correctly."""

import struct
from fractions import Fraction

import av
import numpy as np
import pytest
import tiny_clips

from portrait.io.video_frames import Frame
from portrait.io.video_reader import open_video
from portrait.io.video_writer import VideoWriter

ONE = 1 << 16  # in the display matrix of a track


@pytest.mark.parametrize(
    ("a", "b", "c", "d", "shown"),
    [
        (1, 0, 0, 1, lambda picture: picture),
        (-1, 0, 0, 1, np.fliplr),
        (1, 0, 0, -1, np.flipud),
        (-1, 0, 0, -1, lambda picture: np.rot90(picture, 2)),
        (0, 1, -1, 0, lambda picture: np.rot90(picture, -1)),
        (0, -1, 1, 0, np.rot90),
        (0, 1, 1, 0, lambda picture: picture.swapaxes(0, 1)),
        (0, -1, -1, 0, lambda picture: np.rot90(picture.swapaxes(0, 1), 2)),
    ],
)
def test_display_matrices(tmp_path, a, b, c, d, shown):
    """A pixel at (x, y) is shown at (a x + c y, b x + d y) (ISO 14496-12, 6.2.2)."""
    picture = np.zeros((48, 64, 3), np.uint8)
    picture[4:20, 30:60], picture[30:44, 6:14] = (250, 120, 30), 200
    source = tiny_clips.write(tmp_path / "in.mp4", picture[None].repeat(2, 0))
    data = bytearray(source.read_bytes())
    start = data.index(b"tkhd") + 4 + 40  # after flags, times, number, duration, layer, volume
    matrix = [a * ONE, b * ONE, 0, c * ONE, d * ONE, 0, 0, 0, 1 << 30]
    data[start : start + 36] = struct.pack(">9i", *matrix)
    source.write_bytes(data)
    frame = next(iter(open_video(source)))
    expected = shown(picture)
    assert frame.image.shape == expected.shape
    assert np.abs(frame.image.astype(int) - expected).mean() < 4


@pytest.mark.parametrize("name", ["in.mov", "in.webm"])
def test_what_lies_under_alpha_0_is_not_seen(tmp_path, name):
    """A cut-out: red where it is transparent, half-transparent green, opaque blue."""
    rgba = np.zeros((48, 96, 4), np.uint8)
    rgba[:, :32], rgba[:, 32:64], rgba[:, 64:] = (255, 0, 0, 0), (0, 160, 0, 128), (0, 0, 200, 255)
    writer = VideoWriter(tmp_path / name, rgba.shape, Fraction(1, 25), Fraction(25))
    for index in range(3):
        writer.write(Frame(rgba, index))
    writer.close()
    frames = list(open_video(tmp_path / name))
    assert len(frames) == 3
    for frame in frames:
        on_white = [(255, 255, 255), (127, 207, 127), (0, 0, 200)]
        for left, colour in zip((8, 40, 72), on_white, strict=True):
            assert np.abs(frame.image[8:40, left : left + 16].astype(int) - colour).max() < 16


def fields(count: int) -> list[np.ndarray]:
    """Yields whole pictures (96, 128, 3) of a white bar that moves by 4 pixels per field."""
    pictures = np.zeros((2 * count, 96, 128, 3), np.uint8)
    for index, picture in enumerate(pictures):
        picture[:, 20 + 4 * index : 40 + 4 * index] = 255
    return list(pictures)


def write_woven(path, interlaced: bool) -> None:
    """The even rows of each frame come from one picture, the odd rows from the next."""
    pictures = fields(8)
    options = {"flags": "+ildct+ilme"} if interlaced else {}
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg2video", rate=25, options=options)
        stream.height, stream.width, stream.pix_fmt = 96, 128, "yuv422p"
        stream.bit_rate = 8_000_000
        stream.codec_context.qmin = 1
        for index in range(8):
            woven = pictures[2 * index].copy()
            woven[1::2] = pictures[2 * index + 1][1::2]
            frame = av.VideoFrame.from_ndarray(woven, format="rgb24")
            frame = frame.reformat(format="yuv422p", interpolation="POINT")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def combs(image: np.ndarray) -> float:
    """Measures how much closer rows are to the rows two away than to their neighbours."""
    rows = image[..., 1].astype(float)
    return np.abs(rows[1:-1] - rows[:-2]).mean() - np.abs(rows[2:] - rows[:-2]).mean()


def test_interlaced_frames_become_whole(tmp_path):
    write_woven(tmp_path / "in.mpg", interlaced=True)
    reader = open_video(tmp_path / "in.mpg")
    frames = list(reader)
    assert len(frames) == 8
    assert np.diff([frame.pts * reader.time_base for frame in frames]) == pytest.approx(0.04)
    for index, frame in enumerate(frames):
        assert combs(frame.image) < 2
        # Before and after the bar at the time of the first field.
        middle = frame.image[48].astype(int)
        assert np.abs(middle[: 16 + 8 * index]).max() < 40
        assert np.abs(middle[24 + 8 * index : 36 + 8 * index] - 255).max() < 40


def test_progressive_frames_stay(tmp_path):
    """The same frames without the interlaced flag stay, as a shirt with stripes would."""
    write_woven(tmp_path / "in.mpg", interlaced=False)
    for frame in open_video(tmp_path / "in.mpg"):
        assert combs(frame.image) > 8
