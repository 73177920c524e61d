"""Draws pictures of the documentation with the current code, into docs/images.

python benchmarks/pictures.py

example.jpg: a photograph, its alpha and three effects, all made by the functions behind `apply.py`.
refinements.jpg: details of two photographs after each refinement, on green, black and white.
failures.jpg: difficult versions of the photograph behind the sample, and where networks fail.
smoothing.gif: a still photograph in dim light with the noise of a camera, and its alphas, each
frame alone and smoothed.
speed_quality.png: the table of docs/networks.md as a plot.
style_transfer.jpg: photographs in the shipped styles.

The photographs come with scikit-image: NASA's portrait of Eileen Collins (public domain), a rocket
launch by SpaceX, a cat, a cup of coffee and a cameraman (CC0).
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from absl import flags
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont
from skimage import data
from tqdm import tqdm

from benchmarks import speed_quality
from metrics import person_iou
from portrait import cli
from portrait.data.sample.sample import sample_portrait
from portrait.effects import Settings, matte, render
from portrait.effects.catalogue import GREEN
from portrait.effects.matting import REFINEMENTS
from portrait.effects.styles import load_shipped, shipped_names
from portrait.effects.video_matting import VideoMatter
from portrait.evaluation.cases import error_overlay
from portrait.inference import network as networks
from portrait.io.images import resize, write_png
from portrait.io.sheets import INK, PAPER, as_rgb, grid
from portrait.matting.compositing import blend
from portrait.matting.foreground import multilevel

FLAGS = flags.FLAGS
NETWORKS = Path(__file__).resolve().parent.parent / "docs" / "networks.md"
_CROP = slice(0, 330), slice(66, 396)  # head and shoulders, above the helmet that she holds
_CHECK = 16  # pixels of a square that stands for transparency
_PAINTED = 288, 288  # height and width of a painted photograph
# Photograph, upper left corner (row, column) of the detail, and the colour behind the person.
_DETAILS = (
    ("astronaut", (30, 215), GREEN),
    ("astronaut", (30, 215), (0, 0, 0)),
    ("astronaut", (300, 10), (255, 255, 255)),
    ("camera", (65, 165), (255, 255, 255)),
)
_DETAIL = 95  # side of a detail in pixels
# The networks of failures.jpg, and their titles there.
_FAILING = {
    "selfie_net_big_256x256": "selfie_net",
    "selfie_net_deep_256x256": "selfie_net, deep",
    "lite_unet_288x256": "lite_unet",
    "ensemble": "ensemble",
}
_FAILURE = 170, 200  # of a cell, (height, width)
_FRAMES = 40  # of the animation
_SIDE = 360  # of a frame of the clip, in pixels
_LIGHT, _NOISE = 0.35, 10  # brightness of the clip, standard deviation of its noise in levels
_CELL = (240, 240)  # of the animation, (height, width)
_FRAME = 100  # milliseconds, 0.3 of the speed of a video, so that flicker can be seen
_TITLES = ("a frame, brightened", "each frame alone", "smoothed")
_SCORES = r"(0\.\d+) / (0\.\d+)"
_GREYS = 16  # levels of the animation


def example() -> np.ndarray:
    """The photograph, its alpha, the cut-out, portrait blur and another background, side by side.

    Returns:
        uint8 RGB (330, 5 * 330, 3).
    """
    photo = np.ascontiguousarray(data.astronaut()[_CROP])
    alpha = matte(photo)
    settings = Settings(background=lambda time: data.rocket())
    cutout = render(photo, alpha, ["cutout"], settings)
    return np.concatenate(
        [
            photo,
            as_rgb(alpha),
            on_squares(cutout),
            render(photo, alpha, ["blur"], settings),
            render(photo, alpha, ["replace"], settings),
        ],
        axis=1,
    )


def refinements() -> np.ndarray:
    """The details of `_DETAILS`, enlarged twice: the photograph, and the person after each method.

    Returns:
        uint8 RGB (h, w, 3).
    """
    rows, cutouts = [], {}
    for name, (top, left), ground in _DETAILS:
        photo = as_rgb(getattr(data, name)())
        if name not in cutouts:
            alphas = [matte(photo, refine=method) for method in REFINEMENTS]
            cutouts[name] = [(multilevel(photo, alpha)[0], alpha) for alpha in alphas]
        wall = np.full_like(photo, ground)
        pictures = [photo, *(blend(colours, wall, alpha) for colours, alpha in cutouts[name])]
        box = np.s_[top : top + _DETAIL, left : left + _DETAIL]
        rows.append([resize(np.ascontiguousarray(each[box]), (190, 190)) for each in pictures])
    return grid(rows, ["photograph", *REFINEMENTS])


def difficult() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The photograph behind the sample and its matte as they are, and three difficult versions."""
    photo, truth = sample_portrait()
    below = len(photo) // 2
    return {
        "as it is": (photo, truth),
        "below her head": (photo[below:], truth[below:]),
        "lying": (np.rot90(photo), np.rot90(truth)),
        "at 6 % of its brightness": (np.rint(0.06 * photo).astype(np.uint8), truth),
    }


def failures() -> np.ndarray:
    """Where networks fail on the pictures of `difficult`. Prints their person IoU; uint8 RGB."""
    rows, nets = [], {name: networks.load(name) for name in _FAILING}
    for name, (photo, truth) in difficult().items():
        photo = np.ascontiguousarray(photo)
        cells, scores = [photo], []
        for each, network in nets.items():
            alpha = matte(photo, network)
            scores.append(f"{each} {person_iou(alpha, truth):.2f}")
            cells.append(error_overlay(photo, truth, alpha))
        print(f"{name}: {', '.join(scores)}")
        rows.append([_fitted(cell, _FAILURE) for cell in cells])
    return grid(rows, ["photograph", *_FAILING.values()])


