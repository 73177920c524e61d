"""Tests videos: timestamps, sound, rotation, transparency, damaged files, Ctrl-C."""

import itertools
from fractions import Fraction

import av
import numpy as np
import pytest
import tiny_clips

from portrait.effects import video
from portrait.effects.catalogue import Effects, Settings
from portrait.effects.styles import Style
from portrait.effects.video_matting import VideoMatter
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
    with pytest.raises(UserError, match=r"\.webm"):
        convert(source, tmp_path / "out.mp4", ["cutout"])
    with pytest.raises(UserError, match=r"\.mp4"):
        convert(source, tmp_path / "out.gif")
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    with pytest.raises(UserError, match=r"bad\.mp4"):
        convert(tmp_path / "bad.mp4", tmp_path / "out.mp4")
    assert not (tmp_path / "out.mp4").exists()


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


def test_who_left_is_not_remembered():
    image = np.full((256, 192, 3), 110, np.uint8)
    image[100:130, 90:115] = 140
    matter = VideoMatter(WHITE_IS_PERSON, smooth=False)
    assert matter.coarse(image)[115, 100] > 0.9
    image[:] = 110
    assert not any(matter.coarse(image).any() for _ in range(3))


def test_who_comes_in_is_seen_within_15_frames():
    image = np.full((96, 256, 3), 110, np.uint8)
    image[20:90, 10:60] = 140
    matter = VideoMatter(WHITE_IS_PERSON, smooth=False)
    assert matter.coarse(image).any()
    image[20:90, 190:240] = 140
    alphas = [matter.coarse(image) for _ in range(15)]
    assert not alphas[0][:, 180:].any()
    assert alphas[-1][60, 30] > 0.9 and alphas[-1][60, 215] > 0.9


def test_who_is_too_small_for_a_look_at_the_whole_is_not_lost():
    def run(image):
        red = (image[..., 0] > 225).astype(np.float32)
        return red if red.mean() > 0.05 else np.zeros_like(red)

    matter = VideoMatter(Network("needs size", (64, 48), run), smooth=False)
    near, far = np.full((2, 360, 640, 3), 190, np.uint8)
    near[20:, 200:400, 0] = far[200:, 270:330, 0] = 255
    assert matter.coarse(near).any()
    # Every 15th frame is looked at as a whole, too.
    assert all(matter.coarse(far)[300, 300] > 0.9 for _ in range(20))


@pytest.mark.parametrize("smooth", [True, False])
def test_after_a_cut_everything_is_as_in_a_new_video(smooth):
    """Without a fresh start, the person would be searched in the old window, and smeared."""
    first, second = np.zeros((2, 144, 256, 3), np.uint8)
    first[40:, 10:90] = 255
    second[...] = (90, 40, 110)
    second[60:, 180:220] = 255
    matter, fresh = VideoMatter(WHITE_IS_PERSON, smooth), VideoMatter(WHITE_IS_PERSON, smooth)
    for image in [first] * 4:
        matter(image)
    for _ in range(3):
        alpha = matter(second)
        assert np.array_equal(alpha, fresh(second))
    assert alpha[100, 200] > 0.9 and not alpha[:, :150].any()


class Watched:
    """A network for videos that takes white for people, and keeps the alphas before it gets."""

    def __init__(self):
        self.before = []
        self.network = Network("watched", (64, 48), self._run, takes_previous=True)

    def _run(self, image):
        self.before.append(image[..., 3].mean() / 255 if image.shape[2] == 4 else None)
        return WHITE_IS_PERSON.run(image)


def test_the_alpha_before_is_given_back_and_forgotten_at_a_cut():
    """The person fills a share of the window that does not change while the person moves."""
    watched, pictures = Watched(), np.full((24, 144, 256, 3), 30, np.uint8)
    for index, picture in enumerate(pictures[:20]):
        picture[40:, 60 + 4 * index : 130 + 4 * index] = 255
    pictures[20:, 70:, 20:60], pictures[20:, :20] = 255, 120
    matter = VideoMatter(watched.network, smooth=False)
    alphas = [matter.coarse(picture) for picture in pictures]
    # The first frame and the first after the cut have a look at the whole and one without a past;
    # the 16th has another look at the whole.
    none = [index for index, share in enumerate(watched.before) if share is None]
    assert none == [0, 1, 16, 22, 23]
    shares = [share for share in watched.before if share is not None]
    assert len(shares) == 19 + 3 and min(shares) > 0.2
    # A moved window shows the alpha before moved likewise: at most 4 pixels of about 70 differ.
    assert np.ptp(shares[:14]) < 0.12
    assert alphas[-1][100, 40] > 0.9 and not alphas[-1][:, 130:].any()


def test_who_was_lost_leaves_no_alpha_before():
    watched = Watched()
    image = np.full((144, 256, 3), 110, np.uint8)
    image[40:, 60:130] = 140
    matter = VideoMatter(watched.network, smooth=False)
    assert matter.coarse(image).any() and matter.coarse(image).any()
    image[:] = 110
    assert not matter.coarse(image).any()
    del watched.before[:]
    image[40:, 60:130] = 140
    assert matter.coarse(image).any()
    # The person is found in the whole picture. In the window, there was nobody before.
    assert watched.before == [None, 0]


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
