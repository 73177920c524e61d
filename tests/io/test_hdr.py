"""Tests HLG and PQ against published values, and colours after a round trip."""

import av
import numpy as np
import pytest

from portrait.io.hdr import HLG, PQ, to_sdr
from portrait.io.video_reader import VideoReader

BT2020_OF_BT709 = np.array(
    [[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]]
)
LUMINANCE = np.array([0.2627, 0.6780, 0.0593])


def pq(nits: np.ndarray) -> np.ndarray:
    power = (nits / 10_000) ** 0.1593017578125
    return ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375


def hlg(nits: np.ndarray) -> np.ndarray:
    display = nits / 1000
    scene = display * (display @ LUMINANCE)[..., None] ** (1 / 1.2 - 1)
    bright = 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), bright)


def write_hdr(path, colour: np.ndarray, transfer: int) -> None:
    """Writes one frame of an sRGB-like colour, 0..255, as a camera does in HDR."""
    nits = 203 * (colour / 255) ** 2.4 @ BT2020_OF_BT709.T
    signal = hlg(nits) if transfer == HLG else pq(nits)
    luma = signal @ LUMINANCE
    levels = (
        64 + 876 * luma,
        512 + 896 * (signal[2] - luma) / 1.8814,
        512 + 896 * (signal[0] - luma) / 1.4746,
    )
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.height, stream.width, stream.pix_fmt = 64, 96, "yuv420p10le"
        context = stream.codec_context
        context.color_trc, context.color_primaries, context.colorspace = transfer, 9, 9
        frame = av.VideoFrame(96, 64, "yuv420p10le")
        for plane, level in zip(frame.planes, levels, strict=True):
            np.frombuffer(plane, np.uint16)[:] = round(level)
        container.mux(stream.encode(frame))
        container.mux(stream.encode())


@pytest.mark.parametrize("transfer", [HLG, PQ])
@pytest.mark.parametrize("colour", [(176, 130, 110), (40, 60, 160), (90, 90, 90), (12, 10, 8)])
def test_colours_that_need_no_compression_are_read_as_they_were(tmp_path, transfer, colour):
    write_hdr(tmp_path / "in.mp4", np.array(colour), transfer)
    (frame,) = VideoReader(tmp_path / "in.mp4")
    assert frame.image.shape == (64, 96, 3)
    assert np.abs(frame.image.astype(int) - colour).max() <= 4


@pytest.mark.parametrize(("transfer", "white", "peak"), [(HLG, 0.75, 1.0), (PQ, 0.5807, 0.7518)])
def test_white_is_nearly_white_and_only_the_peak_is_whiter(transfer, white, peak):
    """203 and 1,000 nits (ITU-R BT.2408, table 1; BT.2100)."""
    levels = np.linspace(0, 1, 101) * peak
    greys = to_sdr(np.repeat(levels[:, None], 3, axis=1), transfer)
    np.testing.assert_allclose(greys, greys[:, :1].repeat(3, axis=1), atol=1e-3)  # stay grey
    assert greys[0, 1] == 0 and greys[-1, 1] == pytest.approx(1, abs=1e-3)
    assert (np.diff(greys[:, 1]) > 0).all()
    assert 0.88 < to_sdr(np.full(3, white), transfer)[1] < 0.93


def test_what_no_screen_shows_is_white():
    assert to_sdr(np.ones(3), PQ).tolist() == pytest.approx([1, 1, 1], abs=1e-3)


@pytest.mark.parametrize("transfer", [HLG, PQ])
def test_bright_colours_keep_their_hue(transfer):
    """Separately compressed channels would turn a lamp white."""
    nits = np.array([800.0, 400.0, 200.0])
    signal = (hlg if transfer == HLG else pq)(nits)
    colour = to_sdr(signal, transfer)
    shares = (colour**2.4 @ BT2020_OF_BT709.T) @ np.diag(1 / nits)
    np.testing.assert_allclose(shares / shares[1], 1, atol=0.01)
    assert 0.95 < colour.max() <= 1
