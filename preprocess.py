"""From a picture and its matte to what a network is given and what its loss compares with."""

from collections.abc import Sequence

import cv2
import numpy as np

from files import UserError


def default_input_shape(network: str) -> str:
    """The `--input_shape` of a network for which none is given."""
    # MediaPipe's weights, with which SelfieNet begins, know a portrait squeezed into a square.
    return "256x256" if network == "selfie_net" else "256"


def parse_input_shape(text: str) -> tuple[int, int]:
    """Reads `--input_shape`: "256" is (256, 192), a portrait of 3/4; "320x240" is (320, 240).

    Returns:
        (height, width) in pixels.

    Raises:
        UserError: not numbers, or not multiples of 32 (the networks halve a picture five times).
    """
    parts = str(text).lower().split("x")
    if not 1 <= len(parts) <= 2 or not all(part.strip().isdecimal() for part in parts):
        raise UserError(
            f"--input_shape={text}: write HEIGHT or HEIGHTxWIDTH, such as 256 or 256x192"
        )
    height = int(parts[0])
    width = int(parts[1]) if len(parts) == 2 else height * 3 // 4
    if height % 32 or width % 32 or not height or not width:
        raise UserError(
            f"--input_shape={text}: height {height} and width {width} must be multiples of 32"
            " (128 is 128x96, 256 is 256x192, 384 is 384x288)"
        )
    return height, width


def resize(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resizes (H, W) or (H, W, C) to `size` = (height, width), without aliasing when both shrink.

    Where one side grows and the other shrinks, OpenCV interpolates linearly, which our networks
    know from their training. Shrinking by areas first was measured: on no test set does it change a
    mean IoU of SelfieNet's or MediaPipe's by more than 0.0003; the big U-Net loses 0.003 on mixed
    pictures.

    The picture is squeezed to the new aspect: networks see every portrait in one shape, and the
    matte is stretched back in the same way.
    """
    height, width = size
    if picture.shape[:2] == (height, width):
        return picture
    shrinks = height * width < picture.shape[0] * picture.shape[1]
    resized = cv2.resize(
        picture, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    )
    return resized.reshape(height, width, *picture.shape[2:])  # OpenCV drops a single channel


def shrink(picture: np.ndarray, side: int) -> np.ndarray:
    """Reduces (H, W) or (H, W, C) to a longer side of at most `side` pixels; 0 leaves it alone."""
    return resize(picture, shrunk(picture.shape, side or max(picture.shape[:2])))


def shrunk(shape: Sequence[int], side: int) -> tuple[int, int]:
    """(height, width) of a picture of `shape` once its longer side is at most `side` pixels."""
    scale = min(1.0, side / max(shape[:2]))
    return max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale))


def boundary_thickness(matte: np.ndarray) -> int:
    """Width in pixels of the boundary band: max(5, 40 x person's share) at a height of 256.

    A person who fills the frame has a long outline with much uncertain hair and cloth along it,
    and gets a wide band; a small one keeps at least five pixels.
    """
    share = float(np.mean(matte)) / (255.0 if matte.dtype == np.uint8 else 1.0)
    return max(1, round(max(5.0, 40.0 * share) * matte.shape[0] / 256.0))


def boundary_target(matte: np.ndarray, thickness: Sequence[int] = ()) -> np.ndarray:
    """The band along the person's outline that the boundary head learns.

    Canny edges (thresholds 50 and 100) of the matte, dilated by an ellipse.

    Args:
        matte: (H, W), uint8 0..255 or float 0..1.
        thickness: diameters of the ellipse in pixels; several give the mean of their bands, which
            is 1 on the outline and falls off in steps. Empty: `boundary_thickness(matte)`.

    Returns:
        float32 (H, W), 0..1.
    """
    levels = matte if matte.dtype == np.uint8 else np.rint(matte * 255.0).astype(np.uint8)
    edges = cv2.Canny(levels, 50, 100)
    if not edges.any():
        return np.zeros(levels.shape, np.float32)
    bands = []
    for diameter in thickness or (boundary_thickness(levels),):
        ellipse = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (diameter, diameter))
        bands.append(cv2.dilate(edges, ellipse).astype(np.float32) / 255.0)
    return bands[0] if len(bands) == 1 else np.mean(bands, axis=0, dtype=np.float32)


def make_trimap(alpha: np.ndarray, band: int) -> np.ndarray:
    """1 surely person, 0 surely background, 0.5 where alpha is soft or `band` pixels from an edge.

    The picture's border is no edge: a person who is cut off by it stays known there.

    Args:
        alpha: (H, W), 0..1; or a mask of 0 and 1.
        band: in pixels, to either side.

    Returns:
        float64 (H, W).
    """
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * band + 1, 2 * band + 1))
    # OpenCV's default border is no neighbour of any pixel, for erosion and for dilation.
    inner = cv2.erode((alpha > 0.95).astype(np.uint8), disc)
    outer = cv2.dilate((alpha > 0.05).astype(np.uint8), disc)
    return np.where(inner == 1, 1.0, np.where(outer == 0, 0.0, 0.5))
