"""Tests videos: timestamps, sound, rotation, transparency, damaged files, Ctrl-C."""

import itertools
import signal
from fractions import Fraction

import av
import numpy as np
import pytest
import tiny_clips
from PIL import Image

from portrait.effects import video
from portrait.effects.catalogue import Effects, Settings
from portrait.effects.styles import Style
from portrait.errors import UserError
from portrait.inference.network import Network
from portrait.io.images import read_image, write_png
from portrait.io.video_reader import Frame
from portrait.io.video_writer import VideoWriter
from portrait.style_transfer.full_size import FullSize, longer_side
from portrait.style_transfer.steady import Steady

WHITE_IS_PERSON = Network("test", (64, 48), lambda image: (image[..., 0] > 128).astype(np.float32))
GREEN = Settings(background=lambda time: (0, 200, 0))


@pytest.fixture(scope="module")
def pictures():
    """A white block that moves to the right before blue, 20 frames of 96 x 128."""
    frames = np.zeros((20, 96, 128, 3), np.uint8)
    frames[..., 2] = 120
    for index, frame in enumerate(frames):
        frame[30:90, 20 + 2 * index : 60 + 2 * index] = 255
    return frames


def convert(source, target, effects=("replace",), **options):
    return video.apply_to_video(source, target, Effects(effects, GREEN), WHITE_IS_PERSON, **options)


def test_a_new_background(pictures, tmp_path):
    source = tiny_clips.write(tmp_path / "in.mp4", pictures)
    outcome = convert(source, tmp_path / "out.mp4")
    assert outcome == video.Outcome(frames=20, broken=0, empty=0, complete=True)
    result, _ = tiny_clips.read(tmp_path / "out.mp4")
    assert result.shape == pictures.shape
    for index, picture in enumerate(result.astype(int)):
        # Away from edges, where H.264 with halved colours errs by some levels.
        assert np.abs(picture[45:80, 35 + 2 * index : 45 + 2 * index] - 255).mean() < 15
        assert np.abs(picture[45:80, 80 + 2 * index :] - (0, 200, 0)).mean() < 15


def test_times_and_audio_stay(pictures, tmp_path):
    times = [0, 40, 100, 120, 300, 333, 500, 900, 920, 1000]
    source = tiny_clips.write(tmp_path / "in.mp4", pictures[:10], times, audio="aac")
    convert(source, tmp_path / "out.mp4")
    assert tiny_clips.read(tmp_path / "out.mp4")[1] == [time / 1000 for time in times]
    assert tiny_clips.packets(tmp_path / "out.mp4") == tiny_clips.packets(source)
    with av.open(str(source)) as before, av.open(str(tmp_path / "out.mp4")) as after:
        assert after.duration == before.duration


def test_an_alpha_has_no_audio_track(pictures, tmp_path):
    """Matroska and WebM keep a track without packets, MP4 drops it."""
    source = tiny_clips.write(tmp_path / "in.mp4", pictures[:3], audio="aac")
    convert(source, tmp_path / "out.mkv", alpha_target=tmp_path / "alpha.mkv")
    with av.open(str(tmp_path / "alpha.mkv")) as container:
        assert [stream.type for stream in container.streams] == ["video"]
    assert tiny_clips.packets(tmp_path / "out.mkv")


def test_a_painted_person_frame_by_frame(pictures, tmp_path):
    """Style the whole frame, cut it out by the matte, lay it over the original."""
    (tmp_path / "in").mkdir()
    noise = np.random.default_rng(0).integers(0, 20, pictures.shape, np.uint8)
    frames = np.maximum(pictures, noise)[:6]
    for index, frame in enumerate(frames):
        write_png(tmp_path / "in" / f"{index}.png", frame)
    fit = longer_side(64)
    style = Style(lambda picture: picture, lambda: FullSize(negative, fit, steady=Steady()))
    effects = Effects(["stylize_person"], Settings(style=style, feather=4))
    targets = [str(tmp_path / name / "%d.png") for name in ("in", "out", "alpha")]
    source, target, alphas = targets
    work = effects, WHITE_IS_PERSON
    for _ in range(2):  # the second video does not remember the first
        video.apply_to_video(source, target, *work, alpha_target=alphas)
    paint = style.video()
    for index, frame in enumerate(frames):
        painted = np.float32(paint(frame))
        alpha = read_image(tmp_path / "alpha" / f"{index}.png") / np.float32(255)
        expected = alpha * painted + (1 - alpha) * frame
        written = read_image(tmp_path / "out" / f"{index}.png")
        assert np.abs(written - expected).max() <= 1  # alpha was rounded to 1/255
        assert np.array_equal(written[:15], frame[:15]) and (written[60] != frame[60]).any()


def negative(picture):
    return 255 - picture


