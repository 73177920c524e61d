"""Converts HDR video (HLG and PQ with BT.2020 colours) to BT.709 for standard screens.

Phones record HDR by default; without a conversion it looks flat and pale. Diffuse white (203 nits,
ITU-R BT.2408) becomes nearly white, and brighter light is compressed into the remaining range as in
ITU-R BT.2390.
"""

import functools
import itertools
import tempfile
from pathlib import Path

import av
import numpy as np

HLG, PQ = 18, 16  # transfer characteristics (H.273): ARIB STD-B67; SMPTE 2084 (HDR10)

_WHITE = 203.0  # nits of diffuse white, a standard screen's brightest colour
_PEAK = 1000.0  # nits from which all light becomes white
_SCREEN_GAMMA = 2.4  # BT.1886
_LUMINANCE = np.array([0.2627, 0.6780, 0.0593])  # BT.2020's weights of R, G and B
_TO_BT709 = np.array(
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]]
)
_GRID = 65  # entries per axis of the lookup table


class ToSdr:
    """Converts the frames of one video to uint8 RGB (H, W, 3) in BT.709.

    FFmpeg interpolates in a lookup table of `_GRID`^3 colours.

    Args:
        transfer: `HLG` or `PQ`.
    """

    def __init__(self, transfer: int):
        self._transfer = transfer
        self._graph: av.filter.Graph | None = None
        self._layout: tuple | None = None

    def __call__(self, frame: av.VideoFrame) -> np.ndarray:
        layout = frame.width, frame.height, frame.format.name
        if layout != self._layout:  # some live streams change it
            self._graph, self._layout = self._build(frame), layout
        self._graph.push(frame)
        return self._graph.pull().to_ndarray()

    def _build(self, frame: av.VideoFrame) -> av.filter.Graph:
        graph = av.filter.Graph()
        with tempfile.TemporaryDirectory() as folder:
            table = Path(folder) / "sdr.cube"
            table.write_text(_cube(self._transfer))
            nodes = [
                graph.add_buffer(
                    width=frame.width,
                    height=frame.height,
                    format=frame.format,
                    time_base=frame.time_base,
                ),
                graph.add("scale", "in_color_matrix=bt2020:flags=bicubic+accurate_rnd"),
                graph.add("format", "gbrp16le"),
                graph.add("lut3d", file=str(table), interp="tetrahedral"),
                graph.add("format", "rgb24"),
                graph.add("buffersink"),
            ]
            for node, following in itertools.pairwise(nodes):
                node.link_to(following)
            graph.configure()  # reads the table from the file
        return graph


def to_sdr(signal: np.ndarray, transfer: int) -> np.ndarray:
    """Converts colours of HDR video to colours of a standard screen.

    Args:
        signal: float (..., 3), non-linear R, G, B of BT.2020 in 0..1.
        transfer: `HLG` or `PQ`.

    Returns:
        float (..., 3), non-linear R, G, B of BT.709 in 0..1.
    """
    nits = (_hlg_nits(signal) if transfer == HLG else _pq_nits(signal)) @ _TO_BT709.T
    nits = np.maximum(nits, 0)  # colours outside BT.709 have negative components
    brightest = nits.max(-1, keepdims=True)
    # One factor for all three components preserves the hue.
    light = nits * (_compressed(brightest) / np.maximum(brightest, 1e-6)) / _WHITE
    return np.minimum(light, 1) ** (1 / _SCREEN_GAMMA)


def _hlg_nits(signal: np.ndarray) -> np.ndarray:
    """The light of a screen with a peak of `_PEAK` nits (ITU-R BT.2100, table 5)."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    scene = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)
    return _PEAK * scene * (scene @ _LUMINANCE)[..., None] ** 0.2


_M1, _M2, _C1, _C2, _C3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128


def _pq_nits(signal: np.ndarray) -> np.ndarray:
    """The light in nits of a PQ signal (ITU-R BT.2100, table 4)."""
    root = signal ** (1 / _M2)
    return 10_000 * (np.maximum(root - _C1, 0) / (_C2 - _C3 * root)) ** (1 / _M1)


def _pq_signal(nits: np.ndarray | float) -> np.ndarray:
    """The inverse of `_pq_nits`."""
    root = (np.asarray(nits) / 10_000) ** _M1
    return ((_C1 + _C2 * root) / (1 + _C3 * root)) ** _M2


def _compressed(nits: np.ndarray) -> np.ndarray:
    """Maps 0.._PEAK nits to 0.._WHITE, with dark colours unchanged (ITU-R BT.2390, 5.4.1)."""
    peak = _pq_signal(_PEAK)
    most = _pq_signal(_WHITE) / peak
    knee = 1.5 * most - 0.5
    level = np.minimum(_pq_signal(nits) / peak, 1)
    t = (level - knee) / (1 - knee)
    spline = (
        (2 * t**3 - 3 * t**2 + 1) * knee
        + (t**3 - 2 * t**2 + t) * (1 - knee)
        + (3 * t**2 - 2 * t**3) * most
    )
    return _pq_nits(np.where(level < knee, level, spline) * peak)


@functools.cache
def _cube(transfer: int) -> str:
    """The lookup table of `to_sdr` in the .cube format, in which red changes fastest."""
    steps = np.linspace(0, 1, _GRID)
    blue, green, red = np.meshgrid(steps, steps, steps, indexing="ij")
    colours = to_sdr(np.stack([red, green, blue], axis=-1), transfer).reshape(-1, 3)
    lines = "\n".join("{:.6f} {:.6f} {:.6f}".format(*colour) for colour in colours)
    return f"LUT_3D_SIZE {_GRID}\n{lines}\n"
