"""Finds cuts in a video: frames that have nothing to do with the frame before."""

import cv2
import numpy as np

_SIZE = (48, 27)  # pixels of the pictures that are compared: grain and details do not count
_LEAST = 15.0  # mean change of a cut in levels, as in PySceneDetect's adaptive detector
_UNKNOWN = 10.0  # stands for the changes before at the start of a scene, which may be fast
_RATIO = 3.0  # times the changes before; camera movements change every frame
_MEMORY = 0.7  # weight of the earlier changes in their running mean


class CutFinder:
    """Says of successive frames whether a new scene starts; use one object per video.

    A cut is a frame that changes by much more than the frames before it did, as in PySceneDetect's
    AdaptiveDetector, which also looks at later frames. Dissolves are not found. Fast movement that
    starts suddenly may be taken for a cut, but only once: directly after the start of a scene, a
    cut must change twice as much.
    """

    def __init__(self):
        self._before: np.ndarray | None = None
        self._usual = _UNKNOWN

    def __call__(self, image: np.ndarray) -> bool:
        """Takes the next frame, uint8 RGB (H, W, 3); True for the first frame of a scene."""
        small = cv2.resize(image, _SIZE, interpolation=cv2.INTER_AREA)
        before, self._before = self._before, small
        if before is None:
            return True
        change = float(cv2.absdiff(small, before).mean())
        if change > max(_LEAST, _RATIO * self._usual):
            self._usual = _UNKNOWN
            return True
        self._usual = _MEMORY * self._usual + (1 - _MEMORY) * change
        return False
