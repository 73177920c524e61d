"""Starts a narrow network from a wide one: of each block the channels that matter are kept.

Channel pruning (He, Zhang and Sun, 1707.06168): an inverted residual expands its input to many
channels, filters each, and projects them back. Which of them can go, and how the projection makes
up for them, is least squares on what the filters answer to real pictures. Channels are taken away
one by one, each time that whose loss the rest, projected anew, makes up best, as in Optimal Brain
Surgeon (Hassibi and Stork, 1992).
"""

from collections.abc import Sequence

import keras
import numpy as np
from tqdm import tqdm

_ANSWERS = 8192  # how many places of all pictures the least squares see
_BATCH = 16
_DAMPING = 1e-4  # of the mean variance: channels that always answer alike would be singular


def slim(wide: keras.Model, narrow: keras.Model, pictures: np.ndarray) -> None:
    """Fills `narrow` with the weights of `wide`.

    Args:
        wide: a network of inverted residuals whose layers are called `BLOCK_expand`,
            `BLOCK_depthwise` and `BLOCK_project`, each with a `_norm` after it (`lite_unet`).
        narrow: the same layers in the same order, with fewer channels inside the blocks.
        pictures: (N, H, W, 3) in 0..255, of the size of `wide`; some dozens, such as it is for.
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
    """What the filters of each block answer at random places: lists of arrays (places, C)."""
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
    """Gives a block of `narrow` the channels of `wide` that matter."""
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
    """Which channels to keep, and the projection that makes up best for the others.

    Args:
        answers: (N, C), what the channels answer at N places.
        kernel: (C, D), how they are projected.
        count: how many to keep, at most C.

    Returns:
        Ascending indices (count,), and a kernel (count, D) so that answers[:, kept] @ it is near
        answers @ kernel.
    """
    gram = answers.T @ answers / len(answers)
    gram[np.diag_indices_from(gram)] += _DAMPING * np.trace(gram) / len(gram)
    inverse = np.linalg.inv(gram)
    weights = kernel.astype(np.float64)
    left = np.ones(len(gram), bool)
    diagonal = np.diag(inverse).copy()
    # The inverse for the channels that are left is `inverse` - gone @ gone.T.
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
