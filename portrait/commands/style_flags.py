"""The flags of stylize.py, and which of them go together."""

from pathlib import Path

from absl import flags

from portrait import cli
from portrait.errors import UserError
from portrait.io.photos import is_video
from portrait.models.registry import parse_input_shape
from portrait.style_transfer.mixes import parse_mix, style_names
from portrait.training.run import Run

FLAGS = flags.FLAGS
VERBS = ("train", "resume", "content", "convert")

# What to do.
flags.DEFINE_boolean("train", False, "Train a network that paints like --style_image.")
flags.DEFINE_boolean("resume", False, "Continue the newest run in --checkpoint_path.")
flags.DEFINE_list("content", [], "Photos, folders of photos, and videos to paint.")
flags.DEFINE_boolean("convert", False, "Export the style --style of the network for phones.")

# Painting.
flags.DEFINE_enum(
    "method",
    "fast",
    ("fast", "gatys"),
    "fast: a trained network, in one pass. gatys: hundreds of steps of optimisation, without "
    "training.",
)
flags.DEFINE_list(
    "style_image", [], "Paintings: one or more with --train, exactly one with --method=gatys."
)
flags.DEFINE_string(
    "style",
    "",
    "A style of the network, or a mix such as udnie:2,great_wave:1. Default: its first style.",
)
flags.DEFINE_float("strength", 1.0, "The opacity of the painted picture over the photo.", 0.0, 1.0)
flags.DEFINE_enum(
    "colours",
    "painting",
    ("painting", "luminance", "histogram"),
    "painting: the painting's colours. luminance and histogram keep the photo's colours: the first "
    "paints the brightness only, the second matches the mean and covariance of the colours.",
)
flags.DEFINE_integer(
    "size",
    512,
    "Longer side in pixels at which photos and frames are painted, unless they are smaller; 0: "
    "their own. A smaller picture has larger strokes. Photos get this size, videos keep theirs.",
    0,
)
flags.register_validator(
    "size", lambda size: size == 0 or size >= 16, "must be 0 (no limit) or at least 16"
)
flags.DEFINE_string(
    "weight_dir",
    "",
    "Weights of a trained network, or the folder of a run. Default: the shipped network.",
)
flags.DEFINE_string("output", "output", "The folder to write into.")

# Training, and --method=gatys.
flags.DEFINE_list("data", [], "Folders of photos for the training.")
flags.DEFINE_enum("model_size", "small", ("big", "small"), "The size of the network.")
flags.DEFINE_integer(
    "style_size",
    512,
    "Longer side of the paintings in pixels. A larger painting gives larger strokes.",
    32,
)
flags.DEFINE_float(
    "content_weight", None, "Weight of the content loss. Default: 2, with gatys 1.", 0.0
)
flags.DEFINE_float(
    "style_weight", None, "Weight of the style loss. Default: 8, with gatys 100.", 0.0
)
flags.DEFINE_float("tv_weight", 10.0, "Weight of the total variation loss of a training.", 0.0)
flags.DEFINE_float(
    "stability_weight",
    40.0,
    "Weight of the change of the painted picture after a small movement, with noise: a larger "
    "value gives quieter videos.",
    0.0,
)
flags.DEFINE_integer("crop", 256, "Height and width of the crops of photos, in pixels.", 64)
flags.DEFINE_integer("nb_epoch", 40, "Number of epochs.", 1)
flags.DEFINE_integer("steps", 100, "Batches in an epoch.", 1)
flags.DEFINE_integer("batch_size", 2, "Crops in a batch.", 1)
flags.DEFINE_float("lr", 0.002, "The highest learning rate of the training.", 0.0)
flags.DEFINE_enum(
    "mixed_precision",
    "none",
    ("none", "bfloat16"),
    "bfloat16: VGG16 computes in bfloat16, which is faster on hardware that supports it.",
)
flags.DEFINE_string(
    "vgg_weights",
    "",
    "A .npz file of the weights of VGG16, the network that the losses compare pictures with. "
    "Default: the weights of keras.applications, which are downloaded once.",
)
flags.DEFINE_string(
    "checkpoint_path", "trained_models/style", "The folder for runs, one dated folder each."
)
flags.DEFINE_integer("seed", 0, "Seed of weights, crops and noise.", 0, 2**32 - 1)

