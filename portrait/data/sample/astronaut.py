"""The person of the built-in sample: cuts out NASA's portrait of Eileen Collins.

scikit-image ships the photograph as `astronaut` (public domain). The hand-made outline below
leaves a narrow band for closed-form matting.
"""

import functools
from dataclasses import dataclass, replace

import cv2
import numpy as np
from skimage import data

from portrait.matting.closed_form import closed_form_alpha
from portrait.matting.foreground import blur_fusion_as_published

ROWS = 448
"""Rows of the photograph that are used: below, the helmet's hinge leaves the picture."""
FACE = (226.0, 100.0)
"""(x, y) of the middle of the face in the photograph."""

# Once around the person and the helmet that she holds (held objects belong to the person),
# clockwise from the lower left: points x,y from the photograph's upper left corner, each line
# going on where the one above ends. The number in front is the width in pixels of the band around
# the line in which matting decides: wide at the hair, narrow where a fitting of the suit has the
# colour of the wall behind it.
_OUTLINE = """
4: 23.5,470 23.5,452 24.5,440 21,420 19.5,405 19,395 21,380 23.5,370 25,350 25.5,346 26,342
4: 28.5,336.5 30.5,332 31,328 33.5,320 33,318.5 36.5,309 39,305.5 39,300 40,294 42,289 45,280
4: 51,270 56,260 62,250 66,245 72,240 77,235 85,230 92.5,225 98,220 103.5,214
2: 110,207 112,206 113,203.5 113.5,200.5 115.5,197.5 113.5,192 112.5,189 113.5,187 115,186
2: 118,186.5 120.5,181.5 123,179 124.5,175.5 126.5,171.5 128.5,167.5
4: 131.5,164 135.5,160 140,157 144.5,154.5 150,152 155.5,150 161.5,149 170,148.5 184,149
5: 183,143 182,137 181,132 178,130 174,127 171,122 170,118
10: 165,113 160,109 157,104 155,100 154,93 154,85 153,78 153,66 155,61 158,57 163,52 168,48
14: 174,43 180,40 186,37 190,34 192,31 196,28 200,25
10: 205,22 212,20 220,18 228,16 236,16 245,17 252,19 260,22 268,27 276,31 283,36 288,42 292,48
10: 296,57 298,65 300,75 301,83 301,92 300,100 297,107 293,113 289,119 283,124 279,128
5: 277,133 273,136 269,137 267,136 267,140 265,146 262,154 258,160 257,168 256,174 262,178
5: 272,186 282,195 290,205 297,215 302,226 304,233 312,239 320,243 328,250 338,258 342,265
5: 346,275 347.5,280
2: 348.5,283.5 351,283.5 353,286 353,289 354.5,294 356,301 357.5,307 357.5,317 358,323 360,328
2: 363.5,332 361.5,332.5 360,336
3: 360.5,341 361,345 363.5,346 366,349
5: 375,346 385,344 395,343 410,344 420,345 430,348 442,353 453,360 463,368 472,377 480,388
5: 486,399 490,411 493,424 495,437 496.5,448 496.5,470
"""


@dataclass(frozen=True)
class Placement:
    """The placement of the portrait in a frame.

    Attributes:
        scale: pixels of the frame per pixel of the photograph.
        angle: rotation about the face in degrees, counter-clockwise.
        face: (x, y) of the middle of the face, in pixels of the frame.
        mirror: left and right swapped.
    """

    scale: float
    angle: float
    face: tuple[float, float]
    mirror: bool

    def matrix(self) -> np.ndarray:
        """The 2 x 3 matrix from (x, y) in the portrait, already scaled, to (x, y) in the frame."""
        matrix = cv2.getRotationMatrix2D((0, 0), self.angle, 1.0)
        if self.mirror:
            matrix[:, 0] *= -1
        matrix[:, 2] = np.array(self.face) - matrix[:, :2] @ (np.array(FACE) * self.scale)
        return matrix