def test_audio_that_the_container_does_not_take_is_encoded_anew(pictures, tmp_path):
    source = tiny_clips.write(tmp_path / "in.mp4", pictures, audio="aac")
    convert(source, tmp_path / "out.webm")
    with av.open(str(tmp_path / "out.webm")) as container:
        assert container.streams.audio[0].codec_context.name == "opus"
        samples = np.concatenate(
            [frame.to_ndarray()[0] for frame in container.decode(container.streams.audio[0])]
        )
    assert len(samples) / 48000 == pytest.approx(0.8, abs=0.1)
    spectrum = np.abs(np.fft.rfft(samples[4800:28800]))
    assert spectrum.argmax() * 48000 / 24000 == pytest.approx(440, abs=4)


def test_damaged_frames_are_left_out_and_counted(pictures, tmp_path, caplog):
    source = tiny_clips.write(tmp_path / "in.mkv", pictures, codec="mjpeg")
    with av.open(str(source)) as container:
        packets = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    data = source.read_bytes()
    place = data.index(packets[7])
    source.write_bytes(data[:place] + bytes(len(packets[7])) + data[place + len(packets[7]) :])
    outcome = convert(source, tmp_path / "out.mp4")
    assert (outcome.frames, outcome.broken) == (19, 1)
    assert source.name in caplog.text
    times = tiny_clips.read(tmp_path / "out.mp4")[1]
    assert times == [0.04 * index for index in range(20) if index != 7]


