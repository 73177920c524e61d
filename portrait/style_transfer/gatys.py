"""Gatys' style transfer: changes a picture's pixels until its VGG16 features fit.

`gatys_loss` has the formulas; `paint_by_gatys` paints files.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import scipy.optimize
from tqdm import tqdm

from portrait.io.images import TooSmallError, read_image, shrink, write_png
from portrait.io.photos import work_through
from portrait.models import vgg16
from portrait.style_transfer.colour import as_grey, match_brightness, match_colours, with_colours_of
from portrait.style_transfer.full_size import blend
from portrait.style_transfer.gatys_loss import GatysLoss, normalize_weights
from portrait.style_transfer.mixes import style_label, style_names
from portrait.style_transfer.perceptual import read_paintings

_LEAST_SIZE = 16  # pixels: VGG16 halves a picture four times before its last block
_HISTORY = 20  # pairs of steps and gradients that L-BFGS remembers

Watcher = Callable[[int, dict[str, float], np.ndarray], None]
"""Called after each iteration with its number, the terms of the loss, and the picture so far."""


@dataclass(frozen=True)
class Settings:
    """The settings of the optimisation.

    Attributes:
        content_weight: alpha of formula (5).
        style_weight: beta for each pixel of the picture: (1) is a sum over the picture and (4) a
            mean, so a constant beta would paint large pictures less.
        iterations: the largest number of steps.
        optimizer: "lbfgs" (with 0..255 as bounds) or "adam".
        lr: Adam's learning rate, in levels of 0..255.
        start: "content" begins with the photograph, "noise" with white noise.
        colours: "painting"; or the photograph's, by painting the brightness only ("luminance") or
            by giving the painting its colours first ("histogram").
        seed: of the noise.
    """

    content_weight: float = 1.0
    style_weight: float = 100.0
    iterations: int = 200
    optimizer: str = "lbfgs"
    lr: float = 5.0
    start: str = "content"
    colours: str = "painting"
    seed: int = 0


def paint_by_gatys(
    content: Sequence[str | Path],
    style_image: str | Path,
    output: str | Path = "output",
    *,
    size: int = 512,
    strength: float = 1.0,
    save_every: int = 0,
    style_size: int = 512,
    vgg_weights: str = "",
    content_weight: float = Settings.content_weight,
    style_weight: float = Settings.style_weight,
    iterations: int = Settings.iterations,
    optimizer: str = Settings.optimizer,
    start: str = Settings.start,
    colours: str = Settings.colours,
    seed: int = Settings.seed,
) -> list[Path]:
    """Paints photographs like one painting, without a trained network: `NAME_STYLE_gatys.png`.

    Args:
        content: photographs and folders of photographs.
        style_image: the file of the painting.
        output: the folder to write into.
        size: longer side of the painted pictures in pixels, unless the photograph is smaller; 0:
            the photograph's own.
        strength: the opacity of the painted picture over the photograph, 0 to 1.
        save_every: also write the picture every N steps, as `NAME_STYLE_gatys/STEP.png`; 0: do not.
        style_size: longer side of the painting in pixels; a larger painting gives larger strokes.
        vgg_weights: file of VGG16's weights, see `vgg16.conv_weights`.
        content_weight: see `Settings`, as for the arguments that follow.

    Returns:
        The files written.

    Raises:
        UserError: the painting, the weights or all photographs cannot be read; nothing can be
            written.
        KeyboardInterrupt: Ctrl-C; the current picture is written in its unfinished state.
    """
    settings = Settings(
        content_weight=content_weight,
        style_weight=style_weight,
        iterations=iterations,
        optimizer=optimizer,
        start=start,
        colours=colours,
        seed=seed,
    )
    (name,) = style_names([style_image])
    (painting,) = read_paintings([style_image], style_size)
    weights = vgg16.conv_weights(vgg_weights)

    def work(source: Path, target: Path) -> None:
        photo, latest = shrink(read_image(source), size), None

        def watch(iteration: int, terms: dict[str, float], picture: np.ndarray) -> None:
            nonlocal latest
            latest = blend(photo, picture, strength)
            if save_every and iteration % save_every == 0:
                write_png(target.with_suffix("") / f"{iteration:04}.png", latest)

        try:
            painted = paint(photo, painting, weights, settings, watch)
        except KeyboardInterrupt:
            if latest is None:
                raise
            write_png(target, latest)
            raise KeyboardInterrupt(f"{target} is unfinished") from None
        write_png(target, blend(photo, painted, strength))

    return work_through(work, content, output, [f"{style_label(name)}_gatys"], "paint")


def paint(
    photo: np.ndarray,
    painting: np.ndarray,
    weights: Mapping[str, np.ndarray],
    settings: Settings,
    watcher: Watcher = lambda iteration, terms, picture: None,
) -> np.ndarray:
    """Paints a photograph, with a progress bar.

    Args:
        photo: uint8 RGB (H, W, 3), of the size of the result.
        painting: uint8 RGB (h, w, 3); its size determines the size of the strokes.
        weights: of VGG16, as `vgg16.conv_weights` gives them; they are normalised over the two.
        settings: see `Settings`.
        watcher: called after every iteration.

    Returns:
        uint8 RGB (H, W, 3).

    Raises:
        TooSmallError: a side of the photograph has less than 16 pixels.
    """
    if min(photo.shape[:2]) < _LEAST_SIZE:
        raise TooSmallError(photo.shape, _LEAST_SIZE)
    target, style = np.float32(photo), np.float32(painting)
    if settings.colours == "luminance":
        target = as_grey(photo)
        style = match_brightness(as_grey(painting), target)
    elif settings.colours == "histogram":
        style = match_colours(painting, photo)
    weights = normalize_weights(weights, (target, style))
    beta = settings.style_weight * photo.shape[0] * photo.shape[1]
    loss = GatysLoss(target, style, weights, settings.content_weight, beta)

    def finish(image: np.ndarray) -> np.ndarray:
        if settings.colours == "luminance":
            image = with_colours_of(image, photo)
        return np.rint(np.clip(image, 0, 255)).astype(np.uint8)

    with tqdm(total=settings.iterations, desc="painting", unit=" steps", disable=None) as bar:

        def after_step(iteration: int, terms: dict[str, float], image: np.ndarray) -> None:
            bar.update()
            bar.set_postfix({name: f"{term:.3g}" for name, term in terms.items()}, refresh=False)
            watcher(iteration, terms, finish(image))

        start = target
        if settings.start == "noise":
            start = np.random.default_rng(settings.seed).uniform(0, 255, target.shape)
        minimize = _minimize_adam if settings.optimizer == "adam" else _minimize_lbfgs
        return finish(minimize(loss, start, settings, after_step))


def _minimize_lbfgs(
    loss: GatysLoss, start: np.ndarray, settings: Settings, after_step: Watcher
) -> np.ndarray:
    latest: dict[str, float] = {}
    done = 0

    def evaluate(flat: np.ndarray) -> tuple[float, np.ndarray]:
        total, terms, gradient = loss(flat.reshape(start.shape))
        latest.update(terms)
        return total, gradient.ravel().astype(np.float64)

    def callback(flat: np.ndarray) -> None:
        nonlocal done
        done += 1
        after_step(done, latest, flat.reshape(start.shape))

    result = scipy.optimize.minimize(
        evaluate,
        start.ravel().astype(np.float64),
        method="L-BFGS-B",
        jac=True,
        bounds=scipy.optimize.Bounds(0, 255),
        callback=callback,
        options={
            "maxiter": settings.iterations,
            "maxfun": 2 * settings.iterations + 20,
            "maxcor": _HISTORY,
            "ftol": 0,
            "gtol": 0,
        },
    )
    return result.x.reshape(start.shape)


def _minimize_adam(
    loss: GatysLoss, start: np.ndarray, settings: Settings, after_step: Watcher
) -> np.ndarray:
    """Adam with a learning rate that falls to zero along a cosine."""
    rate = keras.optimizers.schedules.CosineDecay(settings.lr, settings.iterations)
    optimizer = keras.optimizers.Adam(rate)
    image = keras.Variable(start, dtype="float32")
    for step in range(1, settings.iterations + 1):
        _, terms, gradient = loss(image.numpy())
        optimizer.apply([gradient], [image])
        image.assign(keras.ops.clip(image, 0, 255))
        after_step(step, terms, image.numpy())
    return image.numpy()
