"""The flags of prepare_data.py, and which of them go together."""

from absl import flags

from portrait import cli
from portrait.commands import prepare
from portrait.errors import UserError

FLAGS = flags.FLAGS
_STEPS = (prepare.prepare, prepare.groups, prepare.cutouts, prepare.teachers)
_STEPS += (prepare.suspects, prepare.blank, prepare.shards)
_DEFAULTS = cli.defaults(*_STEPS)

flags.DEFINE_list("data", [], "Folders of pictures with mattes.")
flags.DEFINE_string("output", "", "The folder to write into.")
flags.DEFINE_list(
    "person_label",
    [],
    "The labels of people, if the mattes of --data are label masks and this cannot be determined: "
    "numbers, such as 15, or colours, such as #c08080. Alone, it writes mattes from label masks.",
)
flags.DEFINE_integer(
    "crops",
    _DEFAULTS["crops"],
    "Number of portraits to crop from each picture, around its largest person.",
    0,
)
flags.DEFINE_integer("groups", 0, "Number of pictures of two or three people to compose.", 0)
flags.DEFINE_list(
    "backgrounds", [], "Folders of photos without people, for --groups and --cutouts."
)
flags.DEFINE_list(
    "cutouts", [], "Folders of cut-out people (RGBA): compose them over --backgrounds."
)
flags.DEFINE_integer("each", _DEFAULTS["each"], "Compositions of each of the --cutouts.", 1)
flags.DEFINE_integer("shards", 0, "Pack the pairs into this many tar files, for training.", 0)
flags.DEFINE_integer(
    "longest_side",
    _DEFAULTS["longest_side"],
    "With --shards, shrink photos to at most this many pixels on the longer side; 0: do not.",
    0,
)
flags.DEFINE_boolean(
    "soft",
    _DEFAULTS["soft"],
    "Make soft mattes from binary ones. Mattes that are soft already are replaced, too.",
)
flags.DEFINE_string(
    "exclude",
    _DEFAULTS["exclude"],
    "A file with the names of pictures to leave out, such as selfies/00012, one per line. # starts "
    "a comment.",
)
flags.DEFINE_list(
    "teachers",
    [],
    "Mix the alphas of these networks into the mattes if they are certain and agree with the "
    "label: names in trained_models/, .tflite files, weights, or folders of mattes.",
)
flags.DEFINE_float(
    "teacher_share",
    _DEFAULTS["teacher_share"],
    "The share of --teachers in a mixed matte.",
    0,
    1,
)
flags.DEFINE_boolean("suspects", False, "Write suspects.csv and sheets of labels to check.")
flags.DEFINE_integer(
    "count",
    _DEFAULTS["count"],
    "Pictures on the sheets: for each set with --suspects, in total with --teachers.",
    1,
)
flags.DEFINE_list("blank", [], "Folders of photos: copy the photos without people.")
flags.DEFINE_float(
    "person_share",
    _DEFAULTS["person_share"],
    "The largest share of a photo without people that the network may predict as person.",
    0,
    1,
)
flags.DEFINE_string(
    "model",
    _DEFAULTS["model"],
    "The network of --suspects and --blank: a name in trained_models/, a .tflite or .weights.h5 "
    "file, or the folder of a run.",
)
flags.DEFINE_string(
    "input_range",
    _DEFAULTS["input_range"],
    "The range of pixel values of a .tflite file without metadata: 0..1, -1..1 or 0..255.",
)
flags.DEFINE_string(
    "input_shape",
    _DEFAULTS["input_shape"],
    "HEIGHT or HEIGHTxWIDTH, for weights. Default: the input size of their training.",
)
flags.DEFINE_integer("seed", _DEFAULTS["seed"], "Seed of --crops, --groups and --cutouts.", 0)
flags.DEFINE_integer("workers", _DEFAULTS["workers"], "Number of processes.", 1)

VERBS = ("crops", "groups", "soft", "exclude", "teachers", "suspects", "blank")
VERBS += ("cutouts", "shards", "person_label")
ALONE = ("blank", "suspects", "groups", "teachers", "cutouts", "shards")
_ALWAYS = ("exclude", "person_label")  # go with every step
COMPANIONS = {
    "person_label": ["data"],
    "backgrounds": ["groups", "cutouts"],
    "each": ["cutouts"],
    "longest_side": ["shards"],
    "count": ["suspects", "teachers"],
    "teacher_share": ["teachers"],
    "person_share": ["blank"],
    "model": ["suspects", "blank"],
    "input_range": ["suspects", "blank", "teachers"],
    "input_shape": ["suspects", "blank"],
    "seed": ["crops", "groups", "cutouts"],
}


def settle() -> list[str]:
    """Checks the flags, and returns the steps that they ask for.

    Raises:
        UserError: a flag is empty, or flags cannot be combined.
    """
    cli.refuse_empty(FLAGS)
    if not FLAGS.output:
        raise UserError("--output=DIR: give a new folder to write into")
    cli.check_companions(COMPANIONS)
    steps = [name for name in VERBS if FLAGS[name].value and name not in _ALWAYS]
    for alone in ALONE:
        if alone in steps and len(steps) > 1:
            others = ", ".join(f"--{name}" for name in steps if name != alone)
            raise UserError(f"--{alone} is a step by itself: do {others} in another command")
    for name in ("blank", "suspects", "teachers"):
        if name in steps and FLAGS["workers"].present:
            raise UserError(f"--{name} works in one process: leave out --workers")
    for name in ("blank", "cutouts"):
        if FLAGS[name].value and (FLAGS.data or FLAGS.exclude):
            raise UserError(f"--{name} reads its own folders: leave out --data and --exclude")
    if not FLAGS.blank and not FLAGS.cutouts and not FLAGS.data:
        raise UserError("--data=DIR: give folders of pictures with mattes")
    return steps
