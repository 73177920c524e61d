"""Computes the alphas of a video's frames."""

import numpy as np

from portrait.effects.matting import refinement
from portrait.effects.smoothing import Smoother
from portrait.effects.windows import coarse_alpha, look, only_people, still_hold, windows_around
from portrait.inference.network import Network
from portrait.io.cuts import CutFinder
from portrait.io.images import Window, resize
from portrait.matting.plate import Plate

_LOOK_AGAIN = 15  # frames between two searches for people in the whole picture


class VideoMatter:
    """Computes the alphas of a video's frames in order; one object for each video.

    The network sees windows around the people of the previous frame, and the whole picture every 15
    frames. After a cut, everything starts afresh. A network that takes the previous alpha gets it
    within the windows, but not for the whole picture, where it searches for new people.

    Args:
        network: the network for the alpha.
        smooth: whether to smooth the alphas, see `smoothing`.
        plate: the scene without people, for a camera that does not move.
        refine: see `matting.matte`.

    Raises:
        UserError: there is no such refinement.
    """

    def __init__(
        self,
        network: Network,
        smooth: bool = True,
        plate: Plate | None = None,
        refine: str = "auto",
    ):
        self._network = network
        self._plate = plate
        self._refine = refinement(refine, moving=True)
        self._smooth = smooth
        self._starts = CutFinder()

    def _restart(self) -> None:
        """Forgets the frames of an earlier scene."""
        self._smoother = Smoother() if self._smooth else None
        self._windows: list[Window] = []
        self._before: np.ndarray | None = None
        self._frames = 0

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Computes the alpha, float32 (H, W), of the next frame, uint8 RGB (H, W, 3)."""
        alpha = self._refine(image, self.coarse(image))
        return self._plate.refine(image, alpha) if self._plate else alpha

    def coarse(self, image: np.ndarray) -> np.ndarray:
        """Computes the alpha of the next frame on the grid, float32 (h, w)."""
        if self._starts(image):
            self._restart()
        alpha = self._look(image)
        if self._smoother:
            alpha = self._smoother(resize(image, alpha.shape), alpha)
        self._before = only_people(alpha, self._before)
        self._place(self._before, image)
        self._frames += 1
        return self._before

    def _look(self, image: np.ndarray) -> np.ndarray:
        if self._frames % _LOOK_AGAIN == 0 or not self._windows:
            seen = coarse_alpha(self._network, image)
            known = seen if self._before is None else np.maximum(seen, self._before)
            self._place(known, image)
            if not self._windows:
                return seen
        return look(self._network, image, self._windows, self._before)

    def _place(self, alpha: np.ndarray, image: np.ndarray) -> None:
        """Moves the windows, but only if people come close to their edges: moves may be visible."""
        found = windows_around(alpha, image.shape, self._network.input_shape)
        if not still_hold(self._windows, found, alpha, image.shape):
            self._windows = found
