"""Compares the style network's pictures with Gatys' method, by content and style error.

python benchmarks/style_losses.py --photos=DIR --paintings=FILE,FILE --vgg_weights=FILE

The photographs take the paintings in turn. The paintings have the names of the network's styles.
The errors are relative squared errors of VGG16's activations, as in the training of the network
(`portrait.style_transfer.perceptual`): the content error is 0 for the photograph, the style error
is 0 for a picture with the correlations of the painting.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from absl import flags

from portrait import cli
from portrait.backend import start_keras
from portrait.errors import UserError
from portrait.io.images import read_image, write_png
from portrait.io.photos import photographs_in
from portrait.io.sheets import grid
from portrait.util import evenly

FLAGS = flags.FLAGS
ROWS = ("photograph", "network", "Gatys")


def errors(loss, photo: np.ndarray, painted: np.ndarray) -> tuple[float, float]:
    """Content and style error of a painted picture, under the loss of its painting."""
    inputs = (np.float32(each)[None] for each in (photo, painted))
    terms = loss(*inputs, np.ones((1, 1), np.float32))
    return float(terms["content"]), float(terms["style"])


def table(found: dict[str, list[tuple[float, float, float, float, float, float]]]) -> str:
    """Means over the photographs of each style: content and style error of `ROWS`."""
    lines = [f"{'':18}" + "".join(f"{row:>18}" for row in ROWS), " " * 18 + "  content   style" * 3]
    rows = found | {"all": [row for rows in found.values() for row in rows]}
    for style, values in rows.items():
        means = "".join(f"{mean:9.3f}" for mean in np.mean(values, 0))
        lines.append(f"{style:<14}{len(values):4}{means}")
    return "\n".join(lines)


def main() -> None:
    if not FLAGS.paintings:
        raise UserError("--paintings=FILE,FILE names the paintings")
    files = evenly(photographs_in(FLAGS.photos), FLAGS.count)
    start_keras()
    from portrait.models import vgg16
    from portrait.style_transfer import gatys
    from portrait.style_transfer.crops import centre_crop
    from portrait.style_transfer.mixes import style_names
    from portrait.style_transfer.painter import Painter, load_style
    from portrait.style_transfer.perceptual import PerceptualLoss, Weights, read_paintings

    photos = [centre_crop(read_image(path), FLAGS.size) for path in files]
    weights = vgg16.conv_weights(FLAGS.vgg_weights)
    settings = gatys.Settings(iterations=FLAGS.steps)
    names = style_names(FLAGS.paintings)
    paintings = read_paintings(FLAGS.paintings, FLAGS.style_size)
    rows: dict[str, list] = {}
    pictures = []
    for index, (name, painting) in enumerate(zip(names, paintings, strict=True)):
        network, mix, _ = load_style(FLAGS.weight_dir, name)
        painter = Painter(network, mix)
        loss = PerceptualLoss([painting], weights, Weights(1, 1, 0))
        for photo in photos[index :: len(names)]:
            slow = gatys.paint(photo, painting, weights, settings)
            three = (photo, painter(photo), slow)
            pairs = [errors(loss, photo, each) for each in three]
            rows.setdefault(name, []).append(tuple(value for pair in pairs for value in pair))
            pictures.append(three)
            if FLAGS.sheet:
                write_png(FLAGS.sheet, grid(pictures, ROWS))
    print(table(rows))


if __name__ == "__main__":
    flags.DEFINE_string("photos", None, "A folder of photographs.", required=True)
    flags.DEFINE_list("paintings", [], "The paintings, with the names of the styles.")
    flags.DEFINE_string("weight_dir", "", "The weights of the network. Default: the shipped ones.")
    flags.DEFINE_string("vgg_weights", "", "VGG16's weights (.npz). Default: keras.applications.")
    flags.DEFINE_integer("count", 20, "The number of photographs.", 1)
    flags.DEFINE_integer("steps", 300, "The steps of Gatys' method.", 1)
    flags.DEFINE_integer("size", 256, "Side of the squares of the photographs in pixels.", 32)
    flags.DEFINE_integer("style_size", 512, "Longer side of the paintings, as in training.", 32)
    flags.DEFINE_string("sheet", "", "Write the three pictures of each photograph to this PNG.")
    cli.run(main, ["photos"])
