"""Tests the choice of streams, the clocks of files, and names that look like addresses."""

import shutil
from fractions import Fraction

import av
import numpy as np
import pytest
import tiny_clips

from portrait.io import video_streams
from portrait.io.video_frames import Frame
from portrait.io.video_outputs import write_video
from portrait.io.video_reader import VideoReader, open_video
from portrait.io.video_streams import VideoError

GREYS = np.linspace(40, 200, 10).astype(np.uint8)
PICTURES = GREYS[:, None, None, None].repeat(48, 1).repeat(64, 2).repeat(3, 3)


def copy(source, target):
    """Copies a video frame by frame."""
    reader = open_video(source)
    write_video(target, reader, reader)
    reader.close()
    return target


def times_of(path) -> tuple[list[float], list[float]]:
    """Returns the times of frames and of audio packets in seconds, from the reader."""
    reader = open_video(path)
    seen, heard = [], []
    for item in reader:
        base = reader.time_base if isinstance(item, Frame) else item.time_base
        (seen if isinstance(item, Frame) else heard).append(float(item.pts * base))
    return seen, heard


@pytest.mark.parametrize("container", [".avi", ".mkv"])
@pytest.mark.parametrize("target", [".mp4", ".mov", ".webm"])
def test_pcm_without_a_layout_of_channels(tmp_path, container, target):
    """AVI's stereo has two unnamed channels, which MP4 refuses when the file is finished."""
    source = tmp_path / f"in{container}"
    with av.open(str(source), "w") as file:
        video = file.add_stream("mpeg4", rate=25)
        video.height, video.width, video.pix_fmt = 48, 64, "yuv420p"
        sound = file.add_stream("pcm_s16le", rate=44100, layout="stereo")
        for index, picture in enumerate(PICTURES):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            file.mux(video.encode(frame))
            tone = np.sin(np.arange(1764) * (2 * np.pi * 441 / 44100)) * 9000
            part = av.AudioFrame.from_ndarray(
                tone.astype(np.int16).repeat(2)[None], format="s16", layout="stereo"
            )
            part.sample_rate, part.pts = 44100, 1764 * index
            file.mux(sound.encode(part))
        file.mux(video.encode())
    with av.open(str(copy(source, tmp_path / f"out{target}"))) as file:
        heard = np.concatenate([each.to_ndarray()[0] for each in file.decode(audio=0)])
    peak = np.abs(heard).max() / (1 if heard.dtype.kind == "f" else 32768)
    assert peak == pytest.approx(9000 / 32768, rel=0.2)


def recording(path, codec: str, size: int, heard=lambda start: True, loud=lambda start: True):
    """Writes 2 s with PCM packets of `size` samples, where they are `heard`, silent or `loud`."""
    with av.open(str(path), "w") as file:
        video = file.add_stream("libx264", rate=25)
        video.height, video.width, video.pix_fmt = 48, 64, "yuv420p"
        sound = file.add_stream(codec, rate=48000, layout="mono")
        for index in range(50):
            frame = av.VideoFrame.from_ndarray(PICTURES[index // 5], format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            file.mux(video.encode(frame))
            for start in range(1920 * index, 1920 * (index + 1), size):
                zero, one = (128, 228) if codec == "pcm_u8" else (0, 20000)
                part = np.full((1, size), one if loud(start / 48000) else zero)
                form = "u8" if codec == "pcm_u8" else "s16"
                part = part.astype(np.uint8 if form == "u8" else np.int16)
                samples = av.AudioFrame.from_ndarray(part, format=form, layout="mono")
                samples.sample_rate, samples.pts = 48000, start
                if heard(start / 48000):
                    file.mux(sound.encode(samples))
        for stream in (video, sound):
            file.mux(stream.encode())
    return path


def sounds_of(path) -> tuple[int, list[float]]:
    """Returns the number of samples, and the times in seconds at which loud sounds begin."""
    resampler = av.AudioResampler("flt", "mono", 48000)
    with av.open(str(path)) as file:
        parts = [part for each in file.decode(audio=0) for part in resampler.resample(each)]
    loud = np.zeros(48000 * 3, bool)
    for part in parts:
        start = round(part.pts * part.time_base * 48000)
        place = slice(max(start, 0), max(start, 0) + part.samples)
        loud[place] = np.abs(part.to_ndarray()[0]) > 0.1
    rises = np.flatnonzero(loud[1:] & ~loud[:-1]) / 48000
    near = np.diff(rises, prepend=-1) > 0.2
    return sum(part.samples for part in parts), rises[near].tolist()


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".m4v", ".mkv", ".webm"])
@pytest.mark.parametrize("codec", ["pcm_s16le", "pcm_u8"])
def test_sound_after_a_gap_is_not_early(tmp_path, suffix, codec):
    """From 0.4 s, with a gap from 0.8 to 1.4 s, and a beep of 40 ms on each side."""
    beeps = [0.6, 1.6]
    source = recording(
        *(tmp_path / "in.mkv", codec, 1920),
        heard=lambda start: 0.4 <= start < 0.8 or start >= 1.4,
        loud=lambda start: any(abs(start - beep) < 0.01 for beep in beeps),
    )
    assert sounds_of(source)[1] == pytest.approx(beeps, abs=0.01)
    target = copy(source, tmp_path / f"out{suffix}")
    assert sounds_of(target)[1] == pytest.approx(beeps, abs=0.01)
    if suffix == ".mov":  # no sample is lost there, and silence takes the gap
        assert sounds_of(target)[0] == 96000 - 0.4 * 48000


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm"])
def test_packets_shorter_than_a_millisecond(tmp_path, suffix):
    """Matroska stores times in milliseconds, so some packets have equal times."""
    source = recording(tmp_path / "in.mkv", "pcm_s16le", 40)
    target = copy(source, tmp_path / f"out{suffix}")
    assert sounds_of(target)[0] == pytest.approx(96000, abs=2048)  # whole frames of AAC


