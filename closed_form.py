"""Closed-form matting (Levin, Lischinski and Weiss, TPAMI 2008) with windows of 3 x 3.

Alpha is taken for an affine function of colour in each window. pymatting does the same and more,
but compiles for 40 seconds where it is first imported, which the first run of a sample that is made
in seconds cannot afford.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy import sparse
from scipy.sparse.linalg import spsolve


def closed_form_alpha(image: np.ndarray, trimap: np.ndarray, epsilon: float = 1e-7) -> np.ndarray:
    """Finds alpha where a trimap leaves it open.

    Args:
        image: float64 (H, W, 3) 0..1.
        trimap: float64 (H, W): 0 background, 1 person, else unknown.
        epsilon: the weight that keeps the affine functions flat.

    Returns:
        float64 (H, W) 0..1, equal to the trimap where that is known.
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
