"""Paints photographs and videos in the style of a painting.

  python stylize.py --content=photo.jpg                               in a built-in style
  python stylize.py --content=clip.mp4 --style=udnie:2,great_wave:1   a mix of two
  python stylize.py --train=True --style_image=PAINTING --data=PHOTOS learn paintings of your own
  python stylize.py --resume=True                                     continue after an interruption
  python stylize.py --method=gatys --content=photo.jpg --style_image=PAINTING
                                                      slow, for a painting without training

--train, --resume, --content and --convert may be combined: the trained network then paints and is
converted.
"""

import sys
from pathlib import Path

from absl import flags

from portrait import cli
from portrait.backend import start_keras
from portrait.errors import UserError

FLAGS = flags.FLAGS

# What to do.
flags.DEFINE_boolean("train", False, "Train a network to paint in the style of --style_image.")
flags.DEFINE_boolean("resume", False, "Continue the newest run in --checkpoint_path.")
flags.DEFINE_list("content", [], "Photos, folders of photos, or videos to paint.")
flags.DEFINE_boolean("convert", False, "Export the network in the style --style for phones.")

# How.
flags.DEFINE_enum(
    "method",
    "fast",
    ("fast", "gatys"),
    "fast: a trained network, in one pass. gatys: an optimisation with hundreds of steps.",
)
flags.DEFINE_list(
    "style_image", [], "Paintings: one or more to learn with --train, one for --method=gatys."
)
flags.DEFINE_string(
    "style", "", "A style of the trained network, or a mix such as udnie:2,great_wave:1."
)
flags.DEFINE_float("strength", 1.0, "The opacity of the painted picture over the photo.", 0.0, 1.0)
flags.DEFINE_enum(
    "colours",
    "painting",
    ("painting", "luminance", "histogram"),
    "The colours: painting takes the painting's. The others keep the photo's: luminance paints the "
    "brightness only, histogram matches the mean and covariance of the colours.",
)
flags.DEFINE_integer(
    "size",
    512,
    "Longer side of the painted picture in pixels, unless the photo is smaller; 0: the size of "
    "the photo. A smaller picture has larger strokes.",
    0,
)
flags.DEFINE_string(
    "weight_dir",
    "",
    "Weights of a trained network, or the folder of a run. Default: the shipped one.",
)
flags.DEFINE_string("output", "output", "The folder to write into.")

# Training, and --method=gatys.
flags.DEFINE_list("data", [], "Folders of photos for the training.")
flags.DEFINE_enum("model_size", "small", ("big", "small"), "The size of the network.")
flags.DEFINE_integer(
    "style_size",
    384,
    "Longer side of the paintings in pixels: larger paintings give larger strokes.",
    32,
)
flags.DEFINE_float(
    "content_weight", None, "Weight of the content loss. Default: 2, with gatys 1.", 0.0
)
flags.DEFINE_float(
    "style_weight", None, "Weight of the style loss. Default: 8, with gatys 100.", 0.0
)
flags.DEFINE_float("tv_weight", 10.0, "Weight of the total variation loss in training.", 0.0)
flags.DEFINE_integer("crop", 160, "Height and width of the training crops in pixels.", 64)
flags.DEFINE_integer("nb_epoch", 40, "Number of epochs.", 1)
flags.DEFINE_integer("steps", 50, "Batches in an epoch.", 1)
flags.DEFINE_integer("batch_size", 2, "Crops in a batch.", 1)
flags.DEFINE_float("lr", 0.002, "The highest learning rate.", 0.0)
flags.DEFINE_string(
    "vgg_weights", "", "VGG16's weights (.npz). Default: those of keras.applications, downloaded."
)
flags.DEFINE_string(
    "checkpoint_path", "trained_models/style", "The folder for runs, one dated folder each."
)
flags.DEFINE_integer("seed", 0, "Seed of weights, crops and noise.", 0, 2**32 - 1)

# --method=gatys alone.
flags.DEFINE_integer("iterations", 200, "Steps of the optimizer.", 1)
flags.DEFINE_enum("optimizer", "lbfgs", ("lbfgs", "adam"), "The optimizer.")
flags.DEFINE_enum(
    "start", "content", ("content", "noise"), "The picture that the optimisation starts from."
)
flags.DEFINE_integer(
    "save_every", 0, "Also write the picture every N steps, to NAME_STYLE_gatys/; 0: do not.", 0
)

# --convert alone.
flags.DEFINE_string("input_shape", "256", "HEIGHT (the width is 3/4 of it) or HEIGHTxWIDTH.")

