"""Copies the audio of a video into another file, or encodes it again."""

import io
import re
from fractions import Fraction

import av

from portrait.io.video_streams import Audio

_RATE = 48_000
_FRAME = {"aac": 1024, "libopus": 960}  # samples per frame
# Of times, in seconds. Smaller ones come from rounding: times in Matroska are whole milliseconds.
_GAP = Fraction(1, 50)
# Many players cannot play other codecs in these containers.
_WIDELY_PLAYED = ("aac", "mp3", "ac3", "eac3", "alac")
_MP4 = ("mp4", "ipod")  # ipod: .m4v
_PCM = re.compile(r"pcm_[suf](8|16|24|32|64)(le|be)?")


def audio_track(
    container: av.container.OutputContainer, audio: Audio
) -> "CopiedAudio | CopiedSamples | EncodedAudio":
    """Adds a track for the audio packets of another file.

    Packets are copied if the container supports their codec and its parameters, in MP4 only those
    of codecs that most players support there. Otherwise the audio is encoded again, as Opus in WebM
    and as AAC in other containers.

    Args:
        container: the file to write, before anything is written to it.
        audio: the audio of the other file.
    """
    codec, form = audio.stream.codec_context.name, container.format.name
    unplayed = form in _MP4 and audio.stream.codec.canonical_name not in _WIDELY_PLAYED
    if unplayed or not _is_taken(form, audio):
        kind = EncodedAudio
    # MOV stores no times for samples of a fixed size: a gap of the times would be lost.
    elif form == "mov" and codec.startswith(("pcm_", "adpcm_")):
        kind = CopiedSamples if _PCM.fullmatch(codec) else EncodedAudio
    else:
        kind = CopiedAudio
    return kind(container, audio.stream)


def _is_taken(form: str, audio: Audio) -> bool:
    """Whether a container accepts a stream unchanged; some check it only when they are closed."""
    try:
        with av.open(io.BytesIO(), "w", format=form) as trial:
            track = trial.add_stream_from_template(audio.stream)
            trial.start_encoding()
            if packet := audio.sample:
                packet.stream, packet.pts, packet.dts = track, 0, 0
                trial.mux(packet)
    except (av.error.FFmpegError, ValueError):
        return False
    return True


def _mux(container: av.container.OutputContainer, packets: av.Packet | list[av.Packet]) -> None:
    """Writes packets; damaged packets, which the container refuses, leave a gap."""
    try:
        container.mux(packets)
    except OSError:  # a disk error
        raise
    except (av.error.FFmpegError, ValueError):
        pass


class CopiedAudio:
    """A track of packets that are copied unchanged."""

    def __init__(self, container: av.container.OutputContainer, audio: av.AudioStream):
        self._container = container
        self._track = container.add_stream_from_template(audio)

    def write(self, packet: av.Packet) -> None:
        packet.stream = self._track
        _mux(self._container, packet)

    def close(self) -> None:
        pass


class CopiedSamples(CopiedAudio):
    """A track of PCM samples that are copied unchanged, with silence where there are none."""

    def __init__(self, container: av.container.OutputContainer, audio: av.AudioStream):
        super().__init__(container, audio)
        codec = audio.codec_context
        self._rate = codec.sample_rate
        self._bytes = int(_PCM.fullmatch(codec.name)[1]) // 8 * codec.channels
        self._silence = b"\x80" if codec.name == "pcm_u8" else b"\0"
        self._end: int | None = None  # of the track, in samples

    def write(self, packet: av.Packet) -> None:
        start = self._end or 0
        if packet.pts is not None:
            start = round(packet.pts * packet.time_base * self._rate)
        if self._end is None:
            self._end = start
        if start - self._end > _GAP * self._rate:
            while self._end < start:
                samples = min(start - self._end, self._rate)
                self._append(av.Packet(self._silence * (samples * self._bytes)))
        self._append(packet)

    def _append(self, packet: av.Packet) -> None:
        packet.time_base = Fraction(1, self._rate)
        packet.pts = packet.dts = self._end
        packet.duration = packet.size // self._bytes
        packet.is_keyframe = True
        self._end += packet.duration
        super().write(packet)


class EncodedAudio:
    """A track of audio that is decoded and encoded again, in mono or stereo.

    Gaps become silence: the resampler would put the sound before and after a gap into one frame,
    and up to 20 ms of the sound after the gap would be heard before it.
    """

    def __init__(self, container: av.container.OutputContainer, audio: av.AudioStream):
        codec = "libopus" if container.format.name == "webm" else "aac"
        self._container = container
        self._track = container.add_stream(codec, rate=_RATE)
        self._track.layout = "stereo" if audio.codec_context.channels > 1 else "mono"
        self._frame = _FRAME[codec]
        self._resampler = self._new_resampler()
        self._end: Fraction | None = None  # of the sounds so far, in seconds

    def write(self, packet: av.Packet) -> None:
        try:
            sounds = packet.decode()
        except (av.error.FFmpegError, ValueError):
            return  # a gap of some milliseconds
        for sound in sounds:
            self._fill_gap(sound)
            self._encode(sound)

    def close(self) -> None:
        """Writes the remaining samples."""
        self._flush()
        _mux(self._container, self._track.encode())

    def _fill_gap(self, sound: av.AudioFrame) -> None:
        """Writes silence from the end of the sounds so far to the start of the next."""
        end = self._end
        start = end or Fraction(0) if sound.pts is None else sound.pts * sound.time_base
        self._end = start + Fraction(sound.samples, sound.sample_rate)
        if end is None or start - end <= _GAP:
            return
        self._renew_resampler()
        first, last = (round(each * _RATE) for each in (end, start))
        for place in range(first, last, _RATE):
            count = min(_RATE, last - place)
            silence = av.AudioFrame(self._track.format.name, self._track.layout.name, count)
            for plane in silence.planes:
                plane.update(bytes(plane.buffer_size))
            silence.sample_rate, silence.pts = _RATE, place
            silence.time_base = Fraction(1, _RATE)
            self._write(silence)

    def _encode(self, sound: av.AudioFrame) -> None:
        try:
            parts = self._resampler.resample(sound)
        except ValueError:  # the sample rate or the channels change here
            self._renew_resampler()
            parts = self._resampler.resample(sound)
        for part in parts:
            self._write(part)

    def _write(self, part: av.AudioFrame) -> None:
        """Encodes a part in the format of the track. The encoder wants one time base for all."""
        if part.pts is not None:
            part.pts = round(part.pts * part.time_base * _RATE)
        part.time_base = Fraction(1, _RATE)
        _mux(self._container, self._track.encode(part))

    def _flush(self) -> None:
        for part in self._resampler.resample(None):
            self._write(part)

    def _renew_resampler(self) -> None:
        self._flush()
        self._resampler = self._new_resampler()

    def _new_resampler(self) -> av.AudioResampler:
        return av.AudioResampler(
            self._track.format, self._track.layout, _RATE, frame_size=self._frame
        )
