"""Runs `.tflite` files through MediaPipe's ImageSegmenter, in an environment that has MediaPipe.

python mediapipe_masks.py PICTURE.npy OUTPUT.npz MODEL.tflite...

The picture is uint8 RGB (H, W, 3); a file whose name has "rgba" in it is given it with an alpha of
255, for MediaPipe hangs when such a file is given RGB. Writes each file's masks, float32
(masks, H, W), under the file's name.
"""

import sys
from pathlib import Path

import mediapipe as mp
import numpy as np
from mediapipe.tasks.python import BaseOptions, vision


def masks(model: Path, picture: np.ndarray) -> np.ndarray:
    kind = mp.ImageFormat.SRGB
    if "rgba" in model.name:
        kind = mp.ImageFormat.SRGBA
        picture = np.dstack([picture, np.full(picture.shape[:2], 255, np.uint8)])
    options = vision.ImageSegmenterOptions(base_options=BaseOptions(model_asset_path=str(model)))
    with vision.ImageSegmenter.create_from_options(options) as segmenter:
        result = segmenter.segment(mp.Image(kind, np.ascontiguousarray(picture)))
        return np.stack([mask.numpy_view().squeeze().copy() for mask in result.confidence_masks])


if __name__ == "__main__":
    _, picture, output, *models = sys.argv
    image = np.load(picture)
    np.savez(output, **{Path(model).stem: masks(Path(model), image) for model in models})
