"""Drawn portraits for tests: a skin-coloured head and shoulders in front of a noisy wall."""

from pathlib import Path

import cv2
import numpy as np
from PIL import Image


def draw(count: int, size: tuple[int, int], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Draws uint8 images (N, H, W, 3) and their mattes (N, H, W), 255 = person."""
    random = np.random.default_rng(seed)
    height, width = size
    images = random.integers(0, 100, (count, height, width, 3), np.uint8)
    mattes = np.zeros((count, height, width), np.uint8)
    for image, matte in zip(images, mattes, strict=True):
        x, y = int(width * random.uniform(0.35, 0.65)), int(height * random.uniform(0.3, 0.45))
        radius = int(width * random.uniform(0.15, 0.25))
        cv2.circle(matte, (x, y), radius, 255, -1, cv2.LINE_AA)
        cv2.ellipse(matte, (x, height), (2 * radius, height // 3), 0, 0, 360, 255, -1, cv2.LINE_AA)
        person = np.float32(random.integers((170, 120, 100), (255, 200, 180)))
        alpha = matte[..., None] / np.float32(255)
        image[:] = image * (1 - alpha) + person * alpha
    return images, mattes


def write(folder: Path, count: int, size: tuple[int, int], seed: int = 0) -> Path:
    """Writes them as `0000.png`, `0000_matte.png`, ... into a new folder."""
    folder.mkdir(parents=True)
    for number, (image, matte) in enumerate(zip(*draw(count, size, seed), strict=True)):
        Image.fromarray(image).save(folder / f"{number:04}.png")
        Image.fromarray(matte).save(folder / f"{number:04}_matte.png")
    return folder


def standing(shape=(384, 256), left=100) -> np.ndarray:
    """Returns the mask of a person 340 pixels high, with the middle of the head at `left` + 28."""
    mask = np.zeros(shape, np.uint8)
    mask[20:60, left + 12 : left + 44] = 255
    mask[60:360, left : left + 56] = 255
    return mask
