"""Initialises a narrow network from a wide one by channel pruning.

After He, Zhang and Sun, 1707.06168. An inverted residual expands its input to many channels,
filters each channel, and projects them back. The filters' outputs for real pictures are collected,
and a least-squares fit determines which channels can be removed and how the projection compensates
for them. Channels are removed one at a time, always the channel with the smallest error after the
projection is refitted, as in Optimal Brain Surgeon (Hassibi and Stork, 1992).
"""

from collections.abc import Sequence

import keras
import numpy as np
from tqdm import tqdm

_ANSWERS = 8192  # samples for the least-squares fit, from all pictures
_BATCH = 16
_DAMPING = 1e-4  # of the mean variance: the equations of constant channels are singular


def slim(wide: keras.Model, narrow: keras.Model, pictures: np.ndarray) -> None:
    """Sets the weights of `narrow` from the weights of `wide`.

    Args:
        wide: a network of inverted residuals whose layers are called `BLOCK_expand`,
            `BLOCK_depthwise` and `BLOCK_project`, each with a `_norm` after it (`lite_unet`).
        narrow: a network with the same layers and fewer channels inside the blocks.
        pictures: some dozens of typical pictures, (N, H, W, 3) in 0..255, of the size of `wide`.
    """
    for theirs, ours in zip(wide.layers, narrow.layers, strict=True):
        if [w.shape for w in theirs.weights] == [w.shape for w in ours.weights]:
            ours.set_weights(theirs.get_weights())
    suffix = "_expand"
    names = [layer.name for layer in narrow.layers if layer.name.endswith(suffix)]
    blocks = [name.removesuffix(suffix) for name in names]
    answers = _answers(wide, blocks, pictures, np.random.default_rng(0))
    for block in tqdm(blocks, "slimming", unit=" blocks", leave=False, disable=None):
        _fill(wide, narrow, block, np.concatenate(answers.pop(block), dtype=np.float64))


def _answers(
    model: keras.Model, blocks: Sequence[str], pictures: np.ndarray, random: np.random.Generator
) -> dict[str, list[np.ndarray]]:
    """The outputs of each block's filters at random positions: lists of arrays (positions, C)."""
    inputs = [model.get_layer(f"{block}_project").input for block in blocks]
    filters = keras.Model(model.input, inputs)
    places = -(-_ANSWERS // len(pictures))  # of each picture
    answers = {block: [] for block in blocks}
    for start in range(0, len(pictures), _BATCH):
        batch = pictures[start : start + _BATCH].astype(np.float32)
        for block, maps in zip(blocks, filters(batch, training=False), strict=True):
            rows = keras.ops.convert_to_numpy(maps).reshape(len(batch), -1, maps.shape[-1])
            count = min(places, rows.shape[1])
            answers[block] += [each[random.permutation(len(each))[:count]] for each in rows]
    return answers


def _fill(wide: keras.Model, narrow: keras.Model, block: str, answers: np.ndarray) -> None:
    """Sets the weights of a block of `narrow` from the most important channels of `wide`."""
    (kernel,) = wide.get_layer(f"{block}_project").get_weights()
    count = narrow.get_layer(f"{block}_expand").filters
    kept, refitted = keep_channels(answers, kernel[0, 0], count)
    for part in ("expand", "expand_norm", "depthwise_norm"):
        arrays = wide.get_layer(f"{block}_{part}").get_weights()
        narrow.get_layer(f"{block}_{part}").set_weights([each[..., kept] for each in arrays])
    (filters,) = wide.get_layer(f"{block}_depthwise").get_weights()
    narrow.get_layer(f"{block}_depthwise").set_weights([filters[:, :, kept]])
    narrow.get_layer(f"{block}_project").set_weights([refitted[None, None]])


def keep_channels(
    answers: np.ndarray, kernel: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Chooses the channels to keep, and refits their projection.

    Args:
        answers: (N, C), the outputs of C channels at N positions.
        kernel: (C, D), the projection.
        count: the number of channels to keep, at most C.

    Returns:
        kept: the indices of the channels, ascending, (count,).
        fitted: the new projection (count, D); answers[:, kept] @ fitted approximates answers @
            kernel.
    """
    gram = answers.T @ answers / len(answers)
    gram[np.diag_indices_from(gram)] += _DAMPING * np.trace(gram) / len(gram)
    inverse = np.linalg.inv(gram)
    weights = kernel.astype(np.float64)
    left = np.ones(len(gram), bool)
    diagonal = np.diag(inverse).copy()
    # The inverse for the remaining channels is `inverse` - gone @ gone.T.
    gone = np.zeros((len(gram), len(gram) - count))
    for step in range(gone.shape[1]):
        costs = np.where(left, (weights**2).sum(1) / np.where(left, diagonal, 1), np.inf)
        out = int(costs.argmin())
        column = (inverse[:, out] - gone[:, :step] @ gone[out, :step]) / np.sqrt(diagonal[out])
        weights -= np.outer(column / column[out], weights[out])
        diagonal -= column**2
        gone[:, step] = column
        left[out] = False
    kept = np.flatnonzero(left)
    return kept, weights[kept].astype(np.float32)