@functools.cache
def matted_portrait() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cuts the person out, in about a second.

    Returns:
        The photograph, uint8 (448, 512, 3) RGB; the person's own colours, uint8 of that shape,
        free of the wall and the flag behind her; alpha, float32 (448, 512) 0..1. All read-only.
    """
    photo = data.astronaut()[:ROWS]
    image = photo / 255.0
    alpha = closed_form_alpha(image, portrait_trimap(photo.shape[:2]))
    # Film grain leaves a haze of 1 or 2 % beside the hair and pinholes of as much inside.
    alpha = np.clip((alpha - 0.03) / 0.94, 0, 1)
    colours = np.rint(blur_fusion_as_published(image, alpha) * 255).astype(np.uint8)
    portrait = photo, colours, alpha.astype(np.float32)
    for array in portrait:
        array.setflags(write=False)
    return portrait


def compose(
    foreground: np.ndarray, background: np.ndarray, placement: Placement
) -> tuple[np.ndarray, np.ndarray]:
    """Puts the portrait on a background: F alpha + B (1 - alpha).

    Colours are multiplied by alpha before resampling (Porter and Duff, 1984), so that no colour
    from outside the person enters the rim.

    Args:
        foreground: the person's colours (448, 512, 3) 0..255, from `matted_portrait`.
        background: (H, W, 3) 0..255; its size is the frame.
        placement: the placement of the portrait.

    Returns:
        image float32 (H, W, 3) 0..255 and matte float32 (H, W) 0..1.
    """
    alpha = matted_portrait()[2][..., None]
    layer = np.concatenate([foreground * alpha, alpha], axis=-1).astype(np.float32)
    method = cv2.INTER_AREA if placement.scale < 1 else cv2.INTER_LINEAR
    layer = cv2.resize(layer, None, fx=placement.scale, fy=placement.scale, interpolation=method)
    layer = cv2.warpAffine(layer, placement.matrix(), background.shape[1::-1])
    matte = layer[..., 3]
    return layer[..., :3] + background * (1 - matte[..., None]), matte


def random_placement(rng: np.random.Generator, frame: tuple[int, int]) -> Placement:
    """Draws a placement as in portraits, with the body cut off by the bottom of the frame.

    One in six is half out at a side; the middle of the face is always in. `frame` is
    (height, width).
    """
    height, width = frame
    scale = float(np.exp(rng.uniform(np.log(0.4), np.log(1.15))))
    angle = float(np.clip(rng.normal(0, 9), -25, 25))
    half_out = rng.random() < 1 / 6
    x = rng.choice([0.03, 0.97]) if half_out else np.clip(rng.normal(0.5, 0.13), 0.1, 0.9)
    face = (float(x * width), float(rng.uniform(0.3, 0.5) * height))
    placement = Placement(scale, angle, face, mirror=bool(rng.random() < 0.5))
    # The lower corners of the cut-out person must not come up into the frame.
    corners = np.array([[19, 497], [ROWS - 1, ROWS - 1]]) * scale
    matrix = placement.matrix()
    upper = float((matrix[:, :2] @ corners + matrix[:, 2:])[1].min())
    return replace(placement, face=(face[0], face[1] + max(0.0, height - upper)))


def portrait_trimap(shape: tuple[int, int]) -> np.ndarray:
    """The outline as a trimap: 1 inside, 0 outside, 0.5 in the band; float64 of `shape`."""
    bits = 4  # OpenCV takes places as integers, of 1/16 of a pixel here
    outline = np.empty((0, 2), np.int32)
    bands = []
    for line in _OUTLINE.strip().splitlines():
        width, points = line.split(":")
        stretch = np.array([point.split(",") for point in points.split()], dtype=float)
        # OpenCV counts from the middle of the first pixel, the outline from its corner.
        stretch = np.rint((stretch - 0.5) * 2**bits).astype(np.int32)
        bands.append((int(width), np.concatenate([outline[-1:], stretch])))
        outline = np.concatenate([outline, stretch])
    trimap = np.zeros(shape)
    cv2.fillPoly(trimap, [outline], 1.0, shift=bits)
    for width, stretch in bands:
        cv2.polylines(trimap, [stretch], False, 0.5, thickness=width, shift=bits)
    return trimap
