"""The loss of Gatys' style transfer: how far a picture is from a photograph and from a painting.

"A Neural Algorithm of Artistic Style" (Gatys, Ecker, Bethge, 1508.06576), as "Portrait Segmentation
and Background Stylization" (Zhang et al.) writes it for VGG16. F are the activations of layer l as
a matrix of N filters by M positions, P the activations of the photograph, and A the correlations of
the painting:

    (1) content   = 1/2 sum (F - P)^2                    of `CONTENT_LAYER`
    (2) G         = F F^T
    (3) E_l       = 1 / (4 N^2 M^2) sum (G - A)^2
    (4) style     = sum w_l E_l                           of `STYLE_LAYERS`, w_l = 1/5
    (5) total     = alpha content + beta style

in a VGG16 whose weights are scaled so that the mean activation of every filter is 1.
"""

from collections.abc import Mapping, Sequence

import keras
import numpy as np

from portrait.errors import UserError
from portrait.models import vgg16
from portrait.style_transfer.vgg import extractor

CONTENT_LAYER = "block5_conv2"
STYLE_LAYERS = tuple(f"block{number}_conv1" for number in range(1, 6))

# A filter that the pictures hardly excite would be scaled up until it outweighs the others.
_LEAST_MEAN = 0.1  # of the mean over the layer's filters


def normalize_weights(
    weights: Mapping[str, np.ndarray], pictures: Sequence[np.ndarray]
) -> dict[str, np.ndarray]:
    """VGG16's weights, scaled so that each filter's mean activation over `pictures` is 1.

    ReLU and pooling preserve the scale of a filter. Scaling a filter down and the weights after it
    up therefore changes nothing else. Filters with less than a tenth of their layer's mean are
    scaled as if they had a tenth.

    Args:
        weights: as `vgg16.conv_weights` gives them.
        pictures: RGB (H, W, 3) in 0..255, of any sizes. Use the photograph and the painting:
            filters that other pictures do not excite would dominate.
    """
    model = extractor(vgg16.LAYERS, weights)
    sums = dict.fromkeys(vgg16.LAYERS, 0.0)
    positions = dict.fromkeys(vgg16.LAYERS, 0)
    for picture in pictures:
        for layer, activations in model(np.float32(picture)[None]).items():
            flat = keras.ops.convert_to_numpy(activations).reshape(-1, activations.shape[-1])
            sums[layer] = sums[layer] + flat.sum(0, dtype=np.float64)
            positions[layer] += len(flat)
    scaled, before = {}, np.ones(3)
    for layer in vgg16.LAYERS:
        mean = sums[layer] / positions[layer]
        mean = np.maximum(mean, _LEAST_MEAN * mean.mean())
        kernel = weights[f"{layer}/kernel"] * before[:, None] / mean
        scaled[f"{layer}/kernel"] = kernel.astype(np.float32)
        scaled[f"{layer}/bias"] = (weights[f"{layer}/bias"] / mean).astype(np.float32)
        before = mean
    return scaled


class GatysLoss:
    """Formulas (1) to (5) for one photograph and one painting.

    Args:
        photo: float or uint8 RGB (H, W, 3), 0..255.
        painting: the same, of any size; its correlations are scaled to the photo's size.
        weights: VGG16's normalised weights.
        content_weight: alpha.
        style_weight: beta.

    Raises:
        UserError: Keras does not run on TensorFlow, which takes the gradients.
    """

    def __init__(
        self,
        photo: np.ndarray,
        painting: np.ndarray,
        weights: Mapping[str, np.ndarray],
        content_weight: float,
        style_weight: float,
    ):
        if keras.backend.backend() != "tensorflow":
            raise UserError("--method=gatys needs Keras on TensorFlow: KERAS_BACKEND=tensorflow")
        import tensorflow as tf

        self._model = extractor((*STYLE_LAYERS, CONTENT_LAYER), weights)
        self._factors = {"content": content_weight, "style": style_weight}
        self._content = self._model(np.float32(photo)[None])[CONTENT_LAYER]
        self._styles = {
            layer: _correlations(activations) / _positions(activations)
            for layer, activations in self._model(np.float32(painting)[None]).items()
            if layer in STYLE_LAYERS
        }

        @tf.function
        def evaluate(image):
            with tf.GradientTape() as tape:
                tape.watch(image)
                terms = self._terms(image)
                total = sum(self._factors[name] * term for name, term in terms.items())
            return total, terms, tape.gradient(total, image)

        self._evaluate = evaluate
        self._tensor = tf.constant

    def _terms(self, image) -> dict:
        seen = self._model(image[None])
        content = keras.ops.sum(keras.ops.square(seen[CONTENT_LAYER] - self._content)) / 2
        style = 0.0
        for layer, correlations in self._styles.items():
            filters, positions = seen[layer].shape[-1], _positions(seen[layer])
            difference = _correlations(seen[layer]) / positions - correlations
            error = keras.ops.sum(keras.ops.square(difference)) / (4 * filters**2)
            style += error / len(self._styles)
        return {"content": content, "style": style}

    def __call__(self, image: np.ndarray) -> tuple[float, dict[str, float], np.ndarray]:
        """Returns the total, the unweighted terms and the gradient for (H, W, 3) in 0..255."""
        total, terms, gradient = self._evaluate(self._tensor(image, "float32"))
        return float(total), {n: float(term) for n, term in terms.items()}, gradient.numpy()


def _correlations(activations):
    """Formula (2): activations (1, H, W, N) to (N, N)."""
    flat = keras.ops.reshape(activations, (-1, activations.shape[-1]))
    return keras.ops.matmul(keras.ops.transpose(flat), flat)


def _positions(activations):
    shape = keras.ops.shape(activations)
    return keras.ops.cast(shape[1] * shape[2], "float32")
