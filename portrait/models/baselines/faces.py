"""Face detection and the mean portrait shape: the additional inputs of PortraitFCN+.

A face's box is (left, top, width, height) as fractions of the picture's width and height, so
resizing the picture does not change it. Coordinates in the face's frame are measured from the
centre of the box; x is in units of the box's width, and y is in units of its height.
"""

import functools
import logging
import threading

import cv2
import keras
import numpy as np
from tqdm import tqdm

from portrait.util import evenly

log = logging.getLogger(__name__)

# The box for pictures without a face: about a third of each side, centred in the upper half.
CENTRED = (0.33, 0.2, 0.34, 0.34)

# The part of the face's frame that the mean portrait covers, (top, bottom) and (left, right).
FRAME = ((-2.0, 4.0), (-2.5, 2.5))
PER_UNIT = 16  # grid points per height or width of the face
GRID = (96, 80)

# More portraits than this hardly change the mean.
_ENOUGH = 500
# Smaller pictures are enlarged to this height, because OpenCV finds faces from 20 pixels.
_SEARCHED_HEIGHT = 256
_LOCK = threading.Lock()  # a cascade is not thread-safe, and Keras loads batches in threads


@functools.cache
def _cascade() -> cv2.CascadeClassifier:
    return cv2.CascadeClassifier(f"{cv2.data.haarcascades}haarcascade_frontalface_alt2.xml")


def find_face(image: np.ndarray) -> tuple[float, float, float, float] | None:
    """Finds the largest frontal face with OpenCV's cascade (Viola, Jones, 2001).

    Args:
        image: (H, W, 3), RGB 0..255, uint8 or float.

    Returns:
        The box, or None if there is no face.
    """
    grey = cv2.cvtColor(np.asarray(image).clip(0, 255).astype(np.uint8), cv2.COLOR_RGB2GRAY)
    if (enlarge := _SEARCHED_HEIGHT / grey.shape[0]) > 1:
        grey = cv2.resize(grey, None, fx=enlarge, fy=enlarge, interpolation=cv2.INTER_LINEAR)
    with _LOCK:
        boxes = _cascade().detectMultiScale(cv2.equalizeHist(grey), 1.1, 4, minSize=(24, 24))
    if not len(boxes):
        return None
    height, width = grey.shape
    x, y, w, h = max(boxes, key=lambda box: box[2])
    return x / width, y / height, w / width, h / height


def find_faces(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Finds the face of each picture of a batch.

    Args:
        images: (N, H, W, 3), RGB 0..255.

    Returns:
        The boxes, float32 (N, 4), `CENTRED` if there is no face; and whether a face was found,
        bool (N,).
    """
    boxes = [find_face(image) for image in images]
    found = np.array([box is not None for box in boxes])
    return np.array([box or CENTRED for box in boxes], np.float32), found


def mean_shape(images: np.ndarray, mattes: np.ndarray) -> np.ndarray:
    """The mean matte of portraits, aligned by their faces.

    Beyond the border of its picture, a matte is continued with its border values.

    Args:
        images: uint8 (N, H, W, 3), RGB. At most 500 are used, evenly spaced.
        mattes: uint8 (N, H, W), 255 = person.

    Returns:
        float32 of shape `GRID`, 0..1, covering `FRAME`: the mean over all portraits with a face,
        or, if no face is found, the mean over all portraits with `CENTRED` boxes.
    """
    chosen = evenly(range(len(images)), _ENOUGH)
    boxes = {
        index: find_face(images[index])
        for index in tqdm(chosen, "faces", leave=False, disable=None)
    }
    faces = {index: box for index, box in boxes.items() if box}
    log.info("a face was found in %d of %d training pictures", len(faces), len(chosen))
    total = np.zeros(GRID, np.float64)
    for index, box in (faces or dict.fromkeys(chosen, CENTRED)).items():
        total += _in_frame(mattes[index], box)
    return (total / (len(faces) or len(chosen)) / 255).astype(np.float32)


def _in_frame(matte: np.ndarray, box: tuple[float, float, float, float]) -> np.ndarray:
    """Samples the matte (H, W) at the points of the grid in the face's frame."""
    height, width = matte.shape
    left, top, w, h = box
    # Pixel = centre of the box + (start of the frame + grid point / PER_UNIT) x size of the box.
    scale = np.array([w * width, h * height]) / PER_UNIT
    start = np.array([FRAME[1][0], FRAME[0][0]])
    centre = np.array([(left + w / 2) * width, (top + h / 2) * height]) - 0.5
    offset = centre + start * scale * PER_UNIT
    to_pixel = np.array([[scale[0], 0, offset[0]], [0, scale[1], offset[1]]])
    return cv2.warpAffine(
        matte,
        to_pixel,
        GRID[::-1],
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )


class WithFaces(keras.utils.PyDataset):
    """The batches of `sequence`, with inputs {"image": pictures, "face": boxes (N, 4)}."""

    def __init__(self, sequence: keras.utils.PyDataset):
        super().__init__()
        self.sequence = sequence

    def __len__(self) -> int:
        return len(self.sequence)

    def __getitem__(self, index: int):
        images, *rest = self.sequence[index]  # targets, and in some validations sample weights
        return {"image": images, "face": find_faces(images)[0]}, *rest
