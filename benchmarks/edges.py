"""Measures how well each refinement of the alpha follows the outline: tables of docs/effects.md.

python benchmarks/edges.py --cutouts=DIR --photos=DIR --soft=DIR,DIR --data=DIR,DIR

reduced: perfect mattes of the cut-outs of --cutouts, composed over --photos, and of the pairs in
--soft are reduced to the input sizes of networks and brought back. networks: the alphas of the
shipped networks on the `testing` pictures of --data and on the same compositions. texture: the
amplitude in the alpha of stripes and blocks of low contrast across a soft edge. colours: error
along the soft edge of people who are moved from a light wall to black and green.

"before" is the guided filter of November 2026 with its fixed radius, for comparison.
"""

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import cv2
import numpy as np
from absl import flags
from tqdm import tqdm

from benchmarks.examined import examined_pairs, some_images
from metrics import METRICS
from portrait import cli
from portrait.data.cutouts import read_cutout
from portrait.data.pairs import read_pair
from portrait.effects.matting import two_passes
from portrait.errors import UserError
from portrait.inference import network as networks
from portrait.io.images import read_image, resize
from portrait.matting import foreground, refine
from portrait.matting.compositing import blend, fill
from portrait.matting.guided_filter import guided_filter
from portrait.util import evenly

FLAGS = flags.FLAGS

ROWS = ("reduced", "networks", "texture", "colours")
SIZES = ((256, 256), (288, 224), (512, 384))
_SHOWN = ("mad", "mse", "gradient_error", "connectivity_error", "boundary_iou")
_SCENE = 760, 600  # pixels of a composition
_WALL = 236, 232, 224
_TEXTURE = 6  # levels; person and background differ by 20 to 24

Scene = tuple[np.ndarray, np.ndarray]
"""A picture, uint8 RGB (H, W, 3), and its matte, float32 (H, W), 0..1."""
Refinement = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""From a picture and its coarse alpha, float32 (h, w), to its alpha, float32 (H, W)."""


def guided_before(image: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """The guided filter with a radius of 1.2 % of the longer side and eps 1e-4."""
    radius = max(2, round(0.012 * max(image.shape)))
    rough = resize(alpha, image.shape[:2])
    fine = guided_filter(image, rough, radius, 1e-4, max(1, min(4, radius // 2)))
    return ((fine - 0.15) / 0.7).clip(0, 1)


def refinements() -> dict[str, Refinement]:
    """The refinements by name: none, before, and the `refine.METHODS` that effects offer."""
    return {
        "none": lambda image, alpha: resize(alpha, image.shape[:2]),
        "before": guided_before,
        **{name: step for name, step in refine.METHODS.items() if name != "crf"},
    }


def compositions(cutouts: list[Path], photos: list[Path]) -> Iterator[tuple[Scene, np.ndarray]]:
    """People over photographs: large, and at half the size, where photographs are sharp.

    Photographs are used again if there are fewer than people.

    Yields:
        A scene, and the person's own colours, uint8 (H, W, 3).
    """
    for i, path in enumerate(cutouts):
        colours, alpha = read_cutout(path)
        columns = np.flatnonzero(alpha[: alpha.shape[0] // 2].max(axis=0))
        size = tuple(min(most, side) for most, side in zip(_SCENE, alpha.shape, strict=True))
        left = np.clip((columns[0] + columns[-1] - size[1]) // 2, 0, alpha.shape[1] - size[1])
        box = np.s_[alpha.shape[0] - size[0] :, left : left + size[1]]
        colours, alpha = np.ascontiguousarray(colours[box]), np.ascontiguousarray(alpha[box])
        if i % 2:
            small = size[0] // 2, size[1] // 2
            shade = resize(alpha, small)[..., None]
            mixed = resize(colours * alpha[..., None], small) / np.maximum(shade, 1e-3)
            colours, alpha = mixed.clip(0, 255).astype(np.uint8), shade[..., 0]
        wall = np.array(fill(read_image(photos[i % len(photos)]), alpha.shape))
        yield (blend(colours, wall, alpha), alpha), colours


def scores(alphas: list[np.ndarray], scenes: list[Scene]) -> list[float]:
    """The mean of each metric of `_SHOWN` over the scenes."""
    return [
        float(np.mean([METRICS[m].function(a, s[1]) for a, s in zip(alphas, scenes, strict=True)]))
        * METRICS[m].scale
        for m in _SHOWN
    ]


def reduced(scenes: dict[str, list[Scene]]) -> None:
    """Prints the errors of perfect mattes that were reduced and refined."""
    for size in SIZES:
        for kind, pictures in scenes.items():
            _print_head(f"{size[0]}x{size[1]}, {kind}")
            # No network's input has more pixels than the picture.
            _print_methods(pictures, [_shrunk(matte, size) for _, matte in pictures])


def networks_table(scenes: dict[str, list[Scene]], names: list[str]) -> None:
    """Prints the errors of the networks' alphas after each refinement."""
    for kind, pictures in scenes.items():
        for name in names:
            network = networks.load(name)
            _print_head(f"{name}, {kind}")
            coarse = [two_passes(network, i) for i, _ in tqdm(pictures, leave=False, disable=None)]
            _print_methods(pictures, coarse)


