"""Small videos for tests: drawn people, with sound, odd times, rotation, damage."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

TIME_BASE = Fraction(1, 1000)


def write(
    path: Path,
    pictures: np.ndarray,
    times: list[int] | None = None,
    audio: str = "",
    codec: str = "libx264",
) -> Path:
    """Writes uint8 RGB pictures (T, H, W, 3) as a video.

    Args:
        path: of the file.
        pictures: even height and width.
        times: when each is shown, in milliseconds; 25 a second by default.
        audio: codec of a 440 Hz tone of the same length, if any.
        codec: of the pictures.
    """
    times = times or [40 * index for index in range(len(pictures))]
    with av.open(str(path), "w") as container:
        video = container.add_stream(codec, rate=25, options={"crf": "5", "g": "5"})
        video.height, video.width = pictures.shape[1:3]
        video.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        video.codec_context.time_base = TIME_BASE
        sound = container.add_stream(audio, rate=48000, layout="mono") if audio else None
        for picture, time in zip(pictures, times, strict=True):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = time, TIME_BASE
            container.mux(video.encode(frame))
        container.mux(video.encode())
        if sound:
            _write_tone(container, sound, (times[-1] + 40) * 48)
    return path


def _write_tone(container, stream, samples: int) -> None:
    tone = np.sin(np.arange(samples) * (2 * np.pi * 440 / 48000)).astype(np.float32)[None] / 2
    size = 960
    resampler = av.AudioResampler(stream.codec_context.format, "mono", 48000, frame_size=size)
    for start in range(0, samples - size, size):
        part = np.ascontiguousarray(tone[:, start : start + size])
        frame = av.AudioFrame.from_ndarray(part, format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 48000, start
        for resampled in resampler.resample(frame):
            container.mux(stream.encode(resampled))
    container.mux(stream.encode())


def read(path: Path, form: str = "rgb24") -> tuple[np.ndarray, list[float]]:
    """Returns the pictures of a video (T, H, W, C) and their times in seconds."""
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    return np.stack([frame.to_ndarray(format=form) for frame in frames]), [
        round(float(frame.time), 3) for frame in frames
    ]


def packets(path: Path) -> list[bytes]:
    """Returns the audio packets of a file."""
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(audio=0) if packet.size]
