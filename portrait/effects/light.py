"""Adapts the person to a new background: light, colour, and spill of the old background."""

import numpy as np

from portrait.matting import compositing

_BRIGHTEST = 2.0  # exposure changes by at most this factor
_COLOUR = 1.5  # and each channel in addition by at most this one
_NORM = 6  # of shades of grey
_SPILL = 0.15  # saturation from which a background spills


def match_light(
    foreground: np.ndarray,
    old: np.ndarray,
    new: np.ndarray,
    alpha: np.ndarray,
    share: float,
) -> np.ndarray:
    """Gives the person the light and the colour of a new background.

    Exposure: the ratio of the mean brightness (of logarithms) of the two backgrounds. Colour: the
    ratio of their illuminants by shades of grey (Finlayson and Trezzi, "Shades of Gray and Colour
    Constancy", CIC 2004). Both scale the channels in linear light, as von Kries proposed, within
    limits: a dark wall behind somebody in bright light is common.

    Args:
        foreground: the person's colours, (H, W, 3), uint8 sRGB, or float32 0..1 in linear light.
        old: the background that the person was in front of, of the same type.
        new: the new background, of the same type.
        alpha: float32 (H, W), 0..1; the old background counts where it is 0.
        share: how much of the change is applied, 0..1.

    Returns:
        The shape and type of `foreground`.
    """
    empty = alpha < 0.02
    if share == 0 or not empty.any():
        return foreground
    before, after = (_measured(each) for each in (_linear(old)[empty], _linear(new).reshape(-1, 3)))
    exposure = np.clip(after[0] / before[0], 1 / _BRIGHTEST, _BRIGHTEST)
    colour = after[1] / before[1]
    colour = np.clip(colour / colour.mean(), 1 / _COLOUR, _COLOUR)
    gains = np.float32((exposure * colour) ** share)
    matched = (_linear(foreground) * gains).clip(0, 1)
    return compositing.to_srgb(matched) if foreground.dtype == np.uint8 else matched


def despill(
    foreground: np.ndarray, background: np.ndarray, alpha: np.ndarray, share: float
) -> np.ndarray:
    """Removes light of a coloured wall, such as a green screen, from the person.

    The channel of the wall's colour is limited to the mean of the two others. A wall without a
    clear colour changes nothing.

    Args:
        foreground: the person's colours, (H, W, 3), uint8 or float32.
        background: the old background, of the same shape and type.
        alpha: float32 (H, W), 0..1; the background counts where it is 0.
        share: how much of the excess is removed, 0..1.

    Returns:
        The shape and type of `foreground`.
    """
    empty = alpha < 0.02
    if share == 0 or not empty.any():
        return foreground
    wall = background[empty].mean(axis=0, dtype=np.float64)
    first, second = np.sort(wall)[[2, 1]]
    if first - second < _SPILL * first:
        return foreground
    channel = int(wall.argmax())
    others = [each for each in range(3) if each != channel]
    values = foreground[..., channel].astype(np.float32)
    limit = foreground[..., others].mean(axis=2, dtype=np.float32)
    values -= np.float32(share) * np.maximum(values - limit, 0)
    cleaned = foreground.copy()
    cleaned[..., channel] = np.rint(values) if foreground.dtype == np.uint8 else values
    return cleaned


def _linear(picture: np.ndarray) -> np.ndarray:
    return compositing.to_linear(picture) if picture.dtype == np.uint8 else picture


def _measured(pixels: np.ndarray) -> tuple[float, np.ndarray]:
    """The brightness of linear pixels (N, 3), and the colour (3,) of their light."""
    luma = pixels.mean(axis=1)
    brightness = np.exp(np.log(luma + 1e-2).mean(dtype=np.float64))
    light = (pixels.astype(np.float64) ** _NORM).mean(axis=0) ** (1 / _NORM)
    return float(brightness), light / max(light.mean(), 1e-6) + 1e-3
