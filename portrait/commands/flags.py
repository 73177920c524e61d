"""The flags of main.py."""

from absl import flags

from portrait import cli
from portrait.commands.train import train
from portrait.models import registry

FLAGS = flags.FLAGS
REFINEMENTS = ("none", "guided", "learned", "crf", "closed_form")
VERBS = ("train", "finetune", "resume", "evaluate", "predict", "convert", "compress")
VERBS += ("preview_data",)
_DEFAULTS = cli.defaults(train)


def _sizes() -> str:
    sized = (spec for spec in registry.SPECS.values() if spec.sizes)
    return "; ".join(f"{spec.name}: {', '.join(spec.sizes)}" for spec in sized)


def _by_value(field: str) -> dict[str, str]:
    """The names of the networks for each value of an attribute of `Spec`."""
    networks: dict[str, list[str]] = {}
    for spec in registry.SPECS.values():
        networks.setdefault(str(getattr(spec, field)), []).append(spec.name)
    return {value: ", ".join(names) for value, names in networks.items()}


def _starts() -> str:
    return "; ".join(f"{names}: {takes}" for takes, names in _by_value("takes").items() if takes)


def _exceptions(field: str) -> str:
    """The usual default of an attribute, and the networks that have another one."""
    usual = str(getattr(registry.Spec, field))
    others = [f"{value} for {names}" for value, names in _by_value(field).items() if value != usual]
    return ", ".join([usual, *others])


# What to do.
flags.DEFINE_boolean("train", False, "Train a network.")
flags.DEFINE_boolean("finetune", False, "Train the weights of --weight_dir further.")
flags.DEFINE_boolean("resume", False, "Continue the newest run in --checkpoint_path.")
flags.DEFINE_boolean("evaluate", False, "Score the network on the testing pictures of --data.")
flags.DEFINE_list("predict", [], "Photos or folders: write their alphas and cut-outs.")
flags.DEFINE_boolean("convert", False, "Export the network for phones.")
flags.DEFINE_enum(
    "compress",
    None,
    ("prune", "cluster", "qat"),
    "Make the network smaller by a short training, and export it. prune sets small weights to 0, "
    "cluster lets weights share values, qat trains with the rounding of int8.",
)
flags.DEFINE_string("preview_data", "", "Write a sheet of augmented training pictures to this PNG.")
flags.register_validator(
    "preview_data", lambda name: not name or name.endswith(".png"), "its name must end in .png"
)

# The network.
flags.DEFINE_enum(
    "model",
    _DEFAULTS["model"],
    tuple(registry.SPECS),
    "The network. Default: the network of --weight_dir, if its run.json names one.",
)
flags.DEFINE_enum(
    "model_size", _DEFAULTS["model_size"], registry.SIZES, f"The size of the network ({_sizes()})."
)
flags.DEFINE_string(
    "input_shape",
    _DEFAULTS["input_shape"],
    "HEIGHT (the width is 3/4 of it) or HEIGHTxWIDTH. Default: the input size of the weights that "
    f"are used; for a training without --weight_dir {_exceptions('input_shape')}.",
)
flags.DEFINE_string(
    "weight_dir",
    _DEFAULTS["weight_dir"],
    "Weights to train further, evaluate, apply or convert: a .weights.h5 file or the folder of a "
    "run. Default: the shipped weights, except for a training.",
)
flags.DEFINE_string(
    "start",
    _DEFAULTS["start"],
    "The initial weights of a training without --weight_dir: imagenet (the default, if the network "
    f"has them), none (random weights), or a file ({_starts()}).",
)
flags.DEFINE_enum(
    "refine",
    "none",
    REFINEMENTS,
    "Refine the alphas of --evaluate and --predict at the photo's own size.",
)

# The data.
flags.DEFINE_list(
    "data", [], "Folders of pictures and mattes. Default: a small built-in sample, to try it out."
)
flags.DEFINE_list(
    "person_label",
    list(_DEFAULTS["person_label"]),
    "The labels of people, if the mattes of --data are label masks and this cannot be determined: "
    "numbers, such as 15, or colours, such as #c08080.",
)
flags.DEFINE_float(
    "val_ratio",
    _DEFAULTS["val_ratio"],
    "The share of the pictures that is used for training; the rest is used for validation.",
)
flags.register_validator("val_ratio", lambda share: 0 < share < 1, "must be between 0 and 1")
flags.DEFINE_string(
    "augment",
    _DEFAULTS["augment"],
    "Augmentations: default, all, none, or names; -NAME leaves one out.",
)
flags.DEFINE_float(
    "augment_strength", _DEFAULTS["augment_strength"], "The strength of augmentations.", 0, 3
)
flags.DEFINE_list(
    "backgrounds", [], "Folders of photos without people, used as backgrounds in training."
)
flags.DEFINE_list(
    "boundary_thickness",
    [],
    "Widths of the boundary target in pixels. Default: depends on the person's size.",
)
flags.DEFINE_integer(
    "workers", _DEFAULTS["workers"], "Processes that read and augment pictures.", lower_bound=0
)
flags.DEFINE_enum(
    "cache",
    _DEFAULTS["cache"],
    ("auto", "memory", "disk", "none"),
    "Where decoded pictures are kept: memory decodes all of them first; disk decodes each when it "
    "is needed, into a temporary file; none decodes it each time. auto chooses by size.",
)

