"""Keeps a photograph's colours while its brightness is painted (Gatys et al., 1606.05897)."""

import numpy as np

# ITU-R 601: RGB to brightness Y and two colour differences.
_YCC = np.array(
    [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]], np.float32
)
_RGB = np.linalg.inv(_YCC.astype(np.float64)).astype(np.float32)
_LEAST_VARIANCE = 1.0  # of colours in 0..255; plain pictures have variance 0


def as_grey(picture: np.ndarray) -> np.ndarray:
    """The brightness of a picture (H, W, 3) in 0..255 in three channels: float32 (H, W, 3)."""
    return np.repeat((np.float32(picture) @ _YCC[0])[..., None], 3, axis=2)


def with_colours_of(painted: np.ndarray, photo: np.ndarray) -> np.ndarray:
    """The brightness of one picture with the colours of another.

    Args:
        painted: the picture with the brightness, (H, W, 3) RGB, 0..255.
        photo: the picture with the colours, of the same shape.

    Returns:
        float32 (H, W, 3), 0..255.
    """
    mixed = np.float32(photo) @ _YCC.T
    mixed[..., 0] = np.float32(painted) @ _YCC[0]
    return np.clip(mixed @ _RGB.T, 0, 255)


def match_brightness(grey: np.ndarray, target: np.ndarray) -> np.ndarray:
    """`grey` shifted and scaled to the mean and standard deviation of `target`.

    Args:
        grey, target: as returned by `as_grey`.

    Returns:
        float32 of the shape of `grey`, not clipped, for the correlations of a painting.
    """
    scale = target.std() / max(float(grey.std()), _LEAST_VARIANCE)
    return np.float32((grey - grey.mean()) * scale + target.mean())


def match_colours(picture: np.ndarray, target: np.ndarray) -> np.ndarray:
    """`picture` with the mean and the covariance of the colours of `target`.

    x -> A (x - mean) + mean of the target, A = S_target^(1/2) S_picture^(-1/2): among all A with
    this covariance, one that changes colours little.

    Args:
        picture, target: (H, W, 3) RGB, 0..255, of any two sizes.

    Returns:
        float32 of the shape of `picture`, clipped to 0..255.
    """
    pixels, wanted = (np.float64(each).reshape(-1, 3) for each in (picture, target))
    change = _power(_covariance(wanted), 0.5) @ _power(_covariance(pixels), -0.5)
    matched = (pixels - pixels.mean(0)) @ change.T + wanted.mean(0)
    return np.float32(np.clip(matched, 0, 255)).reshape(picture.shape)


def _covariance(pixels: np.ndarray) -> np.ndarray:
    return np.cov(pixels.T, bias=True) + _LEAST_VARIANCE * np.eye(3)


def _power(symmetric: np.ndarray, exponent: float) -> np.ndarray:
    values, vectors = np.linalg.eigh(symmetric)
    return (vectors * values**exponent) @ vectors.T
