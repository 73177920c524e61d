"""Times of a file's streams that begin at 0, and go on where they jump.

Recordings joined by `cat` begin anew in the middle, and television's clocks leap with the
programme.
"""

from fractions import Fraction

import av

_BACK = 0.1  # seconds by which times may go back without a jump
_REORDERED = 1.0  # the same of a pts, which B-frames put out of order
_INTERLEAVED = 0.5  # seconds by which streams of a recording may lie apart in the file
# Formats of recordings whose clocks may begin anew; a gap in any other is more likely meant.
_JOINABLE = ("mpegts", "mpeg", "ogg", "asf", "flv")
_FAR = 10.0  # seconds ahead that are a jump in these
_FAR_ELSEWHERE = 300.0


def is_joinable(container: av.container.InputContainer) -> bool:
    """Whether files of this format may be joined by `cat`."""
    return container.format.name in _JOINABLE


def _fraction(seconds: float) -> Fraction:
    return Fraction(seconds).limit_denominator(1_000_000)


class Clocks:
    """Moves the times of packets, which come in the order of the file.

    A jump is repaired for each stream by itself. Streams that jump together stay in sync: one that
    follows takes the shift of the stream that jumped first.

    Args:
        container: whose packets these are. Times count from its start: recordings of television
            begin hours after 0.

    Attributes:
        start: seconds that are taken off all times.
        jumped: whether a clock has jumped so far.
    """

    def __init__(self, container: av.container.InputContainer):
        self.start = Fraction(max(container.start_time or 0, 0), av.time_base)
        self._far = _FAR if is_joinable(container) else _FAR_ELSEWHERE
        self._only_pts = "matroska" in container.format.name
        self._shifts: dict[int, Fraction] = {}
        self._last: dict[int, float] = {}
        self._ends: dict[int, float] = {}
        self._steps: dict[int, float] = {}
        self.jumped = False

    def repair(self, packet: av.Packet) -> None:
        """Moves the packet's `pts` and `dts`; one without times stays as it is."""
        stream, base = packet.stream_index, packet.time_base
        seconds = self._seconds(packet)
        if seconds is None:
            return
        shift = self._shifts.setdefault(stream, -self.start)
        if self._jumps(packet, float(seconds + shift)):
            shift = self._shifts[stream] = self._shift_after_jump(packet, seconds)
            self.jumped = True
        ticks = round(shift / base)
        if packet.dts is not None:
            packet.dts += ticks
        if packet.pts is not None:
            packet.pts += ticks
        self._remember(stream, packet)

    def _jumps(self, packet: av.Packet, seconds: float) -> bool:
        stream = packet.stream_index
        if self._is_ordered(packet):
            before, back = self._last.get(stream, -self._far), _BACK
        else:
            before = self._ends.get(stream, -self._far)
            back = _BACK if packet.is_keyframe else _REORDERED
        if seconds < before - back:
            return True
        # Where another stream has gone on through the gap, it is meant.
        together = [
            end for each, end in self._ends.items() if self._shifts[each] == self._shifts[stream]
        ]
        return seconds - max(together, default=0.0) > self._far

    def _shift_after_jump(self, packet: av.Packet, seconds: Fraction) -> Fraction:
        """What makes a packet, which comes at `seconds`, go on where its stream was."""
        stream = packet.stream_index
        before, end = self._shifts[stream], self._ends.get(stream, 0.0)
        others = {each: shift for each, shift in self._shifts.items() if each != stream}
        for shift in others.values():
            if shift != before and -_REORDERED < float(seconds + shift) - end < self._far:
                return shift
        if stream in self._last and not packet.is_keyframe:  # in the middle of a recording
            return _fraction(self._last[stream] + self._steps.get(stream, 0.0)) - seconds
        # The last packet of another stream may still be waiting for its end.
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
        if step < 1.0:  # the last one before a leap may say that it lasts till then
            self._steps[stream] = step
        shown = seconds if packet.pts is None else float(packet.pts * packet.time_base)
        self._ends[stream] = max(self._ends.get(stream, 0.0), shown + self._steps.get(stream, 0.0))

    def _seconds(self, packet: av.Packet) -> Fraction | None:
        time = packet.dts if self._is_ordered(packet) else packet.pts
        return None if time is None else time * packet.time_base

    def _is_ordered(self, packet: av.Packet) -> bool:
        """Whether the packet has a dts of its own, not one that FFmpeg makes of several pts."""
        return packet.dts is not None and (packet.pts is None or not self._only_pts)
