"""Runs `.tflite` files through MediaPipe's ImageSegmenter, in an environment that has MediaPipe.

python mediapipe_masks.py DELEGATE PICTURES.npy OUTPUT.npz MODEL.tflite...

DELEGATE is CPU or GPU. PICTURES are uint8 RGB (N, H, W, 3). Files of 4 channels, which have "rgba"
in their names, are given RGBA with an alpha of 255, for MediaPipe hangs when they are given RGB;
the GPU takes RGBA only. Writes each file's masks, float32 (N, masks, H, W), under the file's name.
"""

import sys
from pathlib import Path

import mediapipe as mp
import numpy as np
from mediapipe.tasks.python import BaseOptions, vision


def masks(model: Path, pictures: np.ndarray, delegate: str) -> np.ndarray:
    kind = mp.ImageFormat.SRGB
    if "rgba" in model.name or delegate == "GPU":
        kind = mp.ImageFormat.SRGBA
        pictures = np.concatenate([pictures, np.full_like(pictures[..., :1], 255)], axis=-1)
    base = BaseOptions(
        model_asset_path=str(model), delegate=getattr(BaseOptions.Delegate, delegate)
    )
    options = vision.ImageSegmenterOptions(base_options=base)
    with vision.ImageSegmenter.create_from_options(options) as segmenter:
        results = [segmenter.segment(mp.Image(kind, np.ascontiguousarray(p))) for p in pictures]
        return np.stack(
            [[m.numpy_view().squeeze().copy() for m in each.confidence_masks] for each in results]
        )


if __name__ == "__main__":
    _, delegate, pictures, output, *models = sys.argv
    images = np.load(pictures)
    np.savez(output, **{Path(model).stem: masks(Path(model), images, delegate) for model in models})
