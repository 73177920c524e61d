"""Writes streams of frames to a video file, numbered pictures or a virtual camera."""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator

import av

from portrait.errors import UserError
from portrait.io import images, video_writer
from portrait.io.files import replacing
from portrait.io.sequences import SequenceReader, SequenceWriter, is_sequence
from portrait.io.video_frames import Frame
from portrait.io.video_reader import VideoReader
from portrait.io.video_streams import VideoError
from portrait.io.video_writer import VideoWriter
from portrait.io.virtual_camera import Device, VirtualCamera, check_device

Target = str | os.PathLike | Device
"""A video file, the pattern of a sequence (see `sequences`), or a virtual camera."""

Writer = VideoWriter | SequenceWriter | VirtualCamera


def check_target(target: Target, transparent: bool) -> None:
    """Checks that frames can be written to a target.

    Args:
        target: the target.
        transparent: whether the frames are RGBA.

    Raises:
        UserError: the format is unknown, or `transparent` and the format has no transparency.
    """
    if isinstance(target, Device):
        check_device(target, transparent)
    elif is_sequence(target):
        images.check_target(target, transparent)
    else:
        video_writer.check_target(target, transparent)


@contextlib.contextmanager
def open_output(
    target: Target, source: VideoReader | SequenceReader, silent: bool = False
) -> Iterator[Callable[[Frame | av.Packet], None]]:
    """Opens a target for writing.

    A video file appears when the block ends without an exception, pictures of a sequence one by
    one.

    Args:
        target: the target. For the formats of video files see `VideoWriter`.
        source: a reader, or an object with its `path`, `time_base`, `rate` and `audio`. The
            pictures of a sequence keep their numbers.
        silent: whether a video file gets no audio track, because no packets will be written.

    Yields:
        A function that writes a frame or a packet of audio; only video files have audio.

    Raises:
        VideoError: the block ended without a frame.
        UserError: the target cannot be written.
    """
    with contextlib.ExitStack() as stack:
        if isinstance(target, Device):
            output = _Output(
                lambda shape: VirtualCamera(target, shape, source.time_base, source.rate)
            )
        elif is_sequence(target):
            first = source.first if isinstance(source, SequenceReader) else None
            output = _Output(lambda shape: SequenceWriter(target, first))
        else:
            stack.enter_context(_one_line(target))
            path = stack.enter_context(replacing(target))
            audio = None if silent else source.audio
            output = _Output(
                lambda shape: VideoWriter(path, shape, source.time_base, source.rate, audio)
            )
        yield output.write
        output.close(source.path)


def write_video(
    target: Target,
    source: VideoReader | SequenceReader,
    items: Iterable[Frame | av.Packet],
    progress: Callable[[], object] = lambda: None,
) -> tuple[int, bool]:
    """Writes an iterable of frames and packets of audio to a target, see `open_output`.

    After Ctrl-C, the frames so far become a playable file, and the caller has to raise
    KeyboardInterrupt again. A frame that is being written is finished, and `progress` called. The
    file is finished, too, see `close_whole`.

    Args:
        target: the target.
        source: see `open_output`.
        items: the frames and packets.
        progress: called after each frame.

    Returns:
        The number of frames, and False after Ctrl-C, else True.

    Raises:
        KeyboardInterrupt: Ctrl-C came before the first frame; no file is left.
        VideoError: there is no frame.
        UserError: the target cannot be written.
    """
    frames, complete = 0, True
    with contextlib.ExitStack() as output:
        write = output.enter_context(open_output(target, source))
        try:
            for item in items:
                with _uninterrupted():
                    write(item)
                    if isinstance(item, Frame):
                        frames += 1
                        progress()
        except KeyboardInterrupt:
            if not frames:
                raise
            complete = False
        complete &= close_whole(output)
    return frames, complete


def close_whole(outputs: contextlib.ExitStack) -> bool:
    """Closes the outputs of `open_output`. Ctrl-C discards nothing, but a second one does.

    Encoders hold back some frames, and the end of an MP4 is moved to its start.

    Returns:
        False after Ctrl-C, after which the caller has to raise KeyboardInterrupt again.
    """
    closed = False
    try:
        with _uninterrupted():
            outputs.close()
            closed = True
    except KeyboardInterrupt:
        if not closed:
            raise
        return False
    return True


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Keeps Ctrl-C back until the end of the block; a second one ends it at once."""
    usual = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(usual):
        yield  # it raises nothing here
        return
    kept = []

    def keep(*arguments) -> None:
        if kept:
            usual(*arguments)
        kept.append(arguments)

    signal.signal(signal.SIGINT, keep)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)
    if kept:
        usual(*kept[0])


class _Output:
    """Makes the writer at the first frame, because only then its shape is known."""

    def __init__(self, make: Callable[[tuple[int, ...]], Writer]):
        self._make = make
        self._writer: Writer | None = None
        self._audio: list[av.Packet] = []  # packets before the first frame

    def write(self, item: Frame | av.Packet) -> None:
        if isinstance(item, Frame):
            self._writer = self._writer or self._make(item.image.shape)
            self._writer.write(item)
        else:
            self._audio.append(item)
        while self._writer and self._audio:
            self._writer.write_audio(self._audio.pop(0))

    def close(self, path: str | os.PathLike) -> None:
        if self._writer is None:
            raise VideoError(f"{path}: no frame can be decoded")
        self._writer.close()


@contextlib.contextmanager
def _one_line(target: str | os.PathLike) -> Iterator[None]:
    """Converts FFmpeg's errors to a UserError."""
    try:
        yield
    except av.error.FFmpegError as error:
        raise UserError(f"cannot write {target}: {error.strerror}") from error
