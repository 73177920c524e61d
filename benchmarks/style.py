"""Measures the time and the flicker of painting, and compares it with Gatys' optimisation.

python benchmarks/style.py --photo=PHOTO --painting=PAINTING --style=NAME --vgg_weights=FILE

Three tables: seconds for each picture of several sizes, and the largest memory of the process so
far (Linux only); the steps and seconds that Gatys' L-BFGS needs to reach the style loss (formula 4)
of the network's picture; and the noise in a clip of a still scene, before and after painting.
"""

import resource
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from absl import flags

from portrait import cli
from portrait.backend import start_keras
from portrait.io.images import read_image, resize, shrink, write_png

FLAGS = flags.FLAGS
flags.DEFINE_string("photo", None, "A photograph.", required=True)
flags.DEFINE_string("painting", None, "The painting that --style was trained on.", required=True)
flags.DEFINE_string("style", "", "The style of the network.")
flags.DEFINE_string("weight_dir", "", "The weights of the network. Default: the shipped ones.")
flags.DEFINE_string("vgg_weights", "", "VGG16's weights (.npz). Default: from keras.applications.")
flags.DEFINE_list(
    "sizes",
    ["256", "512", "1024", "2048"],
    "Longer sides for the first table, in rising order.",
)
flags.register_validator(
    "sizes",
    lambda sizes: all(each.isdecimal() and int(each) > 0 for each in sizes),
    "write pixels, such as 256",
)
flags.DEFINE_integer("size", 256, "Longer side for the other two tables.", 1)
flags.DEFINE_integer("style_size", 512, "Longer side of the painting, as in training.", 1)
flags.DEFINE_integer("limit", 200, "The largest number of steps of Gatys' optimizer.", 1)
flags.DEFINE_string("sheet", "", "Write the photo and both painted pictures to this PNG.")

REPEATS = 5
FRAMES = 8
NOISES = (1, 2, 4, 8)


def seconds(call, *arguments) -> float:
    """Median seconds of some calls after a warm-up."""
    times = []
    for _ in range(REPEATS + 1):
        start = time.perf_counter()
        call(*arguments)
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def time_sizes(painter, photo: np.ndarray) -> None:
    print(f"{'picture':>12}{'seconds':>10}{'megapixels/s':>14}{'MiB':>7}")
    for size in map(int, FLAGS.sizes):
        height, width = photo.shape[:2]
        scale = size / max(height, width)
        picture = resize(photo, (round(height * scale), round(width * scale)))
        taken = seconds(painter, picture)
        height, width = picture.shape[:2]
        rate = height * width / taken / 1e6
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        row = f"{f'{width} x {height}':>12}{taken:10.3f}{rate:14.2f}{memory:7.0f}"
        print(row, flush=True)


def compare_with_gatys(painter, photo: np.ndarray, painting: np.ndarray) -> None:
    """Runs Gatys from the photograph until it reaches the style loss of the network's picture."""
    from portrait.models import vgg16
    from portrait.style_transfer import gatys, gatys_loss

    weights = vgg16.conv_weights(FLAGS.vgg_weights)
    painted = painter(photo)
    scaled = gatys_loss.normalize_weights(weights, (np.float32(photo), np.float32(painting)))
    loss = gatys_loss.GatysLoss(photo, painting, scaled, 1.0, 1.0)
    goal = loss(np.float32(painted))[1]["style"]
    settings = gatys.Settings(iterations=FLAGS.limit)
    ends, reached, last = [], {}, {}

    def watch(iteration: int, terms: dict[str, float], picture: np.ndarray) -> None:
        ends.append(time.perf_counter())
        # The first step builds and traces VGG16, which is not part of the method's time.
        step = (ends[-1] - ends[0]) / max(iteration - 1, 1)
        last.update(steps=iteration, style=terms["style"], seconds=step * iteration)
        if terms["style"] <= goal and not reached:
            reached.update(last)

    slow = gatys.paint(photo, painting, weights, settings, watch)
    fast = seconds(painter, photo)
    print(f"\nstyle loss: photo {loss(np.float32(photo))[1]['style']:.4f}, network {goal:.4f}")
    print(f"network: {fast:.3f} s")
    found, verb = (reached, "reaches") if reached else (last, "does not reach")
    print(
        f"Gatys {verb} that with {found['steps']} steps in {found['seconds']:.1f} s "
        f"(its style loss: {found['style']:.4f}): {found['seconds'] / fast:.0f} times as long"
    )
    if FLAGS.sheet:
        write_png(FLAGS.sheet, np.concatenate([photo, painted, slow], axis=1))


def measure_flicker(painter, photo: np.ndarray) -> None:
    """Mean difference of consecutive frames, for the clip and for the painted clip."""
    rng = np.random.default_rng(0)
    print(f"\n{'noise':>6}{'clip':>8}{'painted':>9}{'ratio':>7}   (levels of 255)")
    for noise in NOISES:
        frames = photo + rng.normal(0, noise, (FRAMES, *photo.shape))
        frames = np.rint(frames.clip(0, 255)).astype(np.uint8)
        painted = np.stack([painter(frame) for frame in frames])
        before, after = (np.abs(np.diff(np.float32(x), axis=0)).mean() for x in (frames, painted))
        print(f"{noise:6}{before:8.2f}{after:9.2f}{after / before:7.2f}", flush=True)


def main() -> None:
    photo = read_image(FLAGS.photo)
    start_keras()
    from portrait.style_transfer.painter import Painter, load_style
    from portrait.style_transfer.perceptual import fit_painting

    network, mix, _ = load_style(FLAGS.weight_dir, FLAGS.style)
    painter = Painter(network, mix)
    time_sizes(painter, photo)
    photo = shrink(photo, FLAGS.size)
    painting = fit_painting(read_image(FLAGS.painting), FLAGS.style_size)
    measure_flicker(painter, photo)
    compare_with_gatys(painter, photo, painting)


if __name__ == "__main__":
    cli.run(main, ["photo"])
