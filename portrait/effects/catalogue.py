"""The effects by name and their order. Each changes one of the layers of a picture."""

import dataclasses
from collections.abc import Callable, Sequence

import cv2
import numpy as np

from portrait.effects.blur import APERTURES, lens_blur, radius_for
from portrait.effects.depth import DEPTHS, defocus
from portrait.effects.layers import Layers, Settings
from portrait.effects.light import match_light
from portrait.effects.styles import Style, shipped_names
from portrait.errors import UserError
from portrait.matting.compositing import fill

_FARTHEST = 100  # pixels of choke and feather
GREEN = (0, 177, 64)
"""The colour of `green_screen`: chroma key green, sRGB."""


def _blur(layers: Layers) -> None:
    settings = layers.settings
    radius = radius_for(settings.strength, layers.image.shape)
    if settings.depth == "ramp":
        radius = radius * defocus(layers.found)
    person = np.maximum(layers.found, layers.alpha)
    layers.background = lens_blur(layers.background, person, radius, settings.aperture)


def _replace(layers: Layers) -> None:
    picture = fill(layers.settings.background(layers.time), layers.alpha.shape)
    new, share = layers.taken_in(picture), layers.settings.match
    if share:
        old = layers.original_background
        layers.foreground = match_light(layers.foreground, old, new, layers.found, share)
    layers.background = new


def _green_screen(layers: Layers) -> None:
    layers.background = layers.taken_in(fill(GREEN, layers.alpha.shape))


def _grayscale_background(layers: Layers) -> None:
    grey = cv2.cvtColor(layers.given_out(layers.background), cv2.COLOR_RGB2GRAY)
    layers.background = layers.taken_in(cv2.merge([grey] * 3))


def _stylize_background(layers: Layers) -> None:
    paint = layers.settings.painting("stylize_background")
    painted = paint(layers.given_out(layers.background))
    layers.background = layers.taken_in(painted)


def _stylize_person(layers: Layers) -> None:
    # The whole picture is painted and the person is cut out afterwards, because a network paints
    # artefacts along the edge of a cut-out.
    paint = layers.settings.painting("stylize_person")
    layers.lay_over(layers.taken_in(paint(layers.merged())))


def _alpha(layers: Layers) -> np.ndarray:
    return np.rint(layers.alpha * 255).astype(np.uint8)


def _cutout(layers: Layers) -> np.ndarray:
    return np.dstack([layers.given_out(layers.foreground), _alpha(layers)])


def _foreground(layers: Layers) -> np.ndarray:
    # Black where there is nobody, because F is arbitrary there.
    return layers.given_out(layers.foreground) * (layers.alpha > 0)[..., None]


CHANGES: dict[str, Callable[[Layers], None]] = {
    "blur": _blur,
    "replace": _replace,
    "green_screen": _green_screen,
    "stylize_person": _stylize_person,
    "stylize_background": _stylize_background,
    "grayscale_background": _grayscale_background,
}
"""Effects that change a layer; several can be combined."""

_NEW_BACKGROUND = ("replace", "green_screen")
_BEHIND = (*_NEW_BACKGROUND, "blur", "stylize_background", "grayscale_background")

RESULTS: dict[str, Callable[[Layers], np.ndarray]] = {
    "alpha": _alpha,
    "cutout": _cutout,
    "foreground": _foreground,
}
"""Outputs other than a picture; at most one, after all effects on layers."""

SIDE_BY_SIDE = "side_by_side"
"""Shows the picture and the result beside each other; the last effect."""

NAMES = (*RESULTS, *CHANGES, SIDE_BY_SIDE)


def check(names: Sequence[str], settings: Settings) -> None:
    """Checks effects, their order and their settings.

    Raises:
        UserError: an unknown effect, a wrong order, or a missing setting.
    """
    if not names:
        raise UserError(f"--effect: give one or more of {', '.join(NAMES)}")
    if unknown := [name for name in names if name not in NAMES]:
        raise UserError(f"--effect={unknown[0]}: the effects are {', '.join(NAMES)}")
    rest = [name for name in names if name not in CHANGES]
    if list(names) != [name for name in names if name in CHANGES] + rest or len(rest) > 2:
        raise UserError(f"--effect={','.join(names)}: {rest[0]} comes after all changes")
    if len(rest) == 2 and (rest[0] not in RESULTS or rest[1] != SIDE_BY_SIDE):
        raise UserError(f"--effect={','.join(names)}: {rest[0]} and {rest[1]} exclude each other")
    _check_visible(names, settings)
    if "replace" in names and settings.background is None:
        raise UserError("--effect=replace needs --background=COLOUR, a picture or a video")
    if settings.style is None and any(name.startswith("stylize") for name in names):
        raise UserError(
            f"--effect=stylize_... needs --style: {', '.join(shipped_names())}, or a trained style"
        )
    for name in ("strength", "match", "despill"):
        if not 0 <= getattr(settings, name) <= 1:
            raise UserError(f"--{name}={getattr(settings, name):g}: must be 0 to 1")
    for name, known in (("aperture", APERTURES), ("depth", DEPTHS)):
        if getattr(settings, name) not in known:
            raise UserError(f"--{name}={getattr(settings, name)}: give one of {', '.join(known)}")
    if not abs(settings.choke) <= _FARTHEST or not 0 <= settings.feather <= _FARTHEST:
        raise UserError(f"--choke and --feather are at most {_FARTHEST} pixels")


