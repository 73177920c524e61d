"""Which weights a float16 file keeps in float32, found by trying.

A few kernels, most of them near the input, cause most of the error of a rounded network; which ones
they are differs from network to network.
"""

from collections.abc import Callable

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from portrait.export.tflite_finish import large_floats, to_half
from portrait.tflite.graph import pack
from portrait.tflite.runtime import TfliteModel
from portrait.util import evenly

_PROBES = 8  # pictures on which each kernel is rounded alone


def sensitive(model: schema.ModelT, pictures: np.ndarray, limit: float) -> set[int]:
    """The large constants that are to stay in float32.

    Each is rounded alone, for what it does to the alphas. Those that do the most, for their size,
    are kept until the rest moves no alpha by more than `limit`.

    Args:
        model: a float32 file, from `graph.parse`; it is left as it was.
        pictures: uint8 RGB (N, H, W, 3).
        limit: of |alpha - alpha|, 0..1.

    Returns:
        Their buffers' numbers; of all of `tflite_finish.large_floats` if nothing less will do.
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
    """What `run` gives while the buffers' values are as float16 has them."""
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
    """float32 (N, H, W)."""
    run = TfliteModel(pack(model), "the float32 file")
    return np.stack([run(picture)[..., 0] for picture in pictures])
