"""Smooths the alphas of a video, without a lag behind movement.

Each alpha is mixed with the previous alpha, which is warped by optical flow. For each pixel, the
weight of the previous alpha depends on how well the flow explains the new frame, on the movement,
and on the difference of the two alphas: differences from flicker are small, differences from
movement are large.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from metrics import flow_sources

# Weights of the previous alpha if frames and alphas agree. Flow is not exact, so larger weights
# blur the outline of what moves: docs/effects.md has the scores.
_KEEP_STILL = 0.85
_KEEP_MOVING = 0.5
_STILL = 0.3  # scale of movement between the two weights, in pixels for each frame
_COLOUR = 12.0  # scale of the flow's error, in grey levels
_JUMP = 1.2  # difference of the alphas at which the weight is 0


@dataclass
class _Frame:
    grey: np.ndarray
    alpha: np.ndarray


class Smoother:
    """Smooths the alphas of successive frames; use one object per video.

    Example:
        smoother = Smoother()
        for image, alpha in frames:
            alpha = smoother(image, alpha)
    """

    def __init__(self):
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
        self._before: _Frame | None = None

    def __call__(self, image: np.ndarray, alpha: np.ndarray) -> np.ndarray:
        """Takes the next frame.

        Args:
            image: uint8 RGB (h, w, 3), of the alpha's size.
            alpha: float32 (h, w), 0..1.

        Returns:
            float32 (h, w), 0..1.
        """
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        if self._before is not None and self._before.grey.shape == grey.shape:
            alpha = self._mixed(grey, alpha, self._before)
        self._before = _Frame(grey, alpha)
        return alpha

    def _mixed(self, grey: np.ndarray, alpha: np.ndarray, before: _Frame) -> np.ndarray:
        places = flow_sources(self._flow, grey, before.grey)
        carried = cv2.remap(before.alpha, *places, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
        missed = cv2.absdiff(
            cv2.remap(before.grey, *places, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT), grey
        )
        missed = cv2.blur(missed.astype(np.float32), (5, 5))
        believed = np.exp(-np.square(missed / np.float32(_COLOUR)))
        differing = cv2.absdiff(carried, alpha) / np.float32(_JUMP)
        keep = self._keep(*places) * believed * np.maximum(0, 1 - np.square(differing))
        return alpha + keep * (carried - alpha)

    @staticmethod
    def _keep(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """The weight of the previous alpha by the movement of each pixel from (x, y)."""
        height, width = x.shape
        across = x - np.arange(width, dtype=np.float32)
        down = y - np.arange(height, dtype=np.float32)[:, None]
        still = np.exp((across * across + down * down) / np.float32(-(_STILL**2)))
        return _KEEP_MOVING + np.float32(_KEEP_STILL - _KEEP_MOVING) * still
