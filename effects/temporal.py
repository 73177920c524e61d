"""Alphas of a video that do not flicker, and do not lag behind what moves.

Each frame's alpha is mixed with that of the frame before, which optical flow has carried to where
its pixels are now. How much of it is taken depends, pixel by pixel, on whether the flow explains
the new frame and on how far the two alphas differ: flicker is small and stands still, movement is
large.
"""

from dataclasses import dataclass

import cv2
import numpy as np

_KEEP = 0.85  # of the alpha before, where everything agrees
_COLOUR = 12.0  # grey levels by which flow may miss before it is not believed
_JUMP = 1.2  # disagreement of alphas at which nothing would be kept
_FLOW_SCALE = 2  # flow is found on pictures this much smaller


@dataclass
class _Frame:
    grey: np.ndarray
    alpha: np.ndarray


class Smoother:
    """Smooths the alphas of successive frames; one for each video.

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
        places = _sources(self._flow, grey, before.grey)
        carried = cv2.remap(before.alpha, *places, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
        missed = cv2.absdiff(
            cv2.remap(before.grey, *places, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT), grey
        )
        missed = cv2.blur(missed.astype(np.float32), (5, 5))
        believed = np.exp(-np.square(missed / np.float32(_COLOUR)))
        differing = cv2.absdiff(carried, alpha) / np.float32(_JUMP)
        keep = np.float32(_KEEP) * believed * np.maximum(0, 1 - np.square(differing))
        return alpha + keep * (carried - alpha)


def _sources(
    flow: cv2.DISOpticalFlow, grey: np.ndarray, before: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """For each pixel of `grey`, where in `before` it was: x and y, float32 (h, w)."""
    height, width = grey.shape
    # OpenCV's finest scale is a quarter, its patches are of 8 pixels: less ends the process.
    size = max(32, width // _FLOW_SCALE), max(32, height // _FLOW_SCALE)
    small = [cv2.resize(each, size, interpolation=cv2.INTER_AREA) for each in (grey, before)]
    moved = cv2.resize(flow.calc(*small, None), (width, height))
    x = moved[..., 0] * np.float32(width / size[0]) + np.arange(width, dtype=np.float32)
    y = moved[..., 1] * np.float32(height / size[1]) + np.arange(height, dtype=np.float32)[:, None]
    return x, y


def dt_ssd(alphas: np.ndarray, mattes: np.ndarray) -> float:
    """Error of the changes from frame to frame, in hundredths.

    100 x the mean over frames t of sqrt(mean((a_t - a_(t-1) - (m_t - m_(t-1)))^2)), which is dtSSD
    of Erofeev et al., "Perceptually Motivated Benchmark for Video Matting", BMVC 2015.

    Args:
        alphas: predictions, float (T, H, W), 0..1, T at least 2.
        mattes: the truth, of the same shape.
    """
    change = np.diff(alphas, axis=0) - np.diff(mattes, axis=0)
    return float(100 * np.sqrt(np.square(change).mean(axis=(1, 2), dtype=np.float64)).mean())


def flicker(alphas: np.ndarray, images: np.ndarray) -> float:
    """Change of alpha where the picture stands still, in thousandths; needs no truth.

    1000 x the mean of |a_t - a_(t-1)| over the pixels of the person and the outline (one of the two
    is above 0.02) whose colours and those of their 5 x 5 neighbours change by at most 3 of 255.

    Args:
        alphas: float (T, H, W), 0..1, T at least 2.
        images: uint8 RGB (T, H, W, 3).
    """
    changes = []
    for t in range(1, len(alphas)):
        moved = cv2.absdiff(images[t], images[t - 1]).max(axis=2)
        still = cv2.dilate(moved, np.ones((5, 5), np.uint8)) <= 3
        still &= np.maximum(alphas[t], alphas[t - 1]) > 0.02
        changes.append(np.abs(alphas[t] - alphas[t - 1])[still])
    changes = np.concatenate(changes)
    return float(1000 * changes.mean(dtype=np.float64)) if len(changes) else 0.0
