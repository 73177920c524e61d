"""Tests the first and the last frame of videos, the sound beside a gap, and Ctrl-C at the end."""

import signal
from fractions import Fraction

import av
import numpy as np
import pytest

from portrait.io.video_frames import Frame
from portrait.io.video_outputs import write_video
from portrait.io.video_reader import open_video
from portrait.io.video_writer import VideoWriter

RATE = 48_000


def write(path, times, base, audio="", packets=()):
    """Writes frames at `times` in units of `base`, and sounds: (first sample, float32 samples)."""
    with av.open(str(path), "w") as file:
        video = file.add_stream("libx264", rate=25)
        video.height, video.width, video.pix_fmt = 32, 32, "yuv420p"
        video.codec_context.time_base = base
        sound = file.add_stream(audio, rate=RATE, layout="mono") if audio else None
        for time in times:
            frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
            frame.pts, frame.time_base = time, base
            file.mux(video.encode(frame))
        file.mux(video.encode())
        for start, samples in packets:
            levels = np.rint(samples[None] * 32767).astype(np.int16)
            part = av.AudioFrame.from_ndarray(levels, format="s16", layout="mono")
            part.sample_rate, part.pts, part.time_base = RATE, start, Fraction(1, RATE)
            file.mux(sound.encode(part))
        if sound:
            file.mux(sound.encode())
    return path


def copy(source, target):
    reader = open_video(source)
    write_video(target, reader, reader)
    reader.close()
    return target


def times_of(path) -> list[float]:
    with av.open(str(path)) as file:
        return [float(frame.time) for frame in file.decode(video=0)]


def test_the_last_frame_of_a_transport_stream_is_seen(tmp_path):
    """Its duration is unknown, and that of the file ends a tick after the start of the frame."""
    times = [0, 11201, 24893, 33826, 38331, 49788, 58203, 61305, 72427, 80762]
    source = write(tmp_path / "in.ts", times, Fraction(1, 90_000))
    target = copy(source, tmp_path / "out.mp4")
    assert len(times_of(target)) == len(times)
    with av.open(str(target)) as file:
        last = max((each for each in file.demux(video=0) if each.size), key=lambda each: each.pts)
        assert 0.02 < last.duration * last.time_base < 0.2


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
def test_frames_before_the_sound_are_kept(tmp_path, count, suffix):
    """FFmpeg takes the start of these few frames to be that of the sound."""
    packets = [(RATE // 10 + 4608 * index, np.zeros(4608, np.float32)) for index in range(3)]
    times = [40 * index for index in range(count)]
    source = write(tmp_path / "in.mkv", times, Fraction(1, 1000), "flac", packets)
    with av.open(str(source)) as file:
        assert file.start_time == 100_000  # microseconds
    items = list(open_video(source))
    assert [item.pts for item in items if isinstance(item, Frame)] == times
    heard = [item.pts * item.time_base for item in items if not isinstance(item, Frame)]
    assert float(heard[0]) == pytest.approx(0.1)
    assert times_of(copy(source, tmp_path / f"out{suffix}")) == pytest.approx(
        np.array(times) / 1000
    )


@pytest.mark.parametrize("suffix", [".webm", ".m4v"])
def test_no_sound_after_a_gap_is_heard_before_it(tmp_path, suffix):
    """A tone of 400 Hz that is encoded again, with a gap that begins within a frame."""
    tone = np.sin(np.arange(240) * (2 * np.pi * 400 / RATE)).astype(np.float32) / 2
    starts = [start for start in range(0, 2 * RATE, 240) if not 0.805 <= start / RATE < 1.4]
    packets = [(start, tone) for start in starts]
    source = write(tmp_path / "in.mkv", range(50), Fraction(1, 25), "pcm_s16le", packets)
    resampler, loud = av.AudioResampler("flt", "mono", RATE), np.zeros(3 * RATE)
    with av.open(str(copy(source, tmp_path / f"out{suffix}"))) as file:
        assert not file.streams.audio[0].codec_context.name.startswith("pcm")
        for part in (each for sound in file.decode(audio=0) for each in resampler.resample(sound)):
            start = round(part.pts * part.time_base * RATE)
            levels = np.abs(part.to_ndarray()[0])[max(0, -start) :]
            loud[max(0, start) :][: len(levels)] = levels
    loud = loud.reshape(-1, 240).max(axis=1) > 0.25  # parts of 5 ms
    edges = np.flatnonzero(np.diff(loud[20:320]))[:2] + 21
    np.testing.assert_allclose(edges, [161, 280], atol=1)


@pytest.mark.parametrize("presses", [1, 2])
def test_ctrl_c_while_a_video_is_finished(tmp_path, monkeypatch, presses):
    """The first discards none of the frames, the second ends it at once."""
    source = write(tmp_path / "in.mp4", range(5), Fraction(1, 25))
    reader, target, close = open_video(source), tmp_path / "out.mp4", VideoWriter.close

    def interrupted(self):
        for _ in range(presses):
            signal.raise_signal(signal.SIGINT)
        close(self)

    monkeypatch.setattr(VideoWriter, "close", interrupted)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        if presses == 1:
            assert write_video(target, reader, reader) == (5, False)
            assert len(times_of(target)) == 5
        else:
            with pytest.raises(KeyboardInterrupt):
                write_video(target, reader, reader)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert {each.name for each in tmp_path.iterdir()} == {"in.mp4", *["out.mp4"][: 2 - presses]}