UNEVEN, SLOW = [0, 40, 80, 120, 200, 240, 280, 700, 740, 2000], list(range(0, 15000, 1500))


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts", ".flv", ".mov"])
@pytest.mark.parametrize("times", [UNEVEN, SLOW], ids=["uneven", "slow"])
def test_the_times_of_a_file_in_order_stay(tmp_path, suffix, times):
    """With B-frames, of a variable rate; of other formats, the start is taken off."""
    source = tiny_clips.write(tmp_path / f"in{suffix}", PICTURES, times, audio="aac")
    seen, heard = times_of(source)
    assert np.subtract(seen, seen[0]) == pytest.approx(np.array(times) / 1000, abs=2e-3)
    assert np.diff(heard) == pytest.approx([1024 / 48000] * (len(heard) - 1), abs=2e-3)
    assert abs(heard[0] - seen[0]) < 0.05


@pytest.mark.parametrize("suffix", [".ts", ".mkv"])
@pytest.mark.parametrize("stream", ["video", "audio"])
def test_a_clock_that_leaps_alone(tmp_path, suffix, stream):
    """One of two streams jumps by an hour at a keyframe."""
    source = tiny_clips.write(tmp_path / "in.mkv", PICTURES.repeat(5, 0), audio="aac")
    with av.open(str(source)) as before, av.open(str(tmp_path / f"out{suffix}"), "w") as after:
        streams = [after.add_stream_from_template(each) for each in before.streams]
        leaps = False
        for packet in before.demux():
            if packet.dts is None and packet.pts is None:
                continue
            start = packet.pts * packet.time_base
            leaps |= packet.stream.type == stream and packet.is_keyframe and start >= 1
            if packet.stream.type == stream and leaps:
                hour = int(3600 / packet.time_base)
                packet.pts += hour
                packet.dts = packet.pts if packet.dts is None else packet.dts + hour
            packet.stream = streams[packet.stream.index]
            after.mux(packet)
    seen, heard = times_of(tmp_path / f"out{suffix}")
    assert len(seen) == 50 and max(np.diff(seen)) < 0.3 and max(np.diff(heard)) < 0.1
    assert seen[-1] - seen[0] == pytest.approx(49 * 0.04, abs=0.3)
    assert heard[-1] == pytest.approx(seen[-1], abs=0.3)


@pytest.mark.parametrize("audio", ["", "aac"])
def test_joined_recordings_come_one_after_the_other(tmp_path, audio):
    """`cat one.ts one.ts`: the times restart in the middle."""
    one = tiny_clips.write(tmp_path / "one.ts", PICTURES, audio=audio)
    (tmp_path / "two.ts").write_bytes(one.read_bytes() * 2)
    seen, heard = times_of(tmp_path / "two.ts")
    assert len(seen) == 20
    steps = np.diff(seen)
    assert np.delete(steps, 9) == pytest.approx([0.04] * 18, abs=1e-3)
    assert 0.03 < steps[9] < 0.15  # until the sound of the first half ends
    if audio:
        alone, alone_heard = times_of(one)
        # Sound and picture are as well in sync in the second half as in the first.
        assert heard[-1] - seen[-1] == pytest.approx(alone_heard[-1] - alone[-1], abs=1e-3)
        assert min(np.diff(heard)) > 0
    frames = [
        item.image.mean() for item in open_video(tmp_path / "two.ts") if hasattr(item, "image")
    ]
    assert frames == pytest.approx(np.tile(GREYS, 2), abs=4)
    assert len(tiny_clips.read(copy(tmp_path / "two.ts", tmp_path / "out.mp4"))[0]) == 20


@pytest.mark.parametrize("leap", [-400, 3_600_000, 90_000_000])
def test_a_clock_that_leaps(tmp_path, leap):
    """Both streams of a recording jump by an hour or a day, or back; in milliseconds."""
    parts = []
    for number, start in enumerate([0, 400 + leap]):
        times = [1_000_000 + start + 40 * index for index in range(10)]
        part = tmp_path / f"{number}.ts"
        tiny_clips.write(part, PICTURES, times)
        parts.append(part.read_bytes())
    (tmp_path / "in.ts").write_bytes(b"".join(parts))
    seen, _ = times_of(tmp_path / "in.ts")
    assert len(seen) == 20 and 0.03 < seen[10] - seen[9] < 0.15 and seen[-1] < 1