VERBS = ("train", "resume", "content", "convert")
GATYS_FLAGS = ("iterations", "optimizer", "start", "save_every")
_TRAINS, _PAINTS = ("train", "resume"), ("content",)
COMPANIONS = {
    **dict.fromkeys(("data", "model_size", "tv_weight", "crop", "nb_epoch", "steps"), _TRAINS),
    **dict.fromkeys(("batch_size", "lr", "checkpoint_path"), _TRAINS),
    **dict.fromkeys(("strength", "colours", "size"), _PAINTS),
    "style": (*_PAINTS, "convert"),
    "input_shape": ("convert",),
}
LEARNING_FLAGS = ("style_size", "content_weight", "style_weight")
# Flags that a resumed training may change; the rest is fixed when it is started.
FREE_ON_RESUME = (
    *("nb_epoch", "checkpoint_path", "data", "vgg_weights", "style_image"),
    *("method", "style", "strength", "colours", "size", "weight_dir", "output", "iterations"),
    *("optimizer", "start", "save_every", "input_shape"),
)


def dispatch() -> None:
    """Does what the flags say."""
    _check()
    start_keras()
    if FLAGS.method == "gatys":
        _paint_by_gatys()
        return
    weights = _train() if FLAGS.train or FLAGS.resume else None
    trained = weights or FLAGS.weight_dir
    if FLAGS.content:
        from portrait.style_transfer.painter import paint

        options = {"size": FLAGS.size, "strength": FLAGS.strength, "colours": FLAGS.colours}
        paint(FLAGS.content, FLAGS.style, trained, FLAGS.output, **options)
    if FLAGS.convert:
        from portrait.style_transfer.export import export_style

        export_style(FLAGS.style, trained, FLAGS.output, FLAGS.input_shape)


def _check() -> None:
    """Finds what is wrong with the flags before TensorFlow is loaded."""
    trains = FLAGS.train or FLAGS.resume
    cli.check_companions(COMPANIONS)
    if FLAGS.method == "gatys":
        _check_gatys()
    elif ignored := [name for name in GATYS_FLAGS if FLAGS[name].present]:
        raise UserError(f"--{ignored[0]} is for --method=gatys")
    elif not trains and (ignored := [name for name in LEARNING_FLAGS if FLAGS[name].present]):
        raise UserError(f"--{ignored[0]} is for --train, --resume and --method=gatys")
    elif FLAGS.style_image and not trains:
        raise UserError(
            "--style_image is for --train=True and --method=gatys: a trained network paints in "
            "the styles that it has learned, --style=NAME"
        )
    if FLAGS.train and not (FLAGS.style_image and FLAGS.data):
        raise UserError("training needs paintings and photos: --style_image=FILE --data=FOLDER")
    if trains and FLAGS.weight_dir:
        raise UserError("--weight_dir is for painting: a training starts from fresh weights")
    if FLAGS.convert:
        from portrait.models.registry import parse_input_shape

        parse_input_shape(FLAGS.input_shape)
    for path in (*FLAGS.content, *FLAGS.style_image, *filter(None, [FLAGS.weight_dir])):
        if not Path(path).exists():
            raise UserError(f"there is no {path}")


def _check_gatys() -> None:
    from portrait.io.photos import is_video

    if FLAGS.train or FLAGS.resume or FLAGS.convert:
        raise UserError("--method=gatys has no network: nothing to train or convert")
    if len(FLAGS.style_image) != 1 or not FLAGS.content:
        raise UserError("--method=gatys needs --content=PHOTO and one painting, --style_image=FILE")
    for name in ("style", "weight_dir"):
        if FLAGS[name].present:
            raise UserError(f"--{name} is of trained networks: --method=gatys has none")
    for path in map(Path, FLAGS.content):
        if is_video(path) and path.is_file():
            raise UserError(f"{path}: --method=gatys paints photographs, --method=fast videos, too")


