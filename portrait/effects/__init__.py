"""What people do with a matte: cut-outs, portrait blur, new backgrounds, styles, photos and video.

    from effects import compose, matte
    alpha = matte(image)                                  # (H, W, 3) uint8 -> (H, W) float32
    picture = compose(image, alpha, (0, 120, 60))         # the person before green

Data flows one way: `networks` (a trained file) -> `placing` (where the person is) -> `temporal`
(video only) -> `matting` (full size) -> `foreground` (person and background apart) -> `catalogue`
(effects) -> `photos` or `video`.
"""

from portrait.effects.catalogue import Settings, render
from portrait.effects.matting import matte
from portrait.matting.compositing import compose

__all__ = ["Settings", "compose", "matte", "render"]