def textures() -> dict[str, tuple[Scene, Scene]]:
    """Pictures of a soft edge of 6 pixels with a texture of low contrast, and with its negative."""
    rows, columns = np.mgrid[:640, :640].astype(np.float32)
    edge = 320 + 8 * np.sin(rows * 2 * np.pi / 640)
    alpha = ((edge - columns) / 6 + 0.5).clip(0, 1)
    blocks = np.random.default_rng(0).choice((-1.0, 1.0), (80, 80)).repeat(8, 0).repeat(8, 1)
    patterns = {
        "stripes of 8": np.sign(np.sin(rows * 2 * np.pi / 8 + 0.1)),
        "stripes of 16": np.sign(np.sin(rows * 2 * np.pi / 16 + 0.1)),
        "blocks of 8x8": blocks,
    }
    share = alpha[..., None]
    colours = share * (124, 120, 116) + (1 - share) * (100, 98, 96)
    return {
        name: tuple(
            ((colours + sign * _TEXTURE * pattern[..., None]).astype(np.uint8), alpha)
            for sign in (1, -1)
        )
        for name, pattern in patterns.items()
    }


def copied_texture(step: Refinement, scenes: tuple[Scene, Scene]) -> float:
    """The largest amplitude of the texture in the alpha, in thousandths, within 24 pixels of the
    edge.

    The difference between the alphas of a picture and of its counterpart with the negative texture
    contains nothing but the texture. A Fourier transform along the edge, of each column alone,
    finds its strongest frequency.
    """
    first, second = (step(image, resize(matte, (256, 256))) for image, matte in scenes)
    near = cv2.dilate(((first > 0.02) & (first < 0.98)).astype(np.uint8), np.ones((3, 49)))
    spectrum = np.abs(np.fft.rfft((first - second) / 2 * near, axis=0)) * 2 / len(first)
    return float(1e3 * spectrum[1:].max())


def texture_table() -> None:
    """Prints how much of a texture each refinement copies into the alpha."""
    scenes = textures()
    print(f"{'amplitude in the alpha x1e3':32}" + "".join(f"{name:>14}" for name in scenes))
    for name, step in refinements().items():
        _print_row(name, [copied_texture(step, each) for each in scenes.values()])


def colours_table(people: list[tuple[np.ndarray, np.ndarray]]) -> None:
    """Prints the errors in levels along the outline of people on black and green.

    Args:
        people: the colours, uint8 (H, W, 3), and the alpha, float32 (H, W), of each.
    """
    grounds = {"black": (0, 0, 0), "green": (40, 200, 60)}
    print(f"\n{'levels along the soft edge':32}" + "".join(f"{name:>14}" for name in grounds))
    for name, step in refinements().items():
        errors = []
        for colours, matte in people:
            image = blend(colours, _plain(_WALL, matte), matte)
            alpha = step(image, resize(matte, (288, 224)))
            found, _ = foreground.multilevel(image, alpha)
            near = cv2.dilate(((matte > 0.02) & (matte < 0.98)).astype(np.uint8), np.ones((3, 3)))
            for ground in grounds.values():
                wall = _plain(ground, matte)
                error = cv2.absdiff(blend(found, wall, alpha), blend(colours, wall, matte))
                errors.append(error[near > 0].mean())
        _print_row(name, np.reshape(errors, (-1, len(grounds))).mean(axis=0))


