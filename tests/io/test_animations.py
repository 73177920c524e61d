"""Tests that animated pictures are videos, as inputs and as backgrounds."""

import numpy as np
import pytest
import tiny_clips
from PIL import Image

from portrait.effects import backgrounds
from portrait.io.animations import is_animation
from portrait.io.images import read_image
from portrait.io.photos import find_photographs, is_video
from portrait.io.video_outputs import write_video
from portrait.io.video_reader import VideoError, open_video

COLOURS = [(200, 0, 0), (0, 160, 0), (0, 0, 240)]
FORMATS = ["gif", "png", "webp", "avif"]


def write(path, durations=(200, 100, 300), count: int = 3):
    """Writes squares of three colours with the given durations in milliseconds."""
    frames = [Image.new("RGB", (64, 48), colour) for colour in COLOURS[:count]]
    options = {"duration": list(durations[:count])} if count > 1 else {}
    frames[0].save(path, save_all=True, append_images=frames[1:], **options)
    return path


@pytest.mark.parametrize("suffix", FORMATS)
def test_frames_and_times(tmp_path, suffix):
    source = write(tmp_path / f"a.{suffix}")
    assert is_video(source)
    reader = open_video(source)
    frames = list(reader)
    assert [(frame.pts, frame.duration) for frame in frames] == [(0, 200), (200, 100), (300, 300)]
    for frame, colour in zip(frames, COLOURS, strict=True):
        assert np.abs(frame.image.astype(int) - colour).max() <= 8
    write_video(tmp_path / "out.mp4", open_video(source), open_video(source))
    pictures, times = tiny_clips.read(tmp_path / "out.mp4")
    assert times == [0, 0.2, 0.3] and np.abs(pictures[1, 20, 30] - (0.0, 160, 0)).max() < 10


@pytest.mark.parametrize("suffix", FORMATS)
def test_one_frame_is_a_photograph(tmp_path, suffix):
    still = write(tmp_path / f"a.{suffix}", count=1)
    assert not is_video(still) and not is_animation(still)


def test_the_name_does_not_decide(tmp_path):
    source = write(tmp_path / "a.gif").rename(tmp_path / "a.jpg")
    assert is_animation(source) and len(list(open_video(source))) == 3
    assert not is_animation(tmp_path / "none.gif")


def test_frames_too_short_for_a_screen_are_shown_as_browsers_do(tmp_path):
    """Many programs write a duration of 0, which means 100 milliseconds."""
    source = write(tmp_path / "a.gif", durations=(0, 10, 50))
    assert [frame.duration for frame in open_video(source)] == [100, 100, 50]


@pytest.mark.parametrize(
    ("suffix", "rate", "durations"),
    [
        ("webp", 1000 / 17, [17, 16, 17] * 4),  # whole milliseconds
        ("png", 60, [1000 / 60] * 12),
        ("png", 30, [1000 / 30] * 12),
        ("avif", 1000 / 17, [17, 16, 17] * 4),
    ],
)
def test_high_rates_keep_their_speed(tmp_path, suffix, rate, durations):
    frames = [Image.new("RGB", (64, 48), (20 * index, 0, 0)) for index in range(12)]
    source = tmp_path / f"a.{suffix}"
    frames[0].save(source, save_all=True, append_images=frames[1:], duration=durations)
    reader = open_video(source)
    starts = np.cumsum([0, *durations[:-1]])
    shown = list(reader)
    assert [frame.pts for frame in shown] == pytest.approx(starts, abs=0.6)
    assert shown[-1].pts + shown[-1].duration == round(sum(durations))
    assert reader.rate == pytest.approx(rate)


def test_transparent_frames_lie_on_white(tmp_path):
    frames = [Image.new("RGBA", (64, 48), (*colour, 0)) for colour in COLOURS]
    for frame in frames:
        frame.paste((9, 9, 9, 255), (0, 0, 32, 48))
    frames[1].putpixel((40, 40), (0, 0, 0, 255))  # equal frames are written as one
    frames[0].save(tmp_path / "a.png", save_all=True, append_images=frames[1:2], duration=100)
    for frame in open_video(tmp_path / "a.png"):
        assert (frame.image[:, :32] == 9).all() and (frame.image[:30, 32:] == 255).all()


def test_the_picture_for_programs_without_animations_is_no_frame(tmp_path):
    frames = [Image.new("RGB", (64, 48), colour) for colour in COLOURS]
    options = {"append_images": frames[1:], "default_image": True, "duration": [200, 50]}
    frames[0].save(tmp_path / "a.png", save_all=True, **options)
    reader = open_video(tmp_path / "a.png")
    shown = [(*frame.image[20, 30].tolist(), frame.pts, frame.duration) for frame in reader]
    assert shown == [(*COLOURS[1], 0, 200), (*COLOURS[2], 200, 50)]
    assert (reader.frames, reader.rate) == (2, 5)
    assert read_image(tmp_path / "a.png")[20, 30].tolist() == list(COLOURS[0])


def test_a_background_moves(tmp_path):
    behind = backgrounds.load(str(write(tmp_path / "a.gif")))
    shown = [behind(time)[20, 30].tolist() for time in (0.0, 0.25, 0.5, 0.65)]
    assert shown == [list(COLOURS[index]) for index in (0, 1, 2, 0)]


def test_in_a_folder_of_photographs_it_is_left_out_as_videos_are(tmp_path, caplog):
    write(tmp_path / "still.png", count=1)
    write(tmp_path / "moving.gif")
    assert [path.name for path in find_photographs([tmp_path])] == ["still.png"]
    assert "moving.gif" in caplog.text


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_what_is_there_of_a_truncated_file(tmp_path, suffix, share):
    source = write(tmp_path / f"a.{suffix}")
    data = source.read_bytes()
    source.write_bytes(data[: int(len(data) * share)])
    try:
        reader = open_video(source)
    except VideoError as error:
        assert f"a.{suffix}" in str(error)
    else:
        assert len(list(reader)) < 3
