"""Converts colours of other spaces (Display P3, Adobe RGB, printers') to sRGB by ICC profiles."""

import functools
import io

import numpy as np
from PIL import Image, ImageCms

_SAME = 2  # levels of 255 by which sRGB profiles may differ, because their curves are rounded


def in_srgb(picture: Image.Image) -> Image.Image:
    """Converts a picture to sRGB if it has an ICC profile of another colour space."""
    profile = picture.info.get("icc_profile")
    if not profile:
        return picture
    mode = "RGBA" if picture.has_transparency_data else "RGB"
    if picture.mode == "P":
        picture = picture.convert(mode)
    transform = _to_srgb(profile, picture.mode, mode)
    return picture if transform is None else ImageCms.applyTransform(picture, transform)


@functools.lru_cache(16)
def _to_srgb(profile: bytes, mode: str, target: str) -> ImageCms.ImageCmsTransform | None:
    """The conversion to sRGB; None if the profile is sRGB, damaged, or of another colour mode.

    The profile's effect on a chart of colours is compared with sRGB, because names are unreliable:
    profiles of linear light may be called sRGB, too.
    """
    try:
        transform = ImageCms.buildTransform(
            ImageCms.ImageCmsProfile(io.BytesIO(profile)),
            ImageCms.createProfile("sRGB"),
            mode,
            target,
        )
        if mode == "CMYK":
            return transform
        chart = _chart().convert(mode)
        before, after = (
            np.asarray(each.convert("RGB"), np.int16)
            for each in (chart, ImageCms.applyTransform(chart, transform))
        )
    except (OSError, ValueError, TypeError, ImageCms.PyCMSError):
        return None
    return transform if np.abs(after - before).max() > _SAME else None


def _chart() -> Image.Image:
    """A chart with nine levels of each of R, G and B, and all greys."""
    levels = np.linspace(0, 255, 9).round()
    colours = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(-1, 3)
    greys = np.arange(256)[:, None].repeat(3, axis=1)
    return Image.fromarray(np.concatenate([colours, greys])[None].astype(np.uint8))