def _shrunk(matte: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return resize(matte, tuple(map(min, size, matte.shape)))


def _read(folders: list[str], subset: str) -> dict[str, list[Scene]]:
    """Up to --pictures pairs of each folder, by the folder's name."""
    found = {}
    for folder in folders:
        pairs = evenly(examined_pairs([folder], subset, FLAGS.person_label), FLAGS.pictures)
        read = map(read_pair, pairs)
        found[Path(folder).name] = [(image, matte / np.float32(255)) for image, matte in read]
    return found


def _plain(colour: tuple[int, int, int], like: np.ndarray) -> np.ndarray:
    return np.full((*like.shape, 3), colour, np.uint8)


def _print_methods(scenes: list[Scene], coarse: list[np.ndarray]) -> None:
    for name, step in refinements().items():
        start = time.process_time()
        work = tqdm(list(zip(scenes, coarse, strict=True)), name, leave=False, disable=None)
        alphas = [step(image, rough) for (image, _), rough in work]
        seconds = (time.process_time() - start) / len(scenes)
        _print_row(name, [*scores(alphas, scenes), seconds * 1e3])


def _print_head(title: str) -> None:
    labels = [METRICS[name].label for name in _SHOWN] + ["CPU ms"]
    print(f"\n{title:32}" + "".join(f"{label:>14}" for label in labels))


def _print_row(name: str, values) -> None:
    print(f"{name:32}" + "".join(f"{value:14.3f}" for value in values), flush=True)


def main() -> None:
    """Prints the tables of --rows."""
    if unknown := set(FLAGS.rows) - set(ROWS):
        raise UserError(f"--rows={','.join(unknown)}: the rows are {', '.join(ROWS)}")
    if "texture" in FLAGS.rows:
        texture_table()
    if not FLAGS.cutouts or not FLAGS.photos:
        raise UserError("give --cutouts=DIR and --photos=DIR: cut-out people and photographs")
    cutouts = evenly(some_images(FLAGS.cutouts), FLAGS.pictures)
    photos = evenly(some_images(FLAGS.photos), len(cutouts))
    composed = list(compositions(cutouts, photos))
    scenes = {"compositions": [scene for scene, _ in composed]}
    if "reduced" in FLAGS.rows:
        reduced(scenes | _read(FLAGS.soft, "training"))
    if "colours" in FLAGS.rows:
        colours_table([(colours, scene[1]) for scene, colours in composed])
    if "networks" in FLAGS.rows:
        names = FLAGS.models or list(networks.shipped_files())
        networks_table(scenes | _read(FLAGS.data, "testing"), names)


if __name__ == "__main__":
    flags.DEFINE_string("cutouts", "", "A folder of cut-out people (RGBA) with exact alpha.")
    flags.DEFINE_string("photos", "", "A folder of photographs, the backgrounds of the cut-outs.")
    flags.DEFINE_list("soft", [], "Folders of pictures with soft mattes, not of --data.")
    flags.DEFINE_list("data", [], "Folders of pictures with mattes, with testing sub-folders.")
    flags.DEFINE_list("person_label", [], "The person's labels in label masks, as in main.py.")
    flags.DEFINE_integer("pictures", 20, "The largest number of pictures of each kind.", 1)
    flags.DEFINE_list("models", [], "Shipped networks. Default: all.")
    flags.DEFINE_list("rows", list(ROWS), "The tables to print: " + ", ".join(ROWS) + ".")
    cli.run(main, ["rows"])
