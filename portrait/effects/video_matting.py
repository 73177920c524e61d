"""Computes the alphas of a video's frames."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from portrait.effects.false_people import only_people, only_seen
from portrait.effects.matting import refinement
from portrait.effects.smoothing import Moment, blur_by_motion, smooth
from portrait.effects.windows import (
    WIDE_IN_VIDEOS,
    coarse_alpha,
    look,
    still_hold,
    windows_around,
)
from portrait.inference.network import Network
from portrait.io.cuts import CutFinder
from portrait.io.images import Window
from portrait.matting.plate import Plate

_LOOK_AGAIN = 15  # frames between two searches for people in the whole picture
_GROWTH = 1.1  # factor of the people's area from which the whole picture must confirm it


class VideoMatter:
    """Computes the alphas of a video's frames in order; one object for each video.

    The network sees windows around the people of the previous frame, and the whole picture every 15
    frames. It also sees the whole picture if people appear or their area grows by a tenth: then
    parts of the background that look like people only in a window are removed. After a cut,
    everything starts afresh. A network that takes the previous alpha gets it within the windows,
    but not for the whole picture, where it searches for new people.

    Args:
        network: the network for the alpha.
        smooth: whether to smooth the alphas, see `smoothing`.
        plate: the scene without people, for a camera that does not move.
        refine: see `matting.matte`; or a function from an image and its coarse alpha to the alpha.

    Raises:
        UserError: there is no such refinement.
    """

    def __init__(
        self,
        network: Network,
        smooth: bool = True,
        plate: Plate | None = None,
        refine: str | Callable[[np.ndarray, np.ndarray], np.ndarray] = "auto",
    ):
        self._network = network
        self._plate = plate
        self._refine = refine if callable(refine) else refinement(refine, moving=True)
        self._smooth = smooth
        self._starts = CutFinder()

    def alphas(self, images: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Computes the alphas of frames, two frames late if they are smoothed.

        They are smoothed before the refinement, which follows errors in the outline, and after it,
        because it finds slightly different outlines in similar frames. Then they get the motion
        blur of the frames. An exception of the network or the refinement is raised after the alphas
        of all frames before.

        Args:
            images: uint8 RGB (H, W, 3).

        Yields:
            float32 (H, W), 0..1.
        """
        moments = map(self.coarse, images)
        if self._smooth:
            moments = smooth(moments)
        moments = map(self._refined, moments)
        if self._smooth:
            moments = map(blur_by_motion, smooth(moments, hold=True))
        for moment in moments:
            yield self._plate.refine(moment.image, moment.alpha) if self._plate else moment.alpha

    def coarse(self, image: np.ndarray) -> Moment:
        """The next frame, uint8 RGB (H, W, 3), with its alpha on the grid, not smoothed."""
        starts = self._starts(image)
        if starts:
            self._windows: list[Window] = []
            self._before: np.ndarray | None = None
            self._frames = 0
            self._area = 0
        self._before = only_people(self._look(image), self._before)
        self._place(self._before, image)
        self._frames += 1
        return Moment.of(image, self._before, starts)

    def _refined(self, moment: Moment) -> Moment:
        return dataclasses.replace(moment, alpha=self._refine(moment.image, moment.alpha))

    def _look(self, image: np.ndarray) -> np.ndarray:
        seen = None
        if self._frames % _LOOK_AGAIN == 0 or not self._windows:
            seen = coarse_alpha(self._network, image)
            known = seen if self._before is None else np.maximum(seen, self._before)
            self._place(known, image)
            if not self._windows:
                return seen
        alpha = look(self._network, image, self._windows, self._before)
        area = np.count_nonzero(alpha >= 0.5)
        if area > _GROWTH * self._area:
            seen = coarse_alpha(self._network, image) if seen is None else seen
            alpha = only_seen(alpha, seen)
            self._area = area = np.count_nonzero(alpha >= 0.5)
        self._area = min(self._area, area)
        return alpha

    def _place(self, alpha: np.ndarray, image: np.ndarray) -> None:
        """Moves the windows, but only if people come close to their edges: moves may be visible."""
        found = windows_around(alpha, image.shape, self._network.input_shape, WIDE_IN_VIDEOS)
        if not still_hold(self._windows, found, alpha, image.shape):
            self._windows = found
