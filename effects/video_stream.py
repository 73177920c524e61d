"""Writes a video out of a stream of its frames and its sound, until Ctrl-C."""

import os
from collections.abc import Callable, Iterable

import av

from effects.video_files import Frame, VideoError, VideoReader, VideoWriter
from files import replacing


def write_video(
    target: str | os.PathLike,
    source: VideoReader,
    items: Iterable[Frame | av.Packet],
    progress: Callable[[], object] = lambda: None,
) -> tuple[int, bool]:
    """Writes frames and packets of audio as they come, whole or not at all.

    After Ctrl-C, what is written so far becomes a playable file; it is then for the caller to pass
    the interruption on.

    Args:
        target: the file to write; its suffix decides on the format, see `VideoWriter`.
        source: a reader, or what has its `time_base`, `rate` and `audio`.
        items: what to write.
        progress: called after each frame.

    Returns:
        The number of frames, and whether these are all: False after Ctrl-C.

    Raises:
        KeyboardInterrupt: Ctrl-C came before the first frame; no file is left.
        VideoError: there is no frame.
        UserError: the target cannot be written.
    """
    frames, complete = 0, True
    with replacing(target) as temporary:
        writer: VideoWriter | None = None
        audio: list[av.Packet] = []  # that came before the first frame
        try:
            for item in items:
                if not isinstance(item, Frame):
                    audio.append(item)
                else:
                    writer = writer or VideoWriter(
                        temporary, item.image.shape, source.time_base, source.rate, source.audio
                    )
                    writer.write(item)
                    frames += 1
                    progress()
                while writer and audio:
                    writer.write_audio(audio.pop(0))
        except KeyboardInterrupt:
            if not frames:
                raise
            complete = False
        if writer is None:
            raise VideoError(f"{target} is not made: no frame can be decoded")
        writer.close()
    return frames, complete
