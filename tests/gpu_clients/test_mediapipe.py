"""Shipped files in MediaPipe's ImageSegmenter with its GPU delegate: OpenGL ES, in float16."""

import gpu_files
import mediapipe_process
import numpy as np
import pytest

from metrics import person_iou
from portrait.tflite.runtime import TfliteModel

pytestmark = pytest.mark.gpu_clients
RGBA = [path for path in gpu_files.SHIPPED if "rgba" in path.name]  # made for LiteRT
RGB = [path for path in gpu_files.SHIPPED if path not in RGBA]
SLOW = [pytest.param(path, id=path.stem, marks=pytest.mark.slow) for path in RGBA]


@pytest.mark.parametrize("file", [*gpu_files.parameters(RGB), *SLOW])
def test_file(file):
    mediapipe_process.skip_without(gpu=True)
    pictures = gpu_files.pictures(file)
    masks = mediapipe_process.masks([file], pictures, "GPU")[file.stem][:, 0]
    model = TfliteModel(file, file.name)
    expected = np.stack([model(picture)[..., 0] for picture in pictures])
    errors = np.abs(masks - expected)
    assert errors.max() > 1e-4  # on the CPU the error would be smaller
    assert errors.mean() < 1e-3
    assert min(map(person_iou, masks, expected)) >= 0.997