def _check_visible(names: Sequence[str], settings: Settings) -> None:
    """Refuses changes that the result does not show."""
    for place, name in enumerate(names):
        later = [each for each in names[place + 1 :] if each in _NEW_BACKGROUND]
        if name in _BEHIND and later:
            raise UserError(
                f"--effect={','.join(names)}: {later[0]} covers what {name} changes: put {name} "
                "after it, or leave it out"
            )
        if result := _hidden_by(names, place, settings):
            raise UserError(
                f"--effect={','.join(names)}: {result} does not show what {name} changes: leave "
                f"out {name} or {result}"
            )


def _hidden_by(names: Sequence[str], place: int, settings: Settings) -> str:
    """The result that does not show the change at `place`, or "" if it is seen."""
    name, later = names[place], names[place + 1 :]
    result = next((each for each in later if each in RESULTS), "")
    # The whole picture is painted, so its background also changes the person.
    of_person = name not in _BEHIND or "stylize_person" in later
    of_person = of_person or (name == "replace" and settings.match > 0)
    return result if name in CHANGES and (result == "alpha" or not of_person) else ""


def without_hidden(names: Sequence[str], settings: Settings) -> list[str]:
    """The effects without the changes that `alpha`, `cutout` or `foreground` does not show."""
    places = range(len(names))
    return [names[place] for place in places if not _hidden_by(names, place, settings)]


def render(
    image: np.ndarray,
    alpha: np.ndarray,
    effects: Sequence[str],
    settings: Settings | None = None,
    time: float = 0.0,
) -> np.ndarray:
    """Applies effects to a picture, one after the other.

    Args:
        image: uint8 RGB (H, W, 3).
        alpha: float32 (H, W), 0..1, from `matte`.
        effects: from `NAMES`: changes first, then one of `RESULTS`, then `side_by_side`.
        settings: the settings of the effects; None: the defaults.
        time: of the picture in its video, in seconds.

    Returns:
        uint8: RGB (H, W, 3); (H, W) for `alpha`, RGBA (H, W, 4) for `cutout`. `side_by_side`
            doubles the width, and its `alpha` has three channels.

    Raises:
        UserError: as `check`.
    """
    settings = settings or Settings()
    check(effects, settings)
    layers = Layers(image, alpha, settings, time)
    for name in effects:
        if name in CHANGES:
            CHANGES[name](layers)
    result = next((RESULTS[name](layers) for name in effects if name in RESULTS), None)
    if result is None:
        result = layers.merged()
    return _beside(image, result) if effects[-1] == SIDE_BY_SIDE else result


@dataclasses.dataclass(frozen=True)
class Effects:
    """Checked effects with their settings; see `render`.

    Called with a picture, its alpha and its time in the video, it returns the result.

    Raises:
        UserError: as `check`.
    """

    names: Sequence[str]
    settings: Settings = dataclasses.field(default_factory=Settings)

    def __post_init__(self):
        check(self.names, self.settings)

    def for_video(self) -> "Effects":
        """The effects for the frames of one video, in order: a style paints them steadily."""
        style = self.settings.style
        if not isinstance(style, Style):
            return self
        # One for each effect, because it remembers what it has painted last.
        paint = {name: style.video() for name in self.names if name.startswith("stylize")}
        settings = dataclasses.replace(self.settings, style=paint)
        return dataclasses.replace(self, settings=settings)

    def __call__(self, image: np.ndarray, alpha: np.ndarray, time: float = 0.0) -> np.ndarray:
        return render(image, alpha, self.names, self.settings, time)


def _beside(image: np.ndarray, result: np.ndarray) -> np.ndarray:
    if result.ndim == 2:
        result = cv2.merge([result] * 3)
    elif result.shape[2] == 4:
        image = np.dstack([image, np.full(image.shape[:2], 255, np.uint8)])
    return np.hstack([image, result])
