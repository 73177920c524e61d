"""Where the face is, and the mean portrait around it: what PortraitFCN+ knows beside the picture.

A face's box is (left, top, width, height) in shares of the picture's width and height, so that it
stays the same when the picture is squeezed. In the face's frame a point is (x, y) from the centre
of the box, in its widths and heights.
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

# The box that a picture without a face gets: a third of it, in the middle of the upper half.
CENTRED = (0.33, 0.2, 0.34, 0.34)

# The part of the face's frame that the mean portrait covers, (top, bottom) and (left, right).
FRAME = ((-2.0, 4.0), (-2.5, 2.5))
PER_UNIT = 16  # its points in the height and width of a face
GRID = (96, 80)

# The mean of so many portraits hardly changes with more of them.
_ENOUGH = 500
# Height to which smaller pictures are enlarged, for OpenCV's faces have at least 20 pixels.
_SEARCHED_HEIGHT = 256
_LOCK = threading.Lock()  # a cascade keeps intermediate results, and Keras draws batches in threads


@functools.cache
def _cascade() -> cv2.CascadeClassifier:
    return cv2.CascadeClassifier(f"{cv2.data.haarcascades}haarcascade_frontalface_alt2.xml")


def find_face(image: np.ndarray) -> tuple[float, float, float, float] | None:
    """The largest face that looks at the camera, by OpenCV's cascade (Viola, Jones, 2001).

    Args:
        image: (H, W, 3), RGB 0..255, uint8 or float.

    Returns:
        The box, or None where there is no face.
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
    """The boxes of a batch.

    Args:
        images: (N, H, W, 3), RGB 0..255.

    Returns:
        float32 (N, 4), `CENTRED` where there is no face; and bool (N,), whether there is one.
    """
    boxes = [find_face(image) for image in images]
    found = np.array([box is not None for box in boxes])
    return np.array([box or CENTRED for box in boxes], np.float32), found


def mean_shape(images: np.ndarray, mattes: np.ndarray) -> np.ndarray:
    """The mean matte of portraits, each laid so that its face covers that of the others.

    A matte goes on beyond the picture's border as it ends there: shoulders go on.

    Args:
        images: uint8 (N, H, W, 3), RGB. Of more than 500, 500 are taken, evenly.
        mattes: uint8 (N, H, W), 255 = person.

    Returns:
        float32 `GRID`, 0..1, over `FRAME`: the mean of those that have a face; of all, with
        `CENTRED` boxes, if none has.
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
    """The matte (H, W) as seen from the face, at the points of the grid."""
    height, width = matte.shape
    left, top, w, h = box
    # Pixel = centre of the box + (start of the frame + grid point / points a unit) x size of box.
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
    """The batches of `sequence`, with {"image": ..., "face": boxes (N, 4)} for the pictures."""

    def __init__(self, sequence: keras.utils.PyDataset):
        super().__init__()
        self.sequence = sequence

    def __len__(self) -> int:
        return len(self.sequence)

    def __getitem__(self, index: int):
        images, targets = self.sequence[index]
        return {"image": images, "face": find_faces(images)[0]}, targets
