"""Paints videos, frame by frame as they are decoded."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import av
import numpy as np
from tqdm import tqdm

from effects.video_files import WRITABLE, Frame, VideoReader
from effects.video_stream import write_video
from photographs import result_paths
from preprocess import shrink


def video_targets(sources: Sequence[str | Path], output: str | Path, label: str) -> list[Path]:
    """Where painted videos go: `NAME_LABEL`, see `result_paths`, of the same format where that can
    be written, else .mp4."""

    def suffix_of(source: Path) -> str:
        suffix = source.suffix.lower()
        return suffix if suffix in WRITABLE else ".mp4"

    return [path for (path,) in result_paths(list(map(Path, sources)), output, [label], suffix_of)]


def paint_video(
    paint: Callable[[np.ndarray], np.ndarray],
    source: str | Path,
    target: str | Path,
    size: int,
) -> tuple[int, bool]:
    """Paints a video with a progress bar; times and audio stay.

    One frame at a time is in memory. After Ctrl-C, what is painted so far is a playable file.

    Args:
        paint: uint8 (H, W, 3) to the painted picture of the same shape; of each frame alone.
        source: the video file.
        target: the file to write; its suffix decides on the format.
        size: of the longer side, see `preprocess.shrink`.

    Returns:
        The number of frames, and whether these are all: False after Ctrl-C.

    Raises:
        KeyboardInterrupt: Ctrl-C came before the first frame.
        UserError: the video cannot be read, the target not be written, or no frame is left.
    """
    reader = VideoReader(source)

    def painted() -> Iterator[Frame | av.Packet]:
        for item in reader:
            if isinstance(item, Frame):
                item.image = paint(shrink(item.image, size))
            yield item

    bar = tqdm(total=reader.frames, desc=Path(source).name, unit=" frames", disable=None)
    try:
        with bar:
            return write_video(target, reader, painted(), bar.update)
    finally:
        reader.close()
