"""Matting with a clean plate: a picture of the scene without people, from a camera that stays.

With a known background B, the composition equation I = alpha F + (1 - alpha) B has only F and alpha
as unknowns. As in background matting (Sengupta et al., "Background Matting: The World is Your Green
Screen", CVPR 2020), a network finds the people, and the plate determines the outline.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from portrait.errors import UnfitError
from portrait.io.images import resize
from portrait.matting import compositing
from portrait.matting.compositing import Estimator
from portrait.matting.foreground import blur_fusion

_BAND = 0.012  # width of the outline that is solved, as a share of the longer side
_SAME = 1.5  # differences from the plate, in units of the noise, below which there is no person
_OTHER = 4.0  # differences above which there is a person
_LEAST_NOISE = 2.0  # levels; codecs remove the noise of flat places, but not of edges
_ASPECT = 1.02
_SAMPLE = 4  # the brightness is compared on every 4th pixel of every 4th row


class Plate:
    """A clean plate.

    Args:
        picture: uint8 RGB (H, W, 3).
        name: for messages.
    """

    def __init__(self, picture: np.ndarray, name: str = "the plate"):
        self._picture, self._name = picture, name

    def background(self, image: np.ndarray, alpha: np.ndarray) -> np.ndarray:
        """The plate with the size, the type and the brightness of a picture.

        Cameras adjust exposure and white balance, so each channel is scaled by the ratio of its
        means where there is nobody.

        Args:
            image: (H, W, 3), uint8 sRGB, or float32 0..1 in linear light.
            alpha: float32 (H, W), 0..1.

        Raises:
            UnfitError: the plate has other proportions.
        """
        plate = self._fitted(image.shape)
        if image.dtype != np.uint8:
            plate = compositing.to_linear(plate)
        grid = np.s_[::_SAMPLE, ::_SAMPLE]
        empty = alpha[grid] < 0.02
        if not empty.any():
            return plate
        means = [each[grid][empty].mean(axis=0, dtype=np.float64) for each in (image, plate)]
        gains = (means[0] / np.maximum(means[1], 1e-6)).clip(0.5, 2)
        scaled = cv2.multiply(plate.astype(np.float32), (*gains, 0))
        return cv2.convertScaleAbs(scaled) if image.dtype == np.uint8 else scaled

    def refine(self, image: np.ndarray, alpha: np.ndarray) -> np.ndarray:
        """Solves alpha along the outline, and removes people that are part of the plate.

        Args:
            image: uint8 RGB (H, W, 3).
            alpha: float32 (H, W), 0..1, refined without the plate.

        Returns:
            float32 (H, W), 0..1.

        Raises:
            UnfitError: the plate has other proportions.
        """
        if not alpha.any():
            return alpha
        plate = self.background(image, alpha)
        differing = cv2.absdiff(image, plate).max(axis=2).astype(np.float32)
        empty = differing[alpha < 0.02]
        noise = max(_LEAST_NOISE, 1.5 * float(np.median(empty)) if len(empty) else 0.0)
        differing = cv2.blur(differing, (3, 3)) / np.float32(noise)
        changed = ((differing - _SAME) / (_OTHER - _SAME)).clip(0, 1)
        alpha = _without_unchanged(alpha, changed)
        inner, outer = _around(alpha)
        band = outer & ~inner
        solved = _solved(image, plate, alpha, noise)
        alpha = np.where(band, np.minimum(solved, changed), alpha * outer)
        # Again, because parts of the plate beside a person have been cut off by now.
        return _without_unchanged(alpha, changed)

    def estimator(self, estimate: Estimator) -> Estimator:
        """An estimator of F and B whose B is the plate; F is from `estimate`."""
        return lambda image, alpha: (estimate(image, alpha)[0], self.background(image, alpha))

    def _fitted(self, shape: Sequence[int]) -> np.ndarray:
        height, width = shape[:2]
        rows, columns = self._picture.shape[:2]
        if not 1 / _ASPECT < (width / height) / (columns / rows) < _ASPECT:
            raise UnfitError(
                f"{self._name}: a plate of {columns} x {rows} does not fit a picture of {width} x "
                f"{height}: take it with the same camera from the same place"
            )
        return resize(self._picture, (height, width))


def _without_unchanged(alpha: np.ndarray, changed: np.ndarray) -> np.ndarray:
    """Removes connected parts in which less than a quarter of the pixels differ from the plate."""
    count, labels = cv2.connectedComponents((alpha > 0.1).astype(np.uint8))
    sizes = np.bincount(labels.ravel(), minlength=count)
    different = np.bincount(labels.ravel(), weights=changed.ravel(), minlength=count)
    kept = different >= 0.25 * sizes
    kept[0] = True
    return np.where(kept[labels], alpha, np.float32(0))


def _around(alpha: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Masks, bool (H, W), of pixels that are certainly a person, and that may be one."""
    width = max(3, round(_BAND * max(alpha.shape)))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * width + 1, 2 * width + 1))
    inner = cv2.erode((alpha > 0.95).astype(np.uint8), disc)
    outer = cv2.dilate((alpha > 0.05).astype(np.uint8), disc)
    return inner.astype(bool), outer.astype(bool)


def _solved(image: np.ndarray, plate: np.ndarray, alpha: np.ndarray, noise: float) -> np.ndarray:
    """Projects I - B on F - B; where F and B are similar, the given alpha has more weight."""
    person = blur_fusion(image, alpha)[0].astype(np.float32)
    behind = plate.astype(np.float32)
    towards = person - behind
    length = np.square(towards).sum(axis=2)
    share = ((image - behind) * towards).sum(axis=2) / np.maximum(length, 1)
    trust = length / (length + np.float32((6 * noise) ** 2))
    return alpha + trust * (share.clip(0, 1) - alpha)
