"""Repairs the timestamps of a file's streams: they start at 0 and continue after jumps.

The clock restarts in the middle of recordings that are joined by `cat`, and it may jump between two
programmes of a television recording.
"""

from fractions import Fraction

import av

_BACK = 0.1  # seconds by which a dts may decrease without a jump
_REORDERED = 1.0  # the same for a pts, which B-frames put out of order
_INTERLEAVED = 0.5  # seconds between the streams of a recording at one place of the file
# Formats of recordings whose clock may restart. In other formats, a gap is probably intended.
_JOINABLE = ("mpegts", "mpeg", "ogg", "asf", "flv")
_FAR = 10.0  # seconds forward that count as a jump in these formats
_FAR_ELSEWHERE = 300.0
_WITH_DURATIONS = "mov"  # and MP4: its times are sums of the frames' durations, and never restart


def is_joinable(container: av.container.InputContainer) -> bool:
    """Whether files of this format may be joined by `cat`."""
    return container.format.name in _JOINABLE


def _fraction(seconds: float) -> Fraction:
    return Fraction(seconds).limit_denominator(1_000_000)


class Clocks:
    """Shifts the timestamps of packets, in the order of the file.

    Jumps are repaired for each stream. Streams that jump together stay in sync: all of them get the
    shift of the stream that jumped first.

    Args:
        container: the file of the packets. Times are relative to its start time, which is often not
            0 for television recordings.

    Attributes:
        start: the start time in seconds, which is subtracted from all times.
        jumped: whether a clock has jumped so far.
    """

    def __init__(self, container: av.container.InputContainer):
        self.start = Fraction(max(container.start_time or 0, 0), av.time_base)
        self._far = _FAR if is_joinable(container) else _FAR_ELSEWHERE
        self._stated = float("-inf")  # until when long stills are intended, in seconds
        if _WITH_DURATIONS in container.format.name.split(","):
            self._stated = float(self.start + Fraction(container.duration or 0, av.time_base))
        self._only_pts = "matroska" in container.format.name
        self._shifts: dict[int, Fraction] = {}
        self._last: dict[int, float] = {}
        self._ends: dict[int, float] = {}
        self._keys: dict[int, float] = {}
        self._steps: dict[int, float] = {}
        self.jumped = False

    def repair(self, packet: av.Packet) -> None:
        """Shifts the packet's `pts` and `dts`, if it has any."""
        stream, base = packet.stream_index, packet.time_base
        if packet.pts is not None and packet.dts is not None:
            delay = float((packet.pts - packet.dts) * base)
            far = delay > self._far and packet.pts * base > self._stated
            if delay < -_REORDERED or far:  # damaged: shown when it is decoded
                packet.pts = packet.dts
        seconds = self._seconds(packet)
        if seconds is None:
            return
        if not self._shifts:
            # FFmpeg does not know the start of a short video, and takes that of the audio. Frames
            # before the start would be cut off in MP4.
            shown = seconds if packet.pts is None else packet.pts * base
            self.start = min(self.start, max(shown, Fraction(0)))
        shift = self._shifts.setdefault(stream, -self.start)
        if self._jumps(packet, float(seconds + shift), self._stated + float(shift)):
            shift = self._shifts[stream] = self._shift_after_jump(packet, seconds)
            self.jumped = True
        ticks = round(shift / base)
        if packet.dts is not None:
            packet.dts += ticks
        if packet.pts is not None:
            packet.pts += ticks
        self._remember(stream, packet)

    def _jumps(self, packet: av.Packet, seconds: float, stated: float) -> bool:
        stream = packet.stream_index
        if self._is_ordered(packet):
            before, back = self._last.get(stream, -self._far), _BACK
        elif packet.is_keyframe:
            before, back = self._ends.get(stream, -self._far), _BACK
        else:  # B-frames of a slow video may be shown seconds before the frame before in the file
            before, back = self._keys.get(stream, -self._far), _REORDERED
        if seconds < before - back:
            return True
        if seconds <= stated:
            return False
        # If another stream continues during the gap, the gap is intended.
        together = [
            end for each, end in self._ends.items() if self._shifts[each] == self._shifts[stream]
        ]
        return seconds - max(together, default=0.0) > self._far

    def _shift_after_jump(self, packet: av.Packet, seconds: Fraction) -> Fraction:
        """The shift with which a packet at `seconds` continues its stream without a jump."""
        stream = packet.stream_index
        before, end = self._shifts[stream], self._ends.get(stream, 0.0)
        others = {each: shift for each, shift in self._shifts.items() if each != stream}
        for shift in others.values():
            if shift != before and -_REORDERED < float(seconds + shift) - end < self._far:
                return shift
        if stream in self._last and not packet.is_keyframe:  # not the start of a recording
            return _fraction(self._last[stream] + self._steps.get(stream, 0.0)) - seconds
        # The end of the last packet of another stream may be later.
        ends = [
            self._ends[each] + self._steps.get(each, 0.0)
            for each, shift in others.items()
            if shift == before and each in self._ends
        ]
        ends = [each for each in ends if each < end + _INTERLEAVED]
        shown = seconds if packet.pts is None else packet.pts * packet.time_base
        return _fraction(max([end, *ends])) - shown

    def _remember(self, stream: int, packet: av.Packet) -> None:
        seconds = float(self._seconds(packet))
        step = float((packet.duration or 0) * packet.time_base)
        if self._is_ordered(packet):
            step = step or max(seconds - self._last.get(stream, seconds), 0.0)
            self._last[stream] = seconds
        if packet.is_keyframe:
            self._keys[stream] = seconds
        if step < 1.0:  # the last packet before a jump may have a wrong duration
            self._steps[stream] = step
        shown = seconds if packet.pts is None else float(packet.pts * packet.time_base)
        self._ends[stream] = max(self._ends.get(stream, 0.0), shown + self._steps.get(stream, 0.0))

    def _seconds(self, packet: av.Packet) -> Fraction | None:
        time = packet.dts if self._is_ordered(packet) else packet.pts
        return None if time is None else time * packet.time_base

    def _is_ordered(self, packet: av.Packet) -> bool:
        """Whether the file states the packet's dts; FFmpeg derives missing ones from the pts."""
        return packet.dts is not None and (packet.pts is None or not self._only_pts)
