"""Paints videos, frame by frame as they are decoded."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import av
from tqdm import tqdm

from portrait.errors import warn_skipped
from portrait.io.photos import UnusableError, result_paths, why_left_out
from portrait.io.video_frames import Frame
from portrait.io.video_outputs import write_video
from portrait.io.video_reader import open_video
from portrait.io.video_writer import WRITABLE
from portrait.style_transfer.full_size import PaintFunction


def video_targets(
    sources: Sequence[str | Path], output: str | Path, label: str, taken: Sequence[str | Path] = ()
) -> list[Path]:
    """The paths of painted videos, `NAME_LABEL`, see `result_paths`.

    The format is the format of the source, or .mp4 if that cannot be written.
    """

    def suffix_of(source: Path) -> str:
        suffix = source.suffix.lower()
        return suffix if suffix in WRITABLE else ".mp4"

    targets = result_paths(list(map(Path, sources)), output, [label], suffix_of, taken)
    return [path for (path,) in targets]


def paint_videos(
    start: Callable[[], PaintFunction],
    sources: Sequence[str | Path],
    output: str | Path,
    label: str,
    taken: Sequence[str | Path] = (),
) -> Iterator[tuple[Path, int]]:
    """Paints videos one by one, lazily; see `paint_video`.

    `start` makes the function that paints the frames of one video, because it may remember them.
    Unusable videos are skipped, and one warning at the end names and counts them. For `taken`, see
    `result_paths`.

    Yields:
        A written file, and the number of its frames.

    Raises:
        KeyboardInterrupt: Ctrl-C; an incomplete file has been yielded, if it has a frame.
        UnusableError: no video can be used.
        UserError: the target cannot be written.
    """
    left_out: list[str] = []
    targets = video_targets(sources, output, label, taken)
    for source, target in zip(sources, targets, strict=True):
        try:
            frames, complete = paint_video(start(), source, target)
        except Exception as error:
            if not (reason := why_left_out(error, source)):
                raise
            left_out.append(reason)
            continue
        yield target, frames
        if not complete:
            raise KeyboardInterrupt
    if len(left_out) == len(sources):
        raise UnusableError("no video could be used: " + "; ".join(left_out[:5]))
    warn_skipped(left_out, "videos left out ({count}): {names}")


def paint_video(paint: PaintFunction, source: str | Path, target: str | Path) -> tuple[int, bool]:
    """Paints a video with a progress bar; timestamps and audio are preserved.

    It holds one frame at a time in memory. Ctrl-C leaves a playable file.

    Args:
        paint: from a frame, uint8 (H, W, 3), to the painted picture of the same shape.
        source: the video file.
        target: the file to write; its suffix determines the format.

    Returns:
        The number of frames, and whether the video is complete (False after Ctrl-C).

    Raises:
        KeyboardInterrupt: Ctrl-C came before the first frame.
        VideoError: the video, or every frame of it, cannot be read.
        UserError: the target cannot be written.
    """
    reader = open_video(source)

    def painted() -> Iterator[Frame | av.Packet]:
        for item in reader:
            if isinstance(item, Frame):
                item.image = paint(item.image)
            yield item

    bar = tqdm(total=reader.frames, desc=Path(source).name, unit=" frames", disable=None)
    try:
        with bar:
            return write_video(target, reader, painted(), bar.update)
    finally:
        reader.close()
