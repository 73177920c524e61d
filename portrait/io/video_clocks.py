"""Times of a file's streams that begin at 0, and go on where they jump.

Recordings joined by `cat` begin anew in the middle, and television's clocks leap with the
programme.
"""

from fractions import Fraction

import av

_BACK = 0.1  # seconds by which times may go back without a jump
_REORDERED = 1.0  # the same for pts, which B-frames put out of order
# Formats of recordings whose clocks may begin anew; a gap in any other is more likely meant.
_JOINABLE = ("mpegts", "mpeg", "ogg", "asf", "flv")
_FAR = 10.0  # seconds ahead that are a jump in these
_FAR_ELSEWHERE = 300.0


def is_joinable(container: av.container.InputContainer) -> bool:
    """Whether files of this format may be joined by `cat`."""
    return container.format.name in _JOINABLE


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
        ordered = packet.dts is not None
        if self._jumps(stream, float(seconds + shift), _BACK if ordered else _REORDERED):
            shown = seconds if packet.pts is None else packet.pts * base
            shift = self._shifts[stream] = self._shift_after_jump(stream, seconds, shown)
            self.jumped = True
        ticks = round(shift / base)
        if packet.dts is not None:
            packet.dts += ticks
        if packet.pts is not None:
            packet.pts += ticks
        self._remember(stream, packet)

    def _jumps(self, stream: int, seconds: float, back: float) -> bool:
        if stream in self._last and seconds < self._last[stream] - back:
            return True
        if stream not in self._last and seconds < -self._far:
            return True
        # Where another stream has gone on through the gap, it is meant.
        together = [
            end for each, end in self._ends.items() if self._shifts[each] == self._shifts[stream]
        ]
        return seconds - max(together, default=0.0) > self._far

    def _shift_after_jump(self, stream: int, seconds: Fraction, shown: Fraction) -> Fraction:
        """What makes the packet that comes at `seconds`, and is shown at `shown`, go on."""
        before = self._shifts[stream]
        end = self._ends.get(stream, 0.0)
        others = {each: shift for each, shift in self._shifts.items() if each != stream}
        for shift in others.values():
            if shift != before and -_REORDERED < float(seconds + shift) - end < self._far:
                return shift
        # The last packet of another stream may still be waiting for its end.
        ends = [
            self._ends[each] + self._steps[each]
            for each, shift in others.items()
            if shift == before and each in self._ends
        ]
        return Fraction(max([end, *ends])).limit_denominator(1_000_000) - shown

    def _remember(self, stream: int, packet: av.Packet) -> None:
        seconds = float(self._seconds(packet))
        shown = seconds if packet.pts is None else float(packet.pts * packet.time_base)
        step = float((packet.duration or 0) * packet.time_base)
        if not step and stream in self._last:
            step = max(seconds - self._last[stream], 0.0)
        self._last[stream], self._steps[stream] = seconds, min(step, 1.0)
        self._ends[stream] = max(self._ends.get(stream, 0.0), shown + self._steps[stream])

    @staticmethod
    def _seconds(packet: av.Packet) -> Fraction | None:
        time = packet.pts if packet.dts is None else packet.dts
        return None if time is None else time * packet.time_base
