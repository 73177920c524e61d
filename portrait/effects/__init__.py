"""Effects on photos and videos with a matte: cut-outs, portrait blur, backgrounds, styles.

    from portrait.effects import compose, matte
    alpha = matte(image)                                  # (H, W, 3) uint8 -> (H, W) float32
    picture = compose(image, alpha, (0, 120, 60))         # the person in front of green

Data flows through `windows` (where the people are), `smoothing` (video only), `matting` (full
size), `catalogue` (effects), and `photos` or `video`.
"""

from portrait.effects.catalogue import Settings, render
from portrait.effects.matting import matte
from portrait.matting.compositing import compose

__all__ = ["Settings", "compose", "matte", "render"]
