"""Tests painting videos with a function from frame to frame."""

import itertools

import numpy as np
import pytest
import tiny_clips

from portrait.errors import UserError
from portrait.io.images import TooSmallError
from portrait.io.photos import is_video
from portrait.io.video_reader import VideoReader
from portrait.style_transfer import video


def test_a_video_keeps_its_times_and_audio(tmp_path):
    source = _clip(tmp_path / "clip.mp4", frames=6)
    (target,) = video.video_targets([source], tmp_path / "out", "udnie")
    assert target.name == "clip_udnie.mp4" and is_video(source)
    assert video.paint_video(lambda frame: 255 - frame, source, target) == (6, True)
    before, after = VideoReader(source), VideoReader(target)
    assert after.audio.stream.codec_context.name == before.audio.stream.codec_context.name == "aac"
    times = [
        [float(item.pts * r.time_base) for item in r if hasattr(item, "image")]
        for r in (before, after)
    ]
    np.testing.assert_allclose(times[0], times[1], atol=1e-3)
    (first, *_) = (item.image for item in VideoReader(target) if hasattr(item, "image"))
    assert first.shape == (48, 64, 3)
    assert abs(float(first.mean()) - (255 - 60)) < 4  # H.264 loses little of a plain picture


def test_videos_are_named_as_photos_are():
    targets = video.video_targets(["1/clip.mp4", "2/clip.mp4", "clip.avi"], "out", "udnie")
    names = ["clip_udnie.mp4", "clip.mp4_udnie.mp4", "clip.avi_udnie.mp4"]
    assert [path.name for path in targets] == names


@pytest.mark.parametrize("painted", [0, 3])
def test_ctrl_c_in_a_video(tmp_path, painted):
    source, target = _clip(tmp_path / "clip.mp4", frames=6), tmp_path / "out.mp4"
    calls = itertools.count()

    def paint(frame):
        if next(calls) == painted:
            raise KeyboardInterrupt
        return frame

    if not painted:
        with pytest.raises(KeyboardInterrupt):
            video.paint_video(paint, source, target)
        assert list(tmp_path.iterdir()) == [source]
        return
    assert video.paint_video(paint, source, target) == (painted, False)
    assert sum(hasattr(item, "image") for item in VideoReader(target)) == painted


def test_videos_that_are_too_small_are_left_out(tmp_path, caplog):
    small, good = (_clip(tmp_path / name, frames=2) for name in ("small.mp4", "good.mp4"))
    calls = itertools.count()

    def start():
        def paint(frame):
            if next(calls) == 0:
                raise TooSmallError(frame.shape, 100)
            return frame

        return paint

    painted = list(video.paint_videos(start, [small, good], tmp_path / "out", "udnie"))
    assert painted == [(tmp_path / "out" / "good_udnie.mp4", 2)]
    assert f"{small}: a picture of 64 x 48 is too small" in caplog.text


def test_videos_that_cannot_be_read_are_left_out(tmp_path, caplog):
    bad, good, output = tmp_path / "bad.mp4", tmp_path / "good.mp4", tmp_path / "out"
    bad.write_bytes(b"nothing")
    _clip(good, frames=2)
    with pytest.raises(UserError, match=r"bad\.mp4"):
        list(video.paint_videos(_as_it_is, [bad], output, "udnie"))
    assert not output.exists()
    painted = list(video.paint_videos(_as_it_is, [bad, good], output, "udnie"))
    assert painted == [(output / "good_udnie.mp4", 2)] == [(path, 2) for path in output.iterdir()]
    assert "bad.mp4" in caplog.text


def test_every_video_is_painted_by_a_function_of_its_own(tmp_path):
    clips, started = [_clip(tmp_path / f"{name}.mp4", frames=2) for name in "ab"], []

    def start():
        started.append(number := len(started))
        return lambda frame: np.full_like(frame, 200 * number)

    targets = [path for path, _ in video.paint_videos(start, clips, tmp_path / "out", "udnie")]
    for target, level in zip(targets, (0, 200), strict=True):
        frames = [item.image for item in VideoReader(target) if hasattr(item, "image")]
        assert len(frames) == 2 and np.abs(np.float32(frames) - level).max() < 8
    assert len(started) == 2


def test_where_nothing_can_be_written_no_further_video_is_painted(tmp_path):
    clip = _clip(tmp_path / "clip.mp4", frames=2)
    (tmp_path / "out").touch()
    painting = video.paint_videos(_as_it_is, [clip, clip], tmp_path / "out", "udnie")
    with pytest.raises(UserError, match="out"):
        next(painting)


def _as_it_is():
    return lambda frame: frame


def _clip(path, frames):
    """Plain grey pictures of 64 x 48, and a tone."""
    return tiny_clips.write(path, np.full((frames, 48, 64, 3), 60, np.uint8), audio="aac")
