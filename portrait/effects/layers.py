"""The settings of effects, and the two layers of a picture, which effects change.

A picture is separated into the person F and the background B. Effects change one of them, and then
the layers are merged, so several effects in a row never blur or paint across the outline.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from portrait.effects.light import despill
from portrait.matting import compositing
from portrait.matting.compositing import Estimator, blend
from portrait.matting.foreground import multilevel
from portrait.matting.outline import choke, feather

Painting = Callable[[np.ndarray], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Settings:
    """The settings of the effects.

    Attributes:
        strength: of `blur`, 0..1.
        aperture: of `blur`, a key of `blur.APERTURES`.
        depth: of the background for `blur`, one of `depth.DEPTHS`.
        background: for `replace`: from a time in seconds to uint8 RGB (h, w, 3) or a colour.
        style: for `stylize_...`: a `styles.Style`, or any function from uint8 RGB (H, W, 3) to the
            painted picture of that shape; or one such function for the name of each effect.
        match: how much `replace` adapts the light of the person to the new background, 0..1; see
            `light.match_light`.
        despill: how much light of a coloured wall is removed from the person, 0..1; see
            `light.despill`.
        choke: by how many pixels the outline is moved inwards.
        feather: by how many pixels the outline is softened.
        linear: mix in linear light.
        estimate: estimates F and B.
    """

    strength: float = 0.5
    aperture: str = "round"
    depth: str = "ramp"
    background: Callable[[float], np.ndarray | Sequence[int]] | None = None
    style: Painting | Mapping[str, Painting] | None = None
    match: float = 0.0
    despill: float = 0.0
    choke: float = 0.0
    feather: float = 0.0
    linear: bool = False
    estimate: Estimator = multilevel

    def outlined(self, alpha: np.ndarray) -> np.ndarray:
        """An alpha after `choke` and `feather`."""
        return feather(choke(alpha, self.choke), self.feather)

    def painting(self, effect: str) -> Painting:
        """The function that paints for the effect of this name."""
        return self.style[effect] if isinstance(self.style, Mapping) else self.style


class Layers:
    """The layers of a picture. F and B are estimated when they are first needed.

    `found` is the given alpha, by which F and B are estimated, and `alpha` the one by which they
    are merged.

    Args:
        image: uint8 RGB (H, W, 3).
        alpha: float32 (H, W), 0..1.
        settings: of the effects.
        time: of the picture in its video, in seconds.
    """

    def __init__(self, image: np.ndarray, alpha: np.ndarray, settings: Settings, time: float = 0.0):
        self.image = image
        self.found = alpha
        self.alpha = settings.outlined(alpha)
        self.settings = settings
        self.time = time
        self._foreground: np.ndarray | None = None
        self._background: np.ndarray | None = None
        self._over: np.ndarray | None = None

    @property
    def foreground(self) -> np.ndarray:
        """F: uint8, or float32 0..1 in linear light."""
        if self._foreground is None and self._over is not None:
            self._foreground = self.settings.estimate(self._over, self.alpha)[0]
        return self._estimated[0] if self._foreground is None else self._foreground

    @foreground.setter
    def foreground(self, picture: np.ndarray) -> None:
        self._foreground = picture

    def lay_over(self, picture: np.ndarray) -> None:
        """Cuts the person out of another version of the whole picture, with the type of F.

        It is laid over the picture as it is, unless the background changes, too: only then its F
        must be estimated.
        """
        self._over, self._foreground = picture, None

    @property
    def background(self) -> np.ndarray:
        """B, with the type of F."""
        return self._estimated[1] if self._background is None else self._background

    @background.setter
    def background(self, picture: np.ndarray) -> None:
        self._background = picture

    @property
    def original_background(self) -> np.ndarray:
        """B before all effects."""
        return self._estimated[1]

    @functools.cached_property
    def _estimated(self) -> tuple[np.ndarray, np.ndarray]:
        foreground, background = self.settings.estimate(self.taken_in(self.image), self.found)
        return despill(foreground, background, self.found, self.settings.despill), background

    def taken_in(self, picture: np.ndarray) -> np.ndarray:
        """Converts a uint8 picture to the type of the layers."""
        return compositing.to_linear(picture) if self.settings.linear else picture

    def given_out(self, layer: np.ndarray) -> np.ndarray:
        """Converts a layer to uint8 sRGB."""
        return compositing.to_srgb(layer) if self.settings.linear else layer

    def merged(self) -> np.ndarray:
        """The merged picture, uint8 RGB (H, W, 3)."""
        if self._foreground is None and self._background is None:
            if self._over is not None:
                below = self.taken_in(self.image)
                return self.given_out(blend(self._over, below, self.alpha))
            if not self.settings.despill:
                return self.image
        return self.given_out(blend(self.foreground, self.background, self.alpha))
