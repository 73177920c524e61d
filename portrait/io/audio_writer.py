"""Sound of a video on its way from one file into another: copied, or encoded anew."""

import io

import av

from portrait.io.video_streams import Audio

_RATE = 48_000
_FRAME = {"aac": 1024, "libopus": 960}  # samples of a frame


def audio_track(
    container: av.container.OutputContainer, audio: Audio
) -> "CopiedAudio | EncodedAudio":
    """A track for the packets of another file's stream.

    They are copied where the container takes their codec and its parameters, and encoded anew, as
    AAC or in WebM Opus, where it does not.

    Args:
        container: the file to write, in which nothing is written yet.
        audio: of the other file.
    """
    kind = CopiedAudio if _is_taken(container.format.name, audio) else EncodedAudio
    return kind(container, audio.stream)


def _is_taken(form: str, audio: Audio) -> bool:
    """Whether a container takes a stream as it is; some say so only when a file is finished."""
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
    """Writes packets; damaged ones, which the container refuses, leave a gap."""
    try:
        container.mux(packets)
    except OSError:  # of the disk
        raise
    except (av.error.FFmpegError, ValueError):
        pass


class CopiedAudio:
    """Packets as they lie in the other file."""

    def __init__(self, container: av.container.OutputContainer, audio: av.AudioStream):
        self._container = container
        self._track = container.add_stream_from_template(audio)

    def write(self, packet: av.Packet) -> None:
        packet.stream = self._track
        _mux(self._container, packet)

    def close(self) -> None:
        pass


class EncodedAudio:
    """Sound that is decoded and encoded anew, mono or stereo."""

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
        """Writes what is still held."""
        self._flush()
        _mux(self._container, self._track.encode())

    def _encode(self, sound: av.AudioFrame) -> None:
        try:
            parts = self._resampler.resample(sound)
        except ValueError:  # its rate or its channels are others from here on
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