def test_a_long_still_is_no_leap(tmp_path):
    """A slide of two minutes, in a format that stores durations."""
    times = [0, 40, 120_000]
    source = tiny_clips.write(tmp_path / "in.mp4", PICTURES[:3], times)
    assert times_of(source)[0] == pytest.approx([0, 0.04, 120])
    # With B-frames, and longer than a gap that other formats may have.
    times = [0, 100, 200, 300, *range(400_300, 400_900, 100)]
    source = tiny_clips.write(tmp_path / "in.mp4", PICTURES, times)
    assert times_of(source)[0] == pytest.approx(np.array(times) / 1000)


def test_the_cover_is_not_the_video(tmp_path):
    """The first stream is a picture; the default stream is the video."""
    source = tmp_path / "in.mkv"
    with av.open(str(source), "w") as file:
        cover = file.add_stream("mjpeg", rate=25)
        cover.height, cover.width, cover.pix_fmt = 32, 32, "yuvj420p"
        video = file.add_stream("libx264", rate=25)
        video.height, video.width, video.pix_fmt = 48, 64, "yuv420p"
        cover.disposition, video.disposition = 0, av.stream.Disposition.default
        file.mux(cover.encode(av.VideoFrame(32, 32, "yuvj420p")))
        for index, picture in enumerate(PICTURES):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            file.mux(video.encode(frame))
        for stream in (cover, video):
            file.mux(stream.encode())
    frames = list(open_video(source))
    assert len(frames) == 10 and frames[0].image.shape == (48, 64, 3)


def two_sounds(path) -> bytes:
    with av.open(str(path), "w") as file:
        video = file.add_stream("libx264", rate=25)
        video.height, video.width, video.pix_fmt = 48, 64, "yuv420p"
        sounds = [file.add_stream("aac", rate=48000, layout="mono") for _ in range(2)]
        for index, picture in enumerate(PICTURES):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            file.mux(video.encode(frame))
        for sound in sounds:
            silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
            silence.sample_rate, silence.pts = 48000, 0
            file.mux(sound.encode(silence))
        for stream in (video, *sounds):
            file.mux(stream.encode())
    return path.read_bytes()


def test_sound_of_an_unknown_codec(tmp_path, caplog):
    """Phones store spatial sound, which FFmpeg does not know, before ordinary sound."""
    data = two_sounds(tmp_path / "in.mov")
    once = data.replace(b"mp4a", b"apac", 1).replace(b"esds", b"free", 1)
    (tmp_path / "in.mov").write_bytes(once)
    copy(tmp_path / "in.mov", tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as file:
        assert [each.codec_context.name for each in file.streams.audio] == ["aac"]
    assert not caplog.text
    (tmp_path / "in.mov").write_bytes(data.replace(b"mp4a", b"apac").replace(b"esds", b"free"))
    copy(tmp_path / "in.mov", tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as file:
        assert not file.streams.audio
    assert "in.mov" in caplog.text


def test_video_of_an_unknown_codec(tmp_path):
    (tmp_path / "in.mov").write_bytes(two_sounds(tmp_path / "in.mov").replace(b"avc1", b"zzz1"))
    with pytest.raises(VideoError, match=r"in\.mov"):
        VideoReader(tmp_path / "in.mov")


@pytest.mark.parametrize(
    "name", ["12:30.mp4", "http:clip.mp4", "a%d,b'c.mp4", "-i.mp4", "ä 日.mp4"]
)
def test_any_name(tmp_path, monkeypatch, name):
    """Relative paths, as on the command line."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(tiny_clips.write(tmp_path / "plain.mp4", PICTURES[:3], audio="aac"), name)
    copy(name, f"out-{name}")
    copy("plain.mp4", name)
    assert len(tiny_clips.read(tmp_path / name)[0]) == 3


@pytest.mark.parametrize(
    "playlist",
    ["ffconcat version 1.0\nfile plain.mp4\n", "#EXTM3U\n#EXTINF:1,\n{url}\n#EXT-X-ENDLIST\n"],
)
def test_playlists_open_nothing(tmp_path, playlist):
    plain = tiny_clips.write(tmp_path / "plain.mp4", PICTURES[:3])
    for name, url in (("a.mp4", plain), ("b.m3u8", plain), ("c.ts", "http://127.0.0.1:9/a.ts")):
        (tmp_path / name).write_text(playlist.format(url=url))
        with pytest.raises(VideoError, match=name):
            VideoReader(tmp_path / name)


def test_frames_are_bounded(tmp_path, monkeypatch):
    clip = tiny_clips.write(tmp_path / "a.mp4", PICTURES[:3])
    most = PICTURES.shape[1] * PICTURES.shape[2]
    for limit, count in ((most, 3), (most // 2, 0)):
        monkeypatch.setattr(video_streams, "MOST_PIXELS", limit)
        try:
            frames = list(open_video(clip))
        except VideoError:
            frames = []
        assert len(frames) == count
