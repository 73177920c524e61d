"""Measures the alphas and colours behind the effects: the tables of docs/effects.md.

python benchmarks/effects.py                                  halo, refinement
python benchmarks/effects.py --data=DIR,DIR --photos=DIR      and placing, nobody

halo: a portrait with soft hair, known colours and known alpha is moved from bright stripes to
black. refinement: that portrait in front of scikit-image's photographs, with the network's alpha
refined to full size. placing: people from the `testing` sub-folders of --data in landscapes of
--photos, with four kinds of windows for the network. nobody: how often photographs and portraits
have an empty matte.
"""

import math
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import cv2
import numpy as np
from absl import flags
from tqdm import tqdm

from benchmarks.examined import examined_pairs, some_images
from metrics import METRICS, person_iou
from portrait import cli
from portrait.data.pairs import read_pair
from portrait.data.sample.astronaut import matted_portrait
from portrait.data.sample.sample import sample_backgrounds
from portrait.effects import matting
from portrait.effects import windows as windows_module
from portrait.effects.matting import REFINEMENTS, two_passes
from portrait.errors import UserError
from portrait.inference import network as networks
from portrait.io.images import Window, read_image, resize
from portrait.matting import foreground
from portrait.matting.compositing import blend, fill
from portrait.util import evenly

FLAGS = flags.FLAGS
flags.DEFINE_string("model", networks.DEFAULT, "The network, as for apply.py.")
flags.DEFINE_list("data", [], "Folders of pictures with mattes, with testing sub-folders.")
flags.DEFINE_list("person_label", [], "The person's labels in label masks, as in main.py.")
flags.DEFINE_string("photos", "", "A folder of photographs, most of them without people.")
flags.DEFINE_integer("pictures", 20, "Number of pictures of each folder of --data.", 1)

_LANDSCAPE = 540, 960
_EMPTY = 100  # photographs in which people are looked for
_SHOWN = ("person_iou", "boundary_iou", "mad", "gradient_error")

Scene = tuple[np.ndarray, np.ndarray]
"""A picture, uint8 RGB (H, W, 3), and its matte, float32 (H, W), 0..1."""


def halo() -> None:
    """Prints the error along the soft edge, in levels, with and without estimated colours."""
    _, person, alpha = map(np.array, matted_portrait())
    wall = np.full(person.shape, (40, 220, 60), np.uint8)
    wall[::7] = (250, 250, 90)
    wall = cv2.GaussianBlur(wall, (0, 0), 4)
    image, black = blend(person, wall, alpha), np.zeros_like(person)
    soft = (alpha > 0.02) & (alpha < 0.98)
    expected = blend(person, black, alpha)
    for name, colours in (
        ("the picture's own colours", image),
        ("blur fusion (video)", foreground.blur_fusion(image, alpha)[0]),
        ("multi-level (stills)", foreground.multilevel(image, alpha)[0]),
    ):
        error = cv2.absdiff(blend(colours, black, alpha), expected)[soft].mean()
        print(f"{name:32}{error:8.2f}")


def refinement(network: networks.Network) -> None:
    """Prints the errors of alphas at full size by each way of refinement."""
    _, person, alpha = map(np.array, matted_portrait())
    shown = [METRICS[name] for name in _SHOWN]
    print(f"{'':32}" + "".join(f"{metric.label:>14}" for metric in shown))
    images = [blend(person, fill(each, alpha.shape), alpha) for each in sample_backgrounds()]
    for name in REFINEMENTS:
        alphas = [matting.matte(image, network, name) for image in images]
        errors = [[metric.function(a, alpha) * metric.scale for a in alphas] for metric in shown]
        _print_row(name, np.mean(errors, axis=1))


def placing_table(network: networks.Network, folders: list[list[Scene]], photos: list) -> None:
    """Prints the mean person IoU over folders, for each kind of windows and of scene."""
    looks = {
        "squeezed": squeezed,
        "with bars": with_bars,
        "tiles": tiles,
        "two looks": two_passes,
    }
    print(f"{'':32}" + "".join(f"{name:>14}" for name in looks))
    for kind, make in scenes(photos).items():
        ious = np.zeros((len(folders), len(looks)))
        for row, folder in zip(ious, tqdm(folders, kind, leave=False, disable=None), strict=True):
            made = [make(*scene) for scene in folder]
            for column, look in enumerate(looks.values()):
                row[column] = np.mean(
                    [person_iou(resize(look(network, i), m.shape), m) for i, m in made]
                )
        _print_row(kind, ious.mean(axis=0))