# The training.
flags.DEFINE_integer(
    "nb_epoch",
    _DEFAULTS["nb_epoch"],
    "The largest number of epochs. Default: 100, 24 on the built-in sample, 5 with --compress.",
    lower_bound=1,
)
flags.DEFINE_integer(
    "batch_size",
    _DEFAULTS["batch_size"],
    "Pictures in a batch. Default: 32, or 8 on the built-in sample.",
    1,
)
flags.DEFINE_enum(
    "loss",
    _DEFAULTS["loss"],
    ("bce_dice", "bce_dice_mad", "focal", "detail"),
    "The weighting of the matte's loss; bce_dice_mad is for soft mattes, detail for the refiner.",
)
flags.DEFINE_float(
    "boundary_weight",
    _DEFAULTS["boundary_weight"],
    "The share of the boundary's loss; with 0 the boundary head is not trained.",
    0,
    1,
)
flags.DEFINE_float(
    "lr",
    _DEFAULTS["lr"],
    f"The highest learning rate. Default: from random weights {_exceptions('learning_rate')}; from "
    f"trained weights {_exceptions('tuned_learning_rate')}; with --compress 0.0001.",
    lower_bound=0,
)
flags.DEFINE_enum(
    "schedule",
    _DEFAULTS["schedule"],
    ("cosine", "halving", "constant"),
    "The schedule of the learning rate.",
)
flags.DEFINE_integer(
    "patience",
    _DEFAULTS["patience"],
    "Stop after this many epochs without a lower validation loss; 0: never.",
    0,
)
flags.DEFINE_integer(
    "checkpoint", _DEFAULTS["checkpoint"], "Also keep a checkpoint every N epochs; 0: do not.", 0
)
flags.DEFINE_boolean("ema", _DEFAULTS["ema"], "Keep a moving average of the weights.")
flags.DEFINE_enum(
    "mixed_precision",
    _DEFAULTS["mixed_precision"],
    ("none", "float16", "bfloat16"),
    "Compute in half precision, mainly for GPUs.",
)
flags.DEFINE_integer(
    "devices",
    _DEFAULTS["devices"],
    "GPUs of each machine to train on. --batch_size is divided among them.",
    1,
)
flags.DEFINE_list(
    "hosts",
    [],
    "Machines that train together, ADDRESS:PORT each. Run the same command on all of them, each "
    "with its own --host. Needs KERAS_BACKEND=jax.",
)
flags.DEFINE_integer("host", _DEFAULTS["host"], "The place of this machine in --hosts, from 0.", 0)
flags.DEFINE_integer(
    "seed", _DEFAULTS["seed"], "Seed of weights, order and augmentation.", 0, 2**32 - 1
)
flags.DEFINE_list(
    "teachers",
    [],
    "Networks to distil: names of shipped networks or .tflite files. Their mean alpha is mixed "
    "into the mattes; a network that is named twice counts twice.",
)
flags.DEFINE_float(
    "teacher_share", _DEFAULTS["teacher_share"], "The share of --teachers in the mattes.", 0, 1
)
flags.DEFINE_string(
    "input_range",
    _DEFAULTS["input_range"],
    "The range of pixel values of a .tflite file of --teachers without metadata: 0..1, -1..1 or "
    "0..255.",
)

# Where things go.
flags.DEFINE_string(
    "checkpoint_path",
    _DEFAULTS["checkpoint_path"],
    "The folder for runs, one dated folder each. Default: trained_models/NETWORK.",
)
flags.DEFINE_string(
    "output",
    "output",
    "The folder that --evaluate, --predict, --convert and --compress write to. Default for files "
    "exported from a run: export in the run's folder.",
)
flags.DEFINE_string("tflite_name", "", "Name of the exported files. Default: the network's name.")
flags.DEFINE_boolean("android", False, "Export for Android: 4 input channels, RGBA.")

# The exported files.
flags.DEFINE_list(
    "formats",
    None,
    "Formats to export: float32, float16, dynamic, int8, uint8 (.tflite); mlpackage_float32, "
    "mlpackage_float16, mlpackage_int8, mlpackage_palettized, mlmodel. Default: all; "
    "of --compress=qat, which has no others, int8 and uint8.",
)
flags.DEFINE_boolean(
    "allow_cpu_ops", False, "Keep files with operations that phone GPUs do not support."
)
flags.DEFINE_boolean(
    "gpu_check",
    False,
    "With --convert, also run the .tflite files on a software GPU that computes in float16 as "
    "phones do. `make gpu-engines` fetches it.",
)
flags.DEFINE_float("sparsity", 0.5, "The share of the weights that --compress=prune sets to 0.")
flags.register_validator("sparsity", lambda share: 0 < share < 1, "must be between 0 and 1")
flags.DEFINE_integer("clusters", 32, "Values per layer with --compress=cluster.", 2, 256)
