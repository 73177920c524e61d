"""Tests the stages of the video benchmarks: every frame passes them, and few are in memory."""

import numpy as np
import tiny_clips

from benchmarks import stages
from portrait.effects.catalogue import Effects
from portrait.effects.video_matting import VideoMatter
from portrait.inference.network import Network
from portrait.io.video_reader import VideoReader

WHITE_IS_PERSON = Network("test", (64, 48), lambda image: (image[..., 0] > 128).astype(np.float32))


def test_stages_alone(tmp_path, monkeypatch):
    pictures = np.zeros((8, 96, 128, 3), np.uint8)
    pictures[:, 30:, 40:90] = 255
    clip = tiny_clips.write(tmp_path / "in.mp4", pictures, audio="aac")
    decoded, ahead = [], []

    class Counted(VideoReader):
        def __iter__(self):
            return (decoded.append(item) or item for item in super().__iter__())

    def render(image, alpha):
        frames = sum(isinstance(item, stages.Frame) for item in decoded)
        ahead.append(frames - len(ahead))
        return Effects(["side_by_side"])(image, alpha)

    monkeypatch.setattr(stages, "open_video", Counted)
    matter = VideoMatter(WHITE_IS_PERSON)
    count, around = stages.run_alone(clip, matter, render, tmp_path / "out.mp4")
    assert count == 8 and max(ahead) <= 3
    assert min(stage.wall for stage in around.values()) > 0
    # The writer takes the size of the result, which is twice as wide.
    assert tiny_clips.read(tmp_path / "out.mp4")[0].shape == (8, 96, 256, 3)
