"""Removes parts of an alpha that are not people, but look like them to the network."""

import cv2
import numpy as np

_THRESHOLD = 0.5  # alpha from which a pixel belongs to a person
_FRINGE = 0.1  # alpha from which adjoining pixels belong to a person
_NOBODY = 0.004  # parts smaller than this share of the picture are not people
_SURE = 0.95  # alpha from which the network is certain
_CORE = 0.3  # share of a person's pixels with certain alphas, at least
_STILL_CORE = 0.15  # the same for a part that overlaps a person of the previous frame
# Parts within the first distance from what the whole picture shows are right, and parts that reach
# beyond the second may be wrong; as shares of the grid's longer side.
_REACH = (0.02, 0.06)
_SMALL = 0.01  # smaller people, as a share of the grid, may be missing in the whole picture


def only_people(alpha: np.ndarray, before: np.ndarray | None = None) -> np.ndarray:
    """Removes parts of low certainty, which are mostly false people in the background.

    A connected part and its soft fringe are kept if the network is certain about 30 % of the
    pixels.

    Args:
        alpha: float32 (h, w), 0..1.
        before: the result for the previous frame. For parts that overlap it, half of the share is
            enough, so that they do not appear and disappear.

    Returns:
        float32 (h, w): `alpha` where parts are kept, 0 elsewhere.
    """
    count, labels = cv2.connectedComponents((alpha > _FRINGE).astype(np.uint8))
    inside = alpha >= _THRESHOLD
    sizes = np.bincount(labels[inside], minlength=count)
    cores = np.bincount(labels[alpha >= _SURE], minlength=count)
    needed = np.full(count, _CORE)
    if before is not None:
        needed[np.unique(labels[inside & (before >= _THRESHOLD)])] = _STILL_CORE
    kept = (cores >= needed * sizes) & (sizes >= _NOBODY * alpha.size)
    kept[0] = False
    return np.where(kept[labels], alpha, np.float32(0))


def only_seen(alpha: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Removes large parts that windows show and the whole picture does not.

    A window may show a part of the background that looks like a person if nothing else is visible.

    Args:
        alpha: of the windows, float32 (h, w), 0..1.
        seen: of the whole picture, in which small people may be missing, float32 (h, w).

    Returns:
        float32 (h, w): `alpha`, 0 in large parts far from those of `seen`. If nobody is seen in the
        whole picture, `alpha` does not change.
    """
    person = (seen >= _THRESHOLD).astype(np.uint8)
    if not person.any():
        return alpha
    near, wide = (
        cv2.dilate(person, np.ones(2 * [2 * round(share * max(alpha.shape)) + 1], np.uint8))
        for share in _REACH
    )
    parts = ((alpha > _FRINGE) & (near == 0)).astype(np.uint8)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(parts)
    removed = np.zeros(len(stats), bool)
    removed[labels[wide == 0]] = True
    removed &= stats[:, cv2.CC_STAT_AREA] >= _SMALL * alpha.size
    removed[0] = False
    return np.where(removed[labels], np.float32(0), alpha)