def test_a_truncated_file_gives_what_there_is(pictures, tmp_path):
    source = tiny_clips.write(tmp_path / "in.mkv", pictures)
    source.write_bytes(source.read_bytes()[: source.stat().st_size * 2 // 3])
    outcome = convert(source, tmp_path / "out.mp4")
    assert 5 <= outcome.frames < 20
    assert len(tiny_clips.read(tmp_path / "out.mp4")[0]) == outcome.frames


def test_frames_that_a_file_promises_are_missed(tmp_path, caplog):
    noise = np.random.default_rng(0).integers(0, 256, (20, 96, 128, 3), np.uint8)
    writer = VideoWriter(tmp_path / "in.mp4", noise[0].shape, Fraction(1, 25), Fraction(25))
    for index, picture in enumerate(noise):
        writer.write(Frame(picture, index))
    writer.close()
    data = (tmp_path / "in.mp4").read_bytes()
    (tmp_path / "in.mp4").write_bytes(data[: len(data) * 2 // 3])
    outcome = convert(tmp_path / "in.mp4", tmp_path / "out.mp4")
    assert 0 < outcome.frames < 20 and outcome.frames + outcome.broken == 20
    assert str(outcome.broken) in caplog.text


def test_ctrl_c_leaves_a_playable_file(pictures, tmp_path, monkeypatch):
    source = tiny_clips.write(tmp_path / "in.mp4", pictures, audio="aac")
    write, calls = VideoWriter.write, itertools.count()

    def interrupted(self, frame):
        if next(calls) == 8:
            raise KeyboardInterrupt
        write(self, frame)

    monkeypatch.setattr(VideoWriter, "write", interrupted)
    outcome = convert(source, tmp_path / "out.mp4")
    assert (outcome.frames, outcome.complete) == (8, False)
    assert len(tiny_clips.read(tmp_path / "out.mp4")[0]) == 8
    assert list(tmp_path.glob(".*")) == []


# Of the writers' calls, the 8th is a frame's, or each flushes the encoder of one file.
@pytest.mark.parametrize(
    "method, call, frames", [("write", 8, 9), ("close", 0, 20), ("close", 1, 20)]
)
def test_after_ctrl_c_each_frame_has_its_alpha(
    pictures, tmp_path, monkeypatch, method, call, frames
):
    source = tiny_clips.write(tmp_path / "in.mp4", pictures)
    usual, calls = getattr(VideoWriter, method), itertools.count()

    def interrupted(self, *frame):
        usual(self, *frame)
        if not (frame and frame[0].image.ndim == 2) and next(calls) == call:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(VideoWriter, method, interrupted)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        outcome = convert(source, tmp_path / "out.mp4", alpha_target=tmp_path / "alpha.mp4")
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert (outcome.frames, outcome.complete) == (frames, False)
    for name in ("out.mp4", "alpha.mp4"):
        assert len(tiny_clips.read(tmp_path / name)[0]) == frames


def test_nobody_is_noted(tmp_path, caplog):
    source = tiny_clips.write(tmp_path / "in.mp4", np.zeros((5, 64, 64, 3), np.uint8))
    outcome = convert(source, tmp_path / "out.mp4")
    assert outcome.empty == 5 and "5 of 5" in caplog.text
    assert np.abs(tiny_clips.read(tmp_path / "out.mp4")[0] - [0.0, 200.0, 0.0]).max() < 8


def test_odd_sizes(pictures, tmp_path):
    source = tiny_clips.write(
        tmp_path / "in.mkv", np.ascontiguousarray(pictures[:3, :95, :127]), codec="ffv1"
    )
    convert(source, tmp_path / "out.mp4")
    assert tiny_clips.read(tmp_path / "out.mp4")[0].shape == (3, 94, 126, 3)


def test_backgrounds_are_asked_for_at_the_times_of_the_frames(pictures, tmp_path):
    times, asked = [0, 40, 100, 120, 900], []
    source = tiny_clips.write(tmp_path / "in.mp4", pictures[:5], times)
    settings = Settings(background=lambda time: asked.append(time) or (0, 200, 0))
    effects = Effects(["replace"], settings)
    video.apply_to_video(source, tmp_path / "out.mp4", effects, WHITE_IS_PERSON)
    assert asked == pytest.approx([time / 1000 for time in times])


def test_a_webcam(pictures, tmp_path, monkeypatch):
    """OpenCV gives BGR."""
    orange = np.where(pictures[..., :1] == 255, np.uint8([250, 120, 30]), pictures)

    class Camera:
        def __init__(self, number):
            self.frames = iter(orange[..., ::-1])

        def isOpened(self):
            return True

        def read(self):
            frame = next(self.frames, None)
            return frame is not None, frame

        def set(self, setting, value):
            return True

        def release(self):
            pass

    monkeypatch.setattr(video.cv2, "VideoCapture", Camera)
    target = tmp_path / "me.mp4"
    outcome = video.record_webcam(0, target, Effects(["replace"], GREEN), WHITE_IS_PERSON)
    assert outcome.frames == 20
    result, times = tiny_clips.read(target)
    assert times == sorted(set(times))
    assert np.abs(result[0, 50:70, 30:50] - (250.0, 120, 30)).mean() < 10
    assert np.abs(result[0, 50:70, 80:110] - (0.0, 200, 0)).mean() < 10


def test_what_cannot_be_done(pictures, tmp_path):
    source = tiny_clips.write(tmp_path / "in.mp4", pictures[:2])
    with pytest.raises(UserError, match=r"in\.mp4"):
        convert(source, source)
    numbered, alphas = tmp_path / "%d.png", tmp_path / "%02d.png"
    with pytest.raises(UserError, match=r"%02d\.png could overwrite .*%d\.png"):
        convert(source, numbered, alpha_target=alphas)
    with pytest.raises(UserError, match=r"\.webm"):
        convert(source, tmp_path / "out.mp4", ["cutout"])
    with pytest.raises(UserError, match=r"\.mp4"):
        convert(source, tmp_path / "out.gif")
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    with pytest.raises(UserError, match=r"bad\.mp4"):
        convert(tmp_path / "bad.mp4", tmp_path / "out.mp4")
    assert not (tmp_path / "out.mp4").exists()


def test_an_animation_may_have_the_name_of_a_sequence(pictures, tmp_path):
    source = tmp_path / "a%d.png"
    frames = [Image.fromarray(picture) for picture in pictures[:3]]
    frames[0].save(source, save_all=True, append_images=frames[1:], duration=40)
    assert convert(source, tmp_path / "out.mp4").frames == 3
    source = source.rename(tmp_path / "1.png")
    before = source.read_bytes()
    with pytest.raises(UserError, match="overwrite"):
        convert(source, tmp_path / "%d.png")
    assert source.read_bytes() == before


def test_no_file_is_left_where_nothing_can_be_decoded(pictures, tmp_path):
    source = tiny_clips.write(tmp_path / "in.mkv", pictures[:3], codec="mjpeg")
    data = source.read_bytes()
    with av.open(str(source)) as container:
        for packet in container.demux(video=0):
            data = data.replace(bytes(packet), bytes(packet.size)) if packet.size else data
    source.write_bytes(data)
    with pytest.raises(UserError, match=r"in\.mkv"):
        convert(source, tmp_path / "out.mp4")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.mkv"]


@pytest.mark.parametrize("smooth", [True, False])
def test_flicker_is_taken_out_where_it_is_wanted(smooth, tmp_path):
    """A person who fills the picture, except for a strip whose alpha alternates."""
    pictures = np.full((8, 128, 96, 3), 255, np.uint8)
    pictures[0::2, :40], pictures[1::2, :40] = 104, 110
    source = tiny_clips.write(tmp_path / "in.mkv", pictures, codec="ffv1")
    shades = Network("shades", (128, 96), lambda image: (image[..., 0] / 20.0 - 5).clip(0, 1))
    target, effects = tmp_path / "out.mp4", Effects(["alpha"])
    video.apply_to_video(source, target, effects, shades, smooth=smooth)
    seen = tiny_clips.read(target)[0][:, 10:30, 20:76].mean((1, 2, 3)) / 255
    changes = np.abs(np.diff(seen[2:]))  # 0.2 and 0.5
    assert (changes < 0.15).all() if smooth else (changes > 0.25).all()
