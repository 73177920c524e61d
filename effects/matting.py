"""From a photograph to the alpha of its people, at the photograph's full size."""

import contextlib
import functools
import importlib.util
import io
import logging
import os
import tempfile
from pathlib import Path

import cv2
import numpy as np
from scipy import sparse

from effects import networks, placing
from effects.guided_filter import guided_filter
from preprocess import make_trimap, resize

log = logging.getLogger(__name__)

REFINEMENTS = ("guided", "closed_form", "none")

_RADIUS = 0.012  # of the guided filter's windows, as a share of the longer side
_EPS = 1e-4
_SUBSAMPLE = 4  # at most: windows of a few pixels are left
_BAND = 0.012  # width of the unknown band of the trimap, as a share of the longer side
_CLOSED_FORM_SIDE = 900  # pixels: the equations grow with the area
# The weights of the trimap and of the alpha given in the equations of closed-form matting, and how
# flat its affine functions are, which in pymatting is for pictures without noise (1e-7).
_CERTAIN, _PRIOR, _FLATNESS = 100.0, 0.1, 1e-5
_PULL = 0.15  # alphas this near to 0 or 1 become it


def matte(
    image: np.ndarray, network: networks.Network | None = None, refine: str = "guided"
) -> np.ndarray:
    """Finds the people in a photograph.

    Args:
        image: uint8 RGB (H, W, 3), of any size and aspect.
        network: what `networks.load` gives; by default the shipped `networks.DEFAULT`.
        refine: "guided" follows the photograph's edges with a guided filter, "closed_form" solves
            closed-form matting (Levin et al., 2008) in a band along the outline, which takes
            seconds, "none" stretches the network's alpha.

    Returns:
        float32 (H, W), person = 1. All 0 where nobody is.

    Raises:
        UserError: no such network.
    """
    network = network or default_network()
    coarse = look_twice(network, image)
    if not coarse.any():
        return np.zeros(image.shape[:2], np.float32)
    if refine == "none":
        return resize(coarse, image.shape[:2])
    alpha = refine_guided(image, coarse)
    return refine_closed_form(image, alpha) if refine == "closed_form" else alpha


@functools.cache
def default_network() -> networks.Network:
    """The shipped network, loaded once."""
    return networks.load()


def look_twice(network: networks.Network, image: np.ndarray) -> np.ndarray:
    """The network's alpha on the picture's grid: of the whole, then around the people it saw.

    Returns:
        float32 (h, w) of `placing.grid_shape(image.shape)`, 0..1.
    """
    coarse = placing.coarse_alpha(network, image)
    windows = placing.windows_around(coarse, image.shape, network.input_shape)
    return placing.only_people(placing.look(network, image, windows) if windows else coarse)


def refine_guided(image: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Enlarges a coarse alpha along the edges of its photograph.

    The fast guided filter (He and Sun, 1505.00996), only where the alpha is not 0 all around.

    Args:
        image: uint8 RGB (H, W, 3).
        alpha: float32 (h, w), 0..1, of the same aspect and not larger.

    Returns:
        float32 (H, W), 0..1.
    """
    shape = image.shape[:2]
    result = np.zeros(shape, np.float32)
    radius = max(2, round(_RADIUS * max(shape)))
    box = _around(alpha, shape, 2 * radius)
    if box is None:
        return result
    subsample = max(1, min(_SUBSAMPLE, radius // 2))
    rough = resize(alpha, shape)[box.slices]
    fine = guided_filter(image[box.slices], rough, radius, _EPS, subsample)
    # What the network is sure of stays: the filter would leave a haze far from any edge.
    fine = (fine - _PULL) / (1 - 2 * _PULL)
    result[box.slices] = fine.clip(0, 1)
    return result


def refine_closed_form(image: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Finds the alpha in a band along the outline anew, by closed-form matting of pymatting.

    Levin, Lischinski, Weiss: "A Closed-Form Solution to Natural Image Matting", TPAMI 2008. Around
    the people, on a picture of at most 900 pixels; the guided filter enlarges the result. In the
    band the alpha given has a say, too: where person and background are alike in colour, matting by
    itself leaks from one into the other.

    Args:
        image: uint8 RGB (H, W, 3).
        alpha: float32 (H, W), 0..1.

    Returns:
        float32 (H, W), 0..1.
    """
    band = _BAND * max(image.shape[:2])
    box = _around(alpha, alpha.shape, round(3 * band))
    if box is None:
        return alpha
    crop, rough = image[box.slices], alpha[box.slices]
    scale = min(1.0, _CLOSED_FORM_SIDE / max(box.size))
    size = (max(1, round(box.size[0] * scale)), max(1, round(box.size[1] * scale)))
    prior = resize(rough, size)
    trimap = make_trimap(prior, max(2, round(band * scale)))
    if not (trimap == 0).any() or not (trimap == 1).any():
        return alpha  # closed-form matting needs both to start from
    solved = _solve(resize(crop, size) / 255.0, trimap, prior)
    result = np.zeros_like(alpha)
    result[box.slices] = solved if scale == 1 else refine_guided(crop, solved)
    return result


def _solve(image: np.ndarray, trimap: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """The alpha, float32 (H, W), that fits the image's matting Laplacian, the trimap, the prior."""
    pymatting = load_pymatting()
    known = trimap != 0.5
    weight = np.where(known, _CERTAIN, _PRIOR).ravel()
    laplacian = pymatting.cf_laplacian(image, epsilon=_FLATNESS, is_known=known)
    system = (laplacian + sparse.diags(weight)).tocsc()
    given = weight * np.where(known, trimap, prior).ravel()
    with contextlib.redirect_stdout(io.StringIO()):  # that its preconditioner needs another try
        alpha = pymatting.cg(system, given, M=pymatting.ichol(system))
    return alpha.clip(0, 1).reshape(known.shape).astype(np.float32)


@functools.cache
def load_pymatting():
    """pymatting, which compiles itself for most of a minute where it is first imported."""
    folder = Path(importlib.util.find_spec("pymatting").origin).parent
    if "NUMBA_CACHE_DIR" not in os.environ and not os.access(folder, os.W_OK):
        os.environ["NUMBA_CACHE_DIR"] = _cache_folder()
    if not any(Path(os.environ.get("NUMBA_CACHE_DIR", folder)).rglob("*.nbi")):
        log.info("pymatting compiles itself: once, for about 40 seconds")
    import pymatting

    return pymatting


def _cache_folder() -> str:
    """The user's own folder for what numba compiles, or, where none can be made, a temporary one.

    Numba looks for one by itself, and raises where it finds none.
    """
    try:
        folder = Path.home() / ".cache" / "numba"
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            return str(folder)
    except (OSError, RuntimeError):  # RuntimeError: the user has no home
        pass
    return _scratch().name


@functools.cache
def _scratch() -> tempfile.TemporaryDirectory:
    """Lasts as long as the process."""
    return tempfile.TemporaryDirectory(prefix="numba")


def _around(alpha: np.ndarray, shape: tuple[int, int], margin: int) -> placing.Window | None:
    """The box of all that is not 0, in pixels of `shape`, with a margin; None where all is 0."""
    box = cv2.boundingRect((alpha > 0.02).astype(np.uint8))
    if not box[2]:
        return None
    down, right = shape[0] / alpha.shape[0], shape[1] / alpha.shape[1]
    return placing.Window(
        max(0, int(box[0] * right) - margin),
        max(0, int(box[1] * down) - margin),
        min(shape[1], int((box[0] + box[2]) * right) + 1 + margin),
        min(shape[0], int((box[1] + box[3]) * down) + 1 + margin),
    )