def _fitted(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Scales a picture to fit into a cell of (height, width), on the sheet's grey."""
    scale = min(np.divide(size, picture.shape[:2]))
    picture = resize(picture, tuple(int(side * scale) for side in picture.shape[:2]))
    top, left = ((whole - side) // 2 for whole, side in zip(size, picture.shape[:2], strict=True))
    cell = np.full((*size, 3), PAPER, np.uint8)
    cell[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
    return cell


def on_squares(cutout: np.ndarray) -> np.ndarray:
    """Composites a cut-out, uint8 RGBA (H, W, 4), on grey and white squares; uint8 (H, W, 3)."""
    rows, columns = np.indices(cutout.shape[:2]) // _CHECK
    squares = np.where((rows + columns) % 2, 255, 204)[..., None]
    opacity = cutout[..., 3:] / np.float32(255)
    return np.rint(cutout[..., :3] * opacity + squares * (1 - opacity)).astype(np.uint8)


def dim_clip() -> Iterator[np.ndarray]:
    """Yields frames, uint8 RGB, of a photograph in dim light with other noise in each frame."""
    random = np.random.default_rng(0)
    photo = _LIGHT * resize(data.astronaut(), (_SIDE, _SIDE)).astype(np.float32)
    for _ in range(_FRAMES):
        noise = random.normal(0, _NOISE, (_SIDE // 2, _SIDE // 2, 3)).astype(np.float32)
        yield np.rint(photo + resize(noise, (_SIDE, _SIDE))).clip(0, 255).astype(np.uint8)


def smoothing(network: networks.Network) -> list[Image.Image]:
    """The frames of the animation: a frame, and alphas without and with smoothing."""
    seen = next(dim_clip()).mean(axis=-1)  # only one: the noise of all would not compress
    alphas = [VideoMatter(network, smooth).alphas(dim_clip()) for smooth in (False, True)]
    pairs = tqdm(zip(*alphas, strict=True), total=_FRAMES, desc="smoothing.gif", unit=" frames")
    return [_cells([resize(each, _CELL) for each in (seen / seen.max(), *pair)]) for pair in pairs]


def _cells(pictures: list[np.ndarray]) -> Image.Image:
    height, width = _CELL
    step = width + 4
    sheet = Image.new("RGB", (len(pictures) * step - 4, height + 24), PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    for index, (picture, title) in enumerate(zip(pictures, _TITLES, strict=True)):
        levels = np.rint(picture * (_GREYS - 1)) / (_GREYS - 1)
        draw.text((index * step + 4, 4), title, INK, font)
        sheet.paste(Image.fromarray(as_rgb(levels)), (index * step, 24))
    return sheet.quantize(2 * _GREYS)


def networks_plot(page: str) -> Figure:
    """Plots person and boundary IoU on each set against time.

    Args:
        page: the text of docs/networks.md. Its first table has the columns network, parameters,
            time relative to MediaPipe's on one or two processors (the first one that was measured
            is shown), and "person IoU / boundary IoU" for each set.
    """
    lines = [line for line in page.splitlines() if line.startswith("|")]
    head, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    rows = [row for row in rows if re.fullmatch(_SCORES, row[-1])]
    models, parameters = [], 0
    for name, count, time, *sets in rows:
        name = re.sub(r"\]\(.*?\)|[\[`]", "", name)  # without Markdown
        parameters = int(count.replace(",", "") or parameters)  # empty: as in the row above
        scores = [map(float, re.fullmatch(_SCORES, each).groups()) for each in sets]
        ious = dict(zip(speed_quality.SHOWN, map(list, zip(*scores, strict=True)), strict=True))
        seen = [False] * len(sets)
        measured = float(re.search(r"[\d.]+", time)[0])
        models.append(speed_quality.Model(name, measured, parameters / 1e4, ious, seen))
    return speed_quality.draw(models, head[3:], "time relative to MediaPipe, one CPU thread")


def styles() -> np.ndarray:
    """Photographs, one in each row, and beside them the same in each style; uint8 RGB."""
    names = shipped_names()
    photos = [data.astronaut()[_CROP], data.chelsea()[:, 40:340], data.coffee()[:, 100:500]]
    photos = [resize(np.ascontiguousarray(photo), _PAINTED) for photo in photos]
    paint = [load_shipped(name) for name in names]
    titles = [name.replace("_", " ") for name in names]
    rows = [[photo, *(style(photo) for style in paint)] for photo in photos]
    return grid(rows, ["photograph", *titles])


def main() -> None:
    folder = Path(FLAGS.output)
    target = folder / "speed_quality.png"
    write_png(target, speed_quality.rendered(networks_plot(NETWORKS.read_text())))
    print(target)
    drawings = {
        "example.jpg": (example, 90),
        "style_transfer.jpg": (styles, 80),
        "refinements.jpg": (refinements, 90),
        "failures.jpg": (failures, 90),
    }
    for name, (draw, quality) in drawings.items():
        Image.fromarray(draw()).save(folder / name, quality=quality, optimize=True)
        print(folder / name)
    network = networks.load(networks.DEFAULT)
    first, *others = smoothing(network)
    target = folder / "smoothing.gif"
    first.save(target, save_all=True, append_images=others, duration=_FRAME, loop=0, optimize=True)
    print(target)


if __name__ == "__main__":
    flags.DEFINE_string("output", "docs/images", "The folder for the pictures.")
    cli.run(main, ["output"])
