"""Closed-form matting (Levin, Lischinski and Weiss, TPAMI 2008) with windows of 3 x 3.

In each window, alpha is assumed to be an affine function of the colour. pymatting implements the
same method, but its first import takes 40 seconds, which is too long for the built-in sample.
"""

import contextlib
import functools
import importlib.util
import io
import logging
import os
import tempfile
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy import sparse
from scipy.sparse.linalg import spsolve

log = logging.getLogger(__name__)

# The weight of the trimap in `solve_band`, and the weight that keeps the affine functions flat.
# pymatting's default of 1e-7 suits pictures without noise.
_CERTAIN, _FLATNESS = 100.0, 1e-5


def closed_form_alpha(image: np.ndarray, trimap: np.ndarray, epsilon: float = 1e-7) -> np.ndarray:
    """Solves for alpha where the trimap is unknown.

    Args:
        image: float64 (H, W, 3) 0..1.
        trimap: float64 (H, W): 0 background, 1 person, all other values unknown.
        epsilon: the weight that keeps the affine functions flat.

    Returns:
        float64 (H, W) 0..1, equal to the trimap where the trimap is known.
    """
    unknown = (trimap > 0) & (trimap < 1)
    pixels = np.arange(trimap.size).reshape(trimap.shape)
    windows = sliding_window_view(pixels, (3, 3)).reshape(-1, 9)
    windows = windows[unknown.ravel()[windows].any(axis=1)]
    colours = image.reshape(-1, 3)[windows]
    centred = colours - colours.mean(axis=1, keepdims=True)
    covariance = np.einsum("wik,wil->wkl", centred, centred) / 9 + np.eye(3) * epsilon / 9
    inverse = np.linalg.inv(covariance)
    affinity = (1 + np.einsum("wik,wkl,wjl->wij", centred, inverse, centred, optimize=True)) / 9
    rows = np.broadcast_to(windows[:, :, None], affinity.shape).ravel()
    columns = np.broadcast_to(windows[:, None, :], affinity.shape).ravel()
    entries = (np.eye(9) - affinity).ravel()
    laplacian = sparse.csr_array((entries, (rows, columns)), shape=(trimap.size, trimap.size))
    free, fixed = np.flatnonzero(unknown), np.flatnonzero(~unknown)
    alpha = trimap.ravel().copy()
    equations = laplacian[free]
    alpha[free] = spsolve(equations[:, free].tocsc(), -equations[:, fixed] @ alpha[fixed])
    return alpha.clip(0, 1).reshape(trimap.shape)


def solve_band(
    image: np.ndarray, trimap: np.ndarray, prior: np.ndarray, trust: np.ndarray
) -> np.ndarray:
    """Solves for the alpha with the matting Laplacian, the trimap and a prior.

    Args:
        image: float64 (H, W, 3), 0..1.
        trimap: float64 (H, W): 0 background, 1 person, 0.5 unknown.
        prior: (H, W), 0..1, the alpha that is expected where the trimap is unknown.
        trust: (H, W), the weight of the prior there; the weight of known pixels is 100.

    Returns:
        float32 (H, W), 0..1.
    """
    pymatting = load_pymatting()
    known = trimap != 0.5
    weight = np.where(known, _CERTAIN, trust).ravel()
    laplacian = pymatting.cf_laplacian(image, epsilon=_FLATNESS, is_known=known)
    system = (laplacian + sparse.diags(weight)).tocsc()
    given = weight * np.where(known, trimap, prior).ravel()
    with contextlib.redirect_stdout(io.StringIO()):  # pymatting prints preconditioner retries
        alpha = pymatting.cg(system, given, M=pymatting.ichol(system))
    return alpha.clip(0, 1).reshape(known.shape).astype(np.float32)


@functools.cache
def load_pymatting():
    """Imports pymatting, which is compiled by numba on its first import (about 40 seconds)."""
    folder = Path(importlib.util.find_spec("pymatting").origin).parent
    if "NUMBA_CACHE_DIR" not in os.environ and not os.access(folder, os.W_OK):
        os.environ["NUMBA_CACHE_DIR"] = cache_folder()
    if not any(Path(os.environ.get("NUMBA_CACHE_DIR", folder)).rglob("*.nbi")):
        log.info("compiling pymatting: about 40 seconds, only the first time")
    import pymatting

    return pymatting


def cache_folder() -> str:
    """The user's cache folder for numba, or a temporary folder if none can be made.

    Numba's own search raises an exception if it finds no writable folder.
    """
    try:
        folder = Path.home() / ".cache" / "numba"
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            return str(folder)
    except (OSError, RuntimeError):  # RuntimeError: the user has no home folder
        pass
    return _scratch().name


@functools.cache
def _scratch() -> tempfile.TemporaryDirectory:
    """A temporary folder that lasts as long as the process."""
    return tempfile.TemporaryDirectory(prefix="numba")
