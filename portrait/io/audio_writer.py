"""Copies the audio of a video into another file, or encodes it again."""

import io

import av

from portrait.io.video_streams import Audio

_RATE = 48_000
_FRAME = {"aac": 1024, "libopus": 960}  # samples per frame


def audio_track(
    container: av.container.OutputContainer, audio: Audio
) -> "CopiedAudio | EncodedAudio":
    """Adds a track for the audio packets of another file.

    Packets are copied if the container supports their codec and its parameters. Otherwise the audio
    is encoded again, as Opus in WebM and as AAC in other containers.

    Args:
        container: the file to write, before anything is written to it.
        audio: the audio of the other file.
    """
    kind = CopiedAudio if _is_taken(container.format.name, audio) else EncodedAudio
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


class EncodedAudio:
    """A track of audio that is decoded and encoded again, in mono or stereo."""

    def __init__(self, container: av.container.OutputContainer, audio: av.AudioStream):
        codec = "libopus" if container.format.name == "webm" else "aac"
        self._container = container
        self._track = container.add_stream(codec, rate=_RATE)
        self._track.layout = "stereo" if audio.codec_context.channels > 1 else "mono"
        self._frame = _FRAME[codec]
        self._resampler = self._new_resampler()

    def write(self, packet: av.Packet) -> None:
        try:
            sounds = packet.decode()
        except (av.error.FFmpegError, ValueError):
            return  # a gap of some milliseconds
        for sound in sounds:
            self._encode(sound)

    def close(self) -> None:
        """Writes the remaining samples."""
        self._flush()
        _mux(self._container, self._track.encode())

    def _encode(self, sound: av.AudioFrame) -> None:
        try:
            parts = self._resampler.resample(sound)
        except ValueError:  # the sample rate or the channels change here
            self._flush()
            self._resampler = self._new_resampler()
            parts = self._resampler.resample(sound)
        for part in parts:
            _mux(self._container, self._track.encode(part))

    def _flush(self) -> None:
        for part in self._resampler.resample(None):
            _mux(self._container, self._track.encode(part))

    def _new_resampler(self) -> av.AudioResampler:
        return av.AudioResampler(
            self._track.format, self._track.layout, _RATE, frame_size=self._frame
        )
