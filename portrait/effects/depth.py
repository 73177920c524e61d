"""How far the background of a picture is out of focus, from where the person stands."""

import cv2
import numpy as np

DEPTHS = ("ramp", "flat")
"""The kinds of backgrounds: one that recedes from the person's feet to the horizon, or a wall."""

_EYES = 0.1  # height of the eyes below the top of the hair, as a share of a person's height
_SLIM = 3.5  # height of a person / width of the outline, for people who are cut off below
_CUT_OFF = (0.02, 0.08)  # distance of the feet from the lower border at which they are visible


def defocus(alpha: np.ndarray) -> np.ndarray:
    """The defocus of each row of a picture in which a person stands on the ground.

    A lens that is focused on depth f images a point at depth z as a disc whose radius is
    proportional to |1 / f - 1 / z|. On a level ground, 1 / z grows linearly with the row, from 0 at
    the horizon. The radius is therefore proportional to the distance from the row of the feet,
    and constant above the horizon. A camera at the height of people's eyes has the horizon there.
    If the person is cut off below, the feet are estimated from the width of the outline.

    Args:
        alpha: float32 (H, W), 0..1, of the person.

    Returns:
        float32 (H,), 0 at the person's depth, 1 at the horizon and above. All 1 without a person.
    """
    height = len(alpha)
    _, _, stats, _ = cv2.connectedComponentsWithStats((alpha > 0.5).astype(np.uint8))
    if len(stats) < 2:
        return np.ones(height, np.float32)
    largest = stats[1 + stats[1:, cv2.CC_STAT_AREA].argmax()]
    top, tall, wide = (
        int(largest[each]) for each in (cv2.CC_STAT_TOP, cv2.CC_STAT_HEIGHT, cv2.CC_STAT_WIDTH)
    )
    least, most = _CUT_OFF
    visible = float(np.clip(((height - top - tall) / height - least) / (most - least), 0, 1))
    whole = tall + (1 - visible) * max(0.15 * tall, _SLIM * wide - tall)
    feet, horizon = top + whole, top + _EYES * whole
    rows = np.arange(height, dtype=np.float32) + 0.5
    return (np.abs(feet - rows) / (feet - horizon)).clip(0, 1).astype(np.float32)
