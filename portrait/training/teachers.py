"""Trained networks as teachers: their alphas become part of the training targets.

Knowledge distillation (Hinton et al., 1503.02531) in the manner of Beyer et al. (2106.05237): the
teachers see the same augmented pictures as the network. A teacher may be larger, or trained on
other pictures; several together have smaller errors than each of them.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from portrait.errors import UserError
from portrait.inference.network import Network, load


class Teachers:
    """Mixes the mean alpha of some networks into the mattes of a batch.

    Each network runs on one thread in each process that augments. It sees a picture once: the
    augmentation mirrors half of the pictures, so over several epochs both sides are taught.

    Args:
        models: names of shipped networks or `.tflite` files, see `inference.network.load`. A
            network that is named twice counts twice.
        share: the weight of the teachers in the new mattes, 0..1; the rest is the label's weight.
        input_range: a key of `inference.network.INPUT_RANGES`, for files whose metadata has no
            range.

    Raises:
        UserError: a model cannot be opened, or runs on Keras, which does not work in the processes
            that augment; `share` is out of range.
    """

    def __init__(
        self,
        models: Sequence[str],
        share: float = 0.5,
        input_range: str = "",
    ):
        if not 0 <= share <= 1:
            raise UserError(f"the teachers' share must lie between 0 and 1, not {share}")
        self.share = share
        self._networks = [
            (_open(model, input_range).matte, count / len(models))
            for model, count in Counter(models).items()
        ]

    def __call__(self, images: np.ndarray, mattes: np.ndarray) -> np.ndarray:
        """Mixes the teachers' alphas into the mattes.

        Args:
            images: uint8 (N, H, W, 3), RGB.
            mattes: uint8 (N, H, W), 255 = person.

        Returns:
            uint8 (N, H, W).
        """
        taught = np.stack([self.alpha(image) for image in images]) * np.float32(255 * self.share)
        return np.rint(taught + mattes * np.float32(1 - self.share)).astype(np.uint8)

    def alpha(self, image: np.ndarray) -> np.ndarray:
        """The mean alpha of the teachers, float32 (H, W), 0..1, of an image uint8 (H, W, 3)."""
        total = np.zeros(image.shape[:2], np.float32)
        for matte_fn, weight in self._networks:
            total += weight * matte_fn(image)
        return total


def _open(model: str, input_range: str) -> Network:
    network = load(model, input_range=input_range)
    if network.tflite is None:
        raise UserError(
            f"--teachers={model}: give a .tflite file (main.py --convert=True makes it)"
        )
    return network
