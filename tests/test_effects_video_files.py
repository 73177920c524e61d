"""Video files by themselves: colours, transparency, rotation."""

from fractions import Fraction

import av
import numpy as np
import pytest
import tiny_clips

from effects.video_files import Frame, VideoReader, VideoWriter


@pytest.mark.parametrize("codec, tag", [("libx264", 1), ("libx264", 5)])
def test_colours_stay(tmp_path, codec, tag):
    """Videos of BT.709 and BT.601 both give the colours that were put into them."""
    colour = np.array([200, 60, 90], np.uint8)
    path = tmp_path / "in.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.height, stream.width, stream.pix_fmt = 64, 64, "yuv420p"
        stream.codec_context.colorspace = tag
        frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), colour), format="rgb24")
        frame = frame.reformat(format="yuv420p", dst_colorspace=tag)
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    (frame,) = VideoReader(path)
    assert np.abs(frame.image.astype(int) - colour).max() <= 3  # steps of 8-bit YUV
    writer = VideoWriter(tmp_path / "out.mp4", (64, 64, 3), Fraction(1, 25), Fraction(25))
    writer.write(frame)
    writer.close()
    (again,) = VideoReader(tmp_path / "out.mp4")
    assert np.abs(again.image.astype(int) - colour).max() <= 6


@pytest.mark.parametrize("name, codec", [("out.webm", "vp9"), ("out.mov", "prores")])
def test_transparent_videos(tmp_path, name, codec):
    rgba = np.zeros((64, 64, 4), np.uint8)
    rgba[..., 0], rgba[:, 32:, 3] = 200, 255
    writer = VideoWriter(tmp_path / name, rgba.shape, Fraction(1, 25), Fraction(25))
    for index in range(5):
        writer.write(Frame(rgba, index))
    writer.close()
    decoder = "libvpx-vp9" if codec == "vp9" else "prores"  # FFmpeg's own VP9 drops alpha
    with av.open(str(tmp_path / name)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name.startswith(codec)
        context = av.CodecContext.create(decoder, "r")
        context.extradata = stream.codec_context.extradata
        context.width, context.height = 64, 64
        context.codec_tag = stream.codec_context.codec_tag
        frames = [frame for packet in container.demux(stream) for frame in context.decode(packet)]
    assert len(frames) == 5
    alpha = frames[-1].to_ndarray(format="rgba")[..., 3]
    assert alpha[:, :28].max() < 8 and alpha[:, 36:].min() > 247


def test_rotated_videos_are_turned_upright(tmp_path):
    pictures = np.zeros((2, 96, 128, 3), np.uint8)
    pictures[:, 10:40, 70:120] = (250, 120, 30)
    source = tiny_clips.write(tmp_path / "in.mp4", pictures[:2])
    data = bytearray(source.read_bytes())
    # The matrix of the track header (after flags, times, ids ...) turned by 90 degrees clockwise.
    start = data.index(b"tkhd") + 4 + 40
    one, zero, minus = b"\0\1\0\0", b"\0\0\0\0", b"\xff\xff\0\0"
    data[start : start + 36] = b"".join(
        [zero, one, zero, minus, zero, zero, zero, zero, b"\x40\0\0\0"]
    )
    source.write_bytes(data)
    frame = next(iter(VideoReader(source)))
    assert frame.image.shape == (128, 96, 3)
    expected = np.rot90(pictures[0], -1)
    assert np.abs(frame.image.astype(int) - expected).mean() < 4
