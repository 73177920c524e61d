"""Finds the weights that must stay in float32 in a float16 file.

A few kernels, mostly near the input, cause most of the error of a rounded network. They differ
between networks, so each kernel is tested.
"""

from collections.abc import Callable

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from portrait.export.tflite_finish import large_floats, to_half
from portrait.tflite.graph import pack
from portrait.tflite.runtime import TfliteModel
from portrait.util import evenly

_PROBES = 8  # pictures for testing each kernel


def sensitive(model: schema.ModelT, pictures: np.ndarray, limit: float) -> set[int]:
    """Chooses the large constants that stay in float32.

    Each constant is rounded alone to measure the change of the alphas. The constants with the
    largest change relative to their size are kept, until rounding all others changes no alpha by
    more than `limit`.

    Args:
        model: a float32 file from `graph.parse`; it is not changed.
        pictures: uint8 RGB (N, H, W, 3).
        limit: the largest change of an alpha, 0..1.

    Returns:
        The numbers of the constants' buffers, possibly all of `tflite_finish.large_floats`.
    """
    candidates = large_floats(model)
    few = evenly(pictures, _PROBES)
    exact = _alphas(model, few)

    def harm(buffer: int) -> float:
        moved = _rounded(model, {buffer}, lambda: _alphas(model, few)) - exact
        return float(np.square(moved).sum()) / len(model.buffers[buffer].data)

    order = sorted(candidates, key=harm, reverse=True)
    exact = _alphas(model, pictures)
    step = max(1, len(order) // 16)
    for kept in range(0, len(order), step):
        moved = _rounded(model, {*order[kept:]}, lambda: _alphas(model, pictures)) - exact
        if np.abs(moved).max() <= limit:
            return {*order[:kept]}
    return {*order}


def _rounded(model: schema.ModelT, buffers: set[int], run: Callable[[], np.ndarray]) -> np.ndarray:
    """The result of `run` while the values of the buffers are rounded to float16."""
    given = {number: model.buffers[number].data for number in buffers}
    try:
        for number, data in given.items():
            half = to_half(data)
            model.buffers[number].data = half.astype("<f4").view(np.uint8)
        return run()
    finally:
        for number, data in given.items():
            model.buffers[number].data = data


def _alphas(model: schema.ModelT, pictures: np.ndarray) -> np.ndarray:
    """The alphas of the model, float32 (N, H, W)."""
    run = TfliteModel(pack(model), "the float32 file")
    return np.stack([run(picture)[..., 0] for picture in pictures])
