"""Tests colours, transparency and rotation of video files."""

from fractions import Fraction

import av
import numpy as np
import pytest
import tiny_clips

from portrait.io.video_outputs import write_video
from portrait.io.video_reader import Frame, VideoReader
from portrait.io.video_writer import VideoWriter


@pytest.mark.parametrize("tag, rows", [(1, 64), (5, 64), (5, 720), (6, 720)])
def test_colours_stay(tmp_path, tag, rows):
    """Videos of BT.709 and BT.601 (with both of its tags) return the original colours."""
    colour = np.array([200, 60, 90], np.uint8)
    path = tmp_path / "in.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.height, stream.width, stream.pix_fmt = rows, 64, "yuv420p"
        stream.codec_context.colorspace = tag
        frame = av.VideoFrame.from_ndarray(np.full((rows, 64, 3), colour), format="rgb24")
        frame = frame.reformat(format="yuv420p", dst_colorspace=min(tag, 5))
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    (frame,) = VideoReader(path)
    assert np.abs(frame.image.astype(int) - colour).max() <= 3  # steps of 8-bit YUV
    writer = VideoWriter(tmp_path / "out.mp4", (rows, 64, 3), Fraction(1, 25), Fraction(25))
    writer.write(frame)
    writer.close()
    (again,) = VideoReader(tmp_path / "out.mp4")
    assert np.abs(again.image.astype(int) - colour).max() <= 6


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
def test_an_alpha_is_grey_and_reaches_white(tmp_path, suffix):
    """A frame of grey becomes what its three equal channels become."""
    ramp = np.arange(320).clip(0, 255).astype(np.uint8)[None].repeat(64, 0)
    read = []
    for name, image in (("grey", ramp), ("rgb", ramp[..., None].repeat(3, 2))):
        path = tmp_path / f"{name}{suffix}"
        writer = VideoWriter(path, image.shape, Fraction(1, 25), Fraction(25))
        writer.write(Frame(image, 0))
        writer.close()
        read += [frame.image.astype(int) for frame in VideoReader(path)]
    np.testing.assert_array_equal(*read)
    assert np.abs(read[0] - ramp[..., None]).max() <= 4 and np.ptp(read[0], axis=2).max() == 0
    assert read[0][:, -48:].min() >= 254  # opaque


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


def test_times_count_from_the_start_of_the_file(tmp_path):
    """Recordings of television start at any time."""
    pictures = np.zeros((4, 64, 64, 3), np.uint8)
    times = [7_000_000 + 40 * index for index in range(4)]
    source = tmp_path / "in.ts"
    with av.open(str(source), "w") as container:
        video = container.add_stream("libx264", rate=25)
        video.height, video.width, video.pix_fmt = 64, 64, "yuv420p"
        video.codec_context.time_base = tiny_clips.TIME_BASE
        sound = container.add_stream("aac", rate=48000, layout="mono")
        for picture, time in zip(pictures, times, strict=True):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = time, tiny_clips.TIME_BASE
            container.mux(video.encode(frame))
        container.mux(video.encode())
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        silence.sample_rate, silence.pts = 48000, times[0] * 48
        container.mux(sound.encode(silence))
        container.mux(sound.encode())
    reader = VideoReader(source)
    items = list(reader)
    frames = [item for item in items if isinstance(item, Frame)]
    seconds = [float(frame.pts * reader.time_base) for frame in frames]
    assert np.diff(seconds) == pytest.approx([0.04] * 3) and 0 <= seconds[0] < 0.1
    heard = [float(item.pts * item.time_base) for item in items if not isinstance(item, Frame)]
    assert abs(heard[0] - seconds[0]) < 0.05


def test_frames_get_the_size_of_the_first(tmp_path):
    """Recordings of calls, and joined streams, change their size."""
    parts = [(64, 96), (32, 48), (96, 64)]
    for number, size in enumerate(parts):
        pictures = np.full((3, *size, 3), 60 * (number + 1), np.uint8)
        tiny_clips.write(tmp_path / f"{number}.ts", pictures)
    source = tmp_path / "in.ts"
    source.write_bytes(b"".join((tmp_path / f"{n}.ts").read_bytes() for n in range(len(parts))))
    frames = list(VideoReader(source))
    assert {frame.image.shape for frame in frames} == {(64, 96, 3)}
    assert {round(frame.image.mean() / 60) for frame in frames} == {1, 2, 3}


@pytest.mark.parametrize("codec", ["libopus", "flac"])
def test_audio_that_a_mov_does_not_take(tmp_path, codec):
    source = tiny_clips.write(tmp_path / "in.mkv", np.zeros((9, 64, 64, 3), np.uint8), audio=codec)
    reader = VideoReader(source)
    target = tmp_path / "out.mov"
    writer = VideoWriter(target, (64, 64, 4), reader.time_base, reader.rate, reader.audio)
    for item in reader:
        if isinstance(item, Frame):
            writer.write(Frame(np.zeros((64, 64, 4), np.uint8), item.pts, item.duration))
        else:
            writer.write_audio(item)
    writer.close()
    with av.open(str(target)) as container:
        assert container.streams.audio[0].codec_context.name == "aac"
        heard = np.concatenate(
            [each.to_ndarray()[0, : each.samples] for each in container.decode(audio=0)]
        )
    assert len(heard) / 48000 == pytest.approx(0.36, abs=0.05) and np.abs(heard).max() > 0.3


@pytest.mark.parametrize(
    ("codec", "suffix", "written"),
    [
        ("flac", ".mp4", "aac"),
        ("libopus", ".mp4", "aac"),
        ("pcm_s16le", ".mp4", "aac"),
        ("alac", ".m4v", "alac"),
        ("libmp3lame", ".mp4", "mp3"),
        ("pcm_s16le", ".mov", "pcm_s16le"),
    ],
)
def test_audio_is_what_most_players_can_play(tmp_path, codec, suffix, written):
    pictures = np.zeros((9, 64, 64, 3), np.uint8)
    reader = VideoReader(tiny_clips.write(tmp_path / "in.mkv", pictures, audio=codec))
    write_video(tmp_path / f"out{suffix}", reader, reader)
    with av.open(str(tmp_path / f"out{suffix}")) as container:
        assert container.streams.audio[0].codec.canonical_name == written


# No camera has pixels of 20 to 1, so such a file is damaged.
@pytest.mark.parametrize(
    "aspect, shape",
    [((16, 11), (64, 93)), ((3, 4), (85, 64)), ((2, 1), (64, 128)), ((20, 1), (64, 64))],
)
def test_pixels_become_square(tmp_path, aspect, shape):
    path = tmp_path / "in.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.height, stream.width, stream.pix_fmt = 64, 64, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(*aspect)
        frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 128, np.uint8), format="rgb24")
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    (frame,) = VideoReader(path)
    assert frame.image.shape[:2] == shape
