"""The losses that the transform network is trained with.

After "Perceptual Losses for Real-Time Style Transfer" (Johnson et al., 1603.08155): a painted
picture has the activations of the photograph deep in VGG16, and the correlations of activations of
the painting at several depths. Here each term is relative to its target: it is 0 if the target is
met and 1 for a picture without activations. The same weights then suit every painting, whereas the
squared differences of the paper vary a hundredfold between paintings.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from portrait.io.images import read_image, resize
from portrait.style_transfer.vgg import extractor

CONTENT_LAYER = "block4_conv2"
STYLE_LAYERS = tuple(f"block{number}_conv1" for number in range(1, 6))
TERMS = ("content", "style", "variation")

SCALES = (1.0, 0.5)
"""The sizes of the painting that the correlations are averaged over: large and fine strokes."""


@dataclass(frozen=True)
class Weights:
    """The weights of the terms; the module's docstring explains their scale."""

    content: float
    style: float
    variation: float


def gram(activations):
    """Correlations of a layer's channels, averaged over the picture: F^T F / (H W).

    Args:
        activations: (N, H, W, C).

    Returns:
        (N, C, C).
    """
    activations = _float32(activations)  # sums over all positions
    shape = keras.ops.shape(activations)
    flat = keras.ops.reshape(activations, (shape[0], shape[1] * shape[2], shape[3]))
    products = keras.ops.matmul(keras.ops.transpose(flat, (0, 2, 1)), flat)
    return products / keras.ops.cast(shape[1] * shape[2], products.dtype)


def relative_error(values, targets):
    """|values - targets|^2 / |targets|^2 of each item of a batch.

    Args:
        values, targets: (N, ...).

    Returns:
        (N,).
    """
    axes = tuple(range(1, len(values.shape)))
    difference = keras.ops.sum(keras.ops.square(values - targets), axes)
    return difference / (keras.ops.sum(keras.ops.square(targets), axes) + 1e-6)


def total_variation(images):
    """Mean squared difference of neighbours, of pictures (N, H, W, 3) in 0..255 taken as 0..1.

    Returns:
        (N,).
    """
    images = images / 255.0
    down = keras.ops.square(images[:, 1:] - images[:, :-1])
    right = keras.ops.square(images[:, :, 1:] - images[:, :, :-1])
    return keras.ops.mean(down, (1, 2, 3)) + keras.ops.mean(right, (1, 2, 3))


def instability(painted, moved, shift, margin: int):
    """Mean squared difference of a painted picture and the same picture painted after a shift.

    Args:
        painted: (N, H, W, 3) in 0..255, taken as 0..1.
        moved: the same, of the picture that begins `shift` pixels further down and to the right.
        shift: two integers of at most `margin`.
        margin: pixels at the borders that do not count.

    Returns:
        (N,).
    """
    back = keras.ops.roll(keras.ops.roll(painted, -shift[0], axis=1), -shift[1], axis=2)
    inner = slice(margin, -margin)
    difference = (back - moved)[:, inner, inner] / 255.0
    return keras.ops.mean(keras.ops.square(difference), (1, 2, 3))


def read_paintings(paintings: Sequence[str | Path], size: int) -> list[np.ndarray]:
    """Reads paintings, each as `fit_painting` makes it.

    Raises:
        UserError: a file cannot be read.
    """
    return [fit_painting(read_image(path), size) for path in paintings]


def fit_painting(painting: np.ndarray, size: int) -> np.ndarray:
    """A painting with a longer side of `size` pixels, which determines the size of the strokes."""
    height, width = painting.shape[:2]
    scale = size / max(height, width)
    return resize(painting, (max(16, round(height * scale)), max(16, round(width * scale))))


class PerceptualLoss:
    """Content, style and total variation of painted pictures.

    Args:
        paintings: uint8 RGB (H, W, 3), one for each style, from `fit_painting`.
        vgg_weights: as `vgg16.conv_weights` gives them.
        weights: of the terms.
        precision: a dtype policy for VGG16. "mixed_bfloat16" is faster on CPUs that compute in
            bfloat16.
    """

    def __init__(
        self,
        paintings: Sequence[np.ndarray],
        vgg_weights: Mapping[str, np.ndarray],
        weights: Weights,
        precision: str = "float32",
    ):
        self.weights = weights
        self._all = _in_precision(precision, {*STYLE_LAYERS, CONTENT_LAYER}, vgg_weights)
        # Only the needed layers are computed for a photograph.
        self._content = keras.Model(self._all.input, self._all.output[CONTENT_LAYER])
        # For each layer, the targets of all styles, (styles, C, C).
        targets = [self._targets(painting) for painting in paintings]
        self._grams = {layer: np.stack([each[layer] for each in targets]) for layer in STYLE_LAYERS}

    def _targets(self, painting: np.ndarray) -> dict[str, np.ndarray]:
        """The mean correlations (C, C) of each layer over the sizes of a painting."""
        sizes = [fit_painting(painting, round(scale * max(painting.shape))) for scale in SCALES]
        seen = [self._all(np.float32(picture)[None]) for picture in sizes]
        return {
            layer: np.mean([keras.ops.convert_to_numpy(gram(each[layer]))[0] for each in seen], 0)
            for layer in STYLE_LAYERS
        }

    def __call__(self, photos, painted, mix) -> dict:
        """The weighted terms, each a mean over the batch.

        Args:
            photos, painted: (N, H, W, 3) in 0..255.
            mix: the share of each style (N, styles).
        """
        seen = {layer: _float32(x) for layer, x in self._all(painted).items()}
        style = sum(
            relative_error(gram(seen[layer]), keras.ops.tensordot(mix, targets, 1))
            for layer, targets in self._grams.items()
        ) / len(self._grams)
        target, content = _float32(self._content(photos)), seen[CONTENT_LAYER]
        terms = (
            self.weights.content * relative_error(content, target),
            self.weights.style * style,
            self.weights.variation * total_variation(painted),
        )
        return {n: keras.ops.mean(term) for n, term in zip(TERMS, terms, strict=True)}


def _in_precision(policy: str, *arguments) -> keras.Model:
    """`extractor` with the arguments, in a dtype policy."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        return extractor(*arguments)
    finally:
        keras.config.set_dtype_policy(before)


def _float32(x):
    return keras.ops.cast(x, "float32")