# Only --method=gatys.
flags.DEFINE_integer("iterations", 200, "The largest number of steps of the optimizer.", 1)
flags.DEFINE_enum("optimizer", "lbfgs", ("lbfgs", "adam"), "The optimizer.")
flags.DEFINE_enum(
    "start", "content", ("content", "noise"), "The picture that the optimisation starts from."
)
flags.DEFINE_integer(
    "save_every", 0, "Also write the picture every N steps, to NAME_STYLE_gatys/; 0: do not.", 0
)

# Only --convert.
flags.DEFINE_string("input_shape", "256", "HEIGHT (the width is 3/4 of it) or HEIGHTxWIDTH.")
flags.DEFINE_boolean(
    "gpu_check",
    False,
    "Also run the .tflite files on a software GPU that computes in float16 as phones do. `make "
    "gpu-engines` fetches it.",
)

GATYS_FLAGS = ("iterations", "optimizer", "start", "save_every")
LEARNING_FLAGS = ("style_size", "content_weight", "style_weight", "vgg_weights", "seed")
_TRAINS, _PAINTS = ("train", "resume"), ("content",)
COMPANIONS = {
    **dict.fromkeys(("data", "model_size", "tv_weight", "crop", "nb_epoch", "steps"), _TRAINS),
    **dict.fromkeys(("batch_size", "lr", "checkpoint_path"), _TRAINS),
    **dict.fromkeys(("stability_weight", "mixed_precision"), _TRAINS),
    **dict.fromkeys(("strength", "colours", "size"), _PAINTS),
    "style": (*_PAINTS, "convert"),
    **dict.fromkeys(("input_shape", "gpu_check"), ("convert",)),
}
# Flags that a resumed run may change; the others are fixed when it starts.
FREE_ON_RESUME = (
    *("nb_epoch", "checkpoint_path", "data", "vgg_weights", "style_image"),
    *("method", "style", "strength", "colours", "size", "weight_dir", "output", "iterations"),
    *("optimizer", "start", "save_every", "input_shape", "gpu_check"),
)


def settle() -> Run | None:
    """Checks the flags, and sets them to the values of a run that is resumed.

    It does not import TensorFlow.

    Returns:
        The run to resume; None without --resume.

    Raises:
        UserError: flags cannot be combined, or a file does not exist.
    """
    _check()
    run = None
    if FLAGS.resume:
        run = Run.latest(FLAGS.checkpoint_path)
        cli.take_settings(run.flags(), FREE_ON_RESUME, run.folder)
    if (FLAGS.train or run) and (FLAGS.content or FLAGS.convert):
        # A wrong --style is refused before the training, not after it.
        parse_mix(FLAGS.style, style_names(FLAGS.style_image))
    return run


def _check() -> None:
    trains = FLAGS.train or FLAGS.resume
    cli.refuse_empty(FLAGS)
    cli.check_companions(COMPANIONS)
    if FLAGS.method == "gatys":
        _check_gatys()
    elif ignored := [name for name in GATYS_FLAGS if FLAGS[name].present]:
        raise UserError(f"--{ignored[0]} is for --method=gatys")
    elif not trains and (ignored := [name for name in LEARNING_FLAGS if FLAGS[name].present]):
        raise UserError(f"--{ignored[0]} is for --train, --resume and --method=gatys")
    elif FLAGS.style_image and not trains:
        raise UserError(
            "--style_image is for --train=True and --method=gatys: a trained network paints the "
            "styles that it has learned, --style=NAME"
        )
    if FLAGS.train and not (FLAGS.style_image and FLAGS.data):
        raise UserError("training needs paintings and photos: --style_image=FILE --data=FOLDER")
    if trains and FLAGS.weight_dir:
        raise UserError("--weight_dir is for painting: a training starts from random weights")
    if FLAGS.convert:
        parse_input_shape(FLAGS.input_shape)
    for path in (*FLAGS.content, *FLAGS.style_image, *filter(None, [FLAGS.weight_dir])):
        if not Path(path).exists():
            raise UserError(f"there is no {path}")


def _check_gatys() -> None:
    if FLAGS.train or FLAGS.resume or FLAGS.convert:
        raise UserError("--method=gatys has no network to train or convert")
    if len(FLAGS.style_image) != 1 or not FLAGS.content:
        raise UserError("--method=gatys needs --content=PHOTO and one painting, --style_image=FILE")
    for name in ("style", "weight_dir"):
        if FLAGS[name].present:
            raise UserError(f"--{name} is for trained networks, not for --method=gatys")
    for path in map(Path, FLAGS.content):
        if is_video(path) and path.is_file():
            raise UserError(
                f"{path}: --method=gatys paints photos only; --method=fast paints videos"
            )