def _train() -> Path:
    """Trains as the flags say, in a new run or in the newest one.

    Returns:
        The best checkpoint.
    """
    import keras

    from portrait.models import vgg16
    from portrait.style_transfer import crops as photos
    from portrait.style_transfer import painter as apply
    from portrait.style_transfer import perceptual, training, transform_net
    from portrait.training.recipe import Recipe
    from portrait.training.run import Run

    run = None
    if FLAGS.resume:
        run = Run.latest(FLAGS.checkpoint_path)
        cli.take_settings(run.settings()["flags"], FREE_ON_RESUME, run.folder)
    names, paintings = _paintings()
    if run and names != (began := run.settings().get("styles", names)):
        raise UserError(
            f"{run.folder} was started with the styles {', '.join(began)}: it cannot go on with "
            f"{', '.join(names)}"
        )
    if FLAGS.content or FLAGS.convert:
        apply.parse_mix(FLAGS.style, names)  # what is wrong with it is not said after the training
    learn, held_out = photos.hold_out(photos.find_photos(FLAGS.data), training.VALIDATION_PHOTOS)
    weights = vgg16.conv_weights(FLAGS.vgg_weights)
    keras.utils.set_random_seed(FLAGS.seed)
    network = transform_net.build(size=FLAGS.model_size, styles=len(names))
    terms = perceptual.Weights(
        content=2.0 if FLAGS.content_weight is None else FLAGS.content_weight,
        style=8.0 if FLAGS.style_weight is None else FLAGS.style_weight,
        variation=FLAGS.tv_weight,
    )
    loss = perceptual.PerceptualLoss(paintings, weights, terms)
    crops = photos.PhotoCrops(
        learn, FLAGS.crop, FLAGS.batch_size, FLAGS.steps, len(names), FLAGS.seed
    )
    settings = {"flags": cli.run_flags(sys.modules[__name__], VERBS), "styles": names}
    if run:
        with run.lock():
            run.write_settings(run.settings() | settings)
    else:
        begun = {"command": sys.argv, **settings, "keras": keras.__version__}
        run = Run.create(FLAGS.checkpoint_path, begun)
    print(
        f"{network.name}: {', '.join(names)}; {len(learn)} photos train, {len(held_out)} validate; "
        f"run folder {run.folder}"
    )
    recipe = Recipe(epochs=FLAGS.nb_epoch, lr=FLAGS.lr, patience=0)
    try:
        best = training.train(network, loss, crops, held_out, names, run, recipe, FLAGS.resume)
    except KeyboardInterrupt:
        command = f"stylize.py --resume=True --checkpoint_path={run.folder}"
        raise KeyboardInterrupt(f"{command} goes on with the training") from None
    print(f"best checkpoint: {best}")
    return best


def _paintings() -> tuple[list[str], list]:
    """The paintings of --style_image at --style_size, and their names."""
    from portrait.io.images import read_image
    from portrait.style_transfer.perceptual import fit_painting

    names = [Path(path).stem for path in FLAGS.style_image]
    if len(set(names)) < len(names) or any(set(name) & set(":,") for name in names):
        raise UserError(f"styles are called as their files, which need other names: {names}")
    return names, [fit_painting(read_image(path), FLAGS.style_size) for path in FLAGS.style_image]


def _paint_by_gatys() -> None:
    """Paints every photo of --content as the one painting."""
    from portrait.io.images import read_image, shrink, write_png
    from portrait.io.photos import work_through
    from portrait.models import vgg16
    from portrait.style_transfer import gatys
    from portrait.style_transfer.painter import blend, style_label

    (style,), (painting,) = _paintings()
    settings = gatys.Settings(
        content_weight=1.0 if FLAGS.content_weight is None else FLAGS.content_weight,
        style_weight=100.0 if FLAGS.style_weight is None else FLAGS.style_weight,
        iterations=FLAGS.iterations,
        optimizer=FLAGS.optimizer,
        start=FLAGS.start,
        colours=FLAGS.colours,
        seed=FLAGS.seed,
    )
    weights = vgg16.conv_weights(FLAGS.vgg_weights)

    def paint(source, target):
        photo, latest = shrink(read_image(source), FLAGS.size), None

        def watch(iteration, terms, picture):
            nonlocal latest
            latest = picture
            if FLAGS.save_every and iteration % FLAGS.save_every == 0:
                write_png(target.with_suffix("") / f"{iteration:04}.png", picture)

        try:
            painted = gatys.paint(photo, painting, weights, settings, watch)
        except KeyboardInterrupt:
            if latest is None:
                raise
            write_png(target, blend(photo, latest, FLAGS.strength))
            raise KeyboardInterrupt(f"{target} is as far as it had come") from None
        write_png(target, blend(photo, painted, FLAGS.strength))

    label = f"{style_label(style)}_gatys"
    for path in work_through(paint, FLAGS.content, FLAGS.output, [label], "paint"):
        print(path)


if __name__ == "__main__":
    cli.run(dispatch, VERBS)
