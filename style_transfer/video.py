"""Paints videos, frame by frame as they are decoded."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from tqdm import tqdm

from effects.video_files import SUFFIXES, WRITABLE, Frame, VideoReader, VideoWriter
from files import UserError, replacing
from style_transfer.apply import fit


def is_video(path: str | Path) -> bool:
    """Whether a file is a video, by its name."""
    return Path(path).suffix.lower() in SUFFIXES


def video_target(source: str | Path, output: str | Path, label: str) -> Path:
    """Where a painted video goes: a file of the same format where it can be written, else .mp4."""
    source = Path(source)
    suffix = source.suffix.lower() if source.suffix.lower() in WRITABLE else ".mp4"
    return Path(output) / f"{source.stem}_{label}{suffix}"


def paint_video(
    paint: Callable[[np.ndarray], np.ndarray],
    source: str | Path,
    target: str | Path,
    size: int,
) -> int:
    """Paints a video with a progress bar; times and audio stay.

    One frame at a time is in memory. After Ctrl-C, what is painted so far is a playable file.

    Args:
        paint: uint8 (H, W, 3) to the painted picture of the same shape; of each frame alone.
        source: the video file.
        target: the file to write; its suffix decides on the format.
        size: see `apply.fit`.

    Returns:
        The number of frames.

    Raises:
        UserError: the video cannot be read, the target not be written, or no frame is left.
    """
    reader = VideoReader(source)
    frames, early = 0, []  # packets of audio before the first frame
    writer = None
    try:
        with replacing(target) as temporary, _bar(source, reader) as bar:
            try:
                for item in reader:
                    if not isinstance(item, Frame):
                        writer.write_audio(item) if writer else early.append(item)
                        continue
                    item.image = paint(fit(item.image, size))
                    if writer is None:
                        writer = VideoWriter(
                            temporary, item.image.shape, reader.time_base, reader.rate, reader.audio
                        )
                        for packet in early:
                            writer.write_audio(packet)
                    writer.write(item)
                    frames += 1
                    bar.update()
            except KeyboardInterrupt:
                if writer is None:
                    raise
            if writer is None:
                raise UserError(f"{source}: no frame could be decoded")
            writer.close()
    finally:
        reader.close()
    return frames


def _bar(source: str | Path, reader: VideoReader) -> tqdm:
    return tqdm(total=reader.frames, desc=Path(source).name, unit=" frames", disable=None)