def scenes(photos: list[np.ndarray]) -> dict[str, Callable[..., Scene]]:
    """From a portrait and its matte to the scenes that contain it."""
    random = np.random.default_rng(0)

    def landscape(image, matte, share, places=None):
        photo = np.array(fill(photos[random.integers(len(photos))], _LANDSCAPE))
        height = round(share * _LANDSCAPE[0])
        size = height, min(_LANDSCAPE[1], round(image.shape[1] * height / image.shape[0]))
        person, alpha = resize(image, size), resize(matte, size)
        whole = np.zeros(_LANDSCAPE, np.float32)
        for place in places or [random.uniform()]:
            left = round(place * (_LANDSCAPE[1] - size[1]))
            box = np.s_[_LANDSCAPE[0] - height :, left : left + size[1]]
            photo[box] = blend(person, np.ascontiguousarray(photo[box]), alpha)
            whole[box] = np.maximum(whole[box], alpha)
        return photo, whole

    def widened(image, matte):
        more = max(0, round(matte.shape[0] * 16 / 9) - matte.shape[1]) // 2
        sides = ((0, 0), (more, more))
        return np.pad(image, (*sides, (0, 0)), mode="edge"), np.pad(matte, sides)

    return {
        "as they are": lambda image, matte: (image, matte),
        "border repeated to 16:9": widened,
        "in a landscape, full height": lambda *scene: landscape(*scene, 1.0),
        "the same, 0.6 of the height": lambda *scene: landscape(*scene, 0.6),
        "twice, 0.8 of the height": lambda *scene: landscape(*scene, 0.8, (0.05, 0.95)),
        "lying sideways": lambda *scene: tuple(np.ascontiguousarray(np.rot90(x)) for x in scene),
    }


def squeezed(network: networks.Network, image: np.ndarray) -> np.ndarray:
    return windows_module.look(network, image, [Window(0, 0, image.shape[1], image.shape[0])])


def with_bars(network: networks.Network, image: np.ndarray) -> np.ndarray:
    """The whole picture in its own proportions, with grey bars."""
    (height, width), (rows, columns) = image.shape[:2], network.input_shape
    scale = min(rows / height, columns / width)
    inner = max(1, round(height * scale)), max(1, round(width * scale))
    padded = np.full((rows, columns, 3), 114, np.uint8)
    top, left = (rows - inner[0]) // 2, (columns - inner[1]) // 2
    place = np.s_[top : top + inner[0], left : left + inner[1]]
    padded[place] = resize(image, inner)
    return network.run(padded)[place]


def tiles(network: networks.Network, image: np.ndarray) -> np.ndarray:
    """Tiles of the network's aspect that overlap by half, side by side or one above the other."""
    (height, width), (rows, columns) = image.shape[:2], network.input_shape
    tile = min(height, width * rows / columns), min(width, height * columns / rows)
    tops, lefts = (
        np.linspace(0, side - part, math.ceil(2 * (side - part) / part - 1e-6) + 1)
        for side, part in zip((height, width), tile, strict=True)
    )
    windows = [
        Window(round(x), round(y), round(x + tile[1]), round(y + tile[0]))
        for y in tops
        for x in lefts
    ]
    return windows_module.look(network, image, windows)


def nobody(network: networks.Network, folders: list[list[Scene]], photos: list) -> None:
    """Prints how many pictures have an empty matte."""
    portraits = [image for folder in folders for image, _ in folder]
    for name, images in (("photographs", photos), ("portraits", portraits)):
        empty = sum(not two_passes(network, image).any() for image in images)
        print(f"{name:32}{empty} of {len(images)} empty")


def _print_row(name: str, values: np.ndarray) -> None:
    print(f"{name:32}" + "".join(f"{value:14.3f}" for value in values), flush=True)


def main() -> None:
    """Prints the tables that the flags allow."""
    network = networks.load(FLAGS.model)
    print("halo: mean error in levels along the soft edge")
    halo()
    print("\nrefinement")
    refinement(network)
    if not FLAGS.data:
        return
    if not FLAGS.photos:
        raise UserError("--data needs --photos=DIR, too: photographs to put behind the people")
    photos = [read_image(path) for path in evenly(some_images(FLAGS.photos), _EMPTY)]
    folders = []
    for folder in FLAGS.data:
        pairs = examined_pairs([folder], "testing", FLAGS.person_label)
        pairs = evenly(pairs, FLAGS.pictures)
        folders.append([(image, matte / np.float32(255)) for image, matte in map(read_pair, pairs)])
    print("\nplacing: person IoU")
    placing_table(network, folders, photos)
    print("\nnobody")
    nobody(network, folders, photos)


if __name__ == "__main__":
    cli.run(main, ["model"])
