"""The flags of prepare_data.py, and which of them go together."""

from absl import flags

from portrait import cli
from portrait.errors import UserError

FLAGS = flags.FLAGS

flags.DEFINE_list("data", [], "Folders of pictures with mattes.")
flags.DEFINE_string("output", "", "The folder to write into.")
flags.DEFINE_list(
    "person_label",
    [],
    "Which labels are a person where the mattes of --data are label masks that do not tell: "
    "numbers, such as 15, or colours, such as #c08080. Alone, it writes mattes of label masks.",
)
flags.DEFINE_integer("crops", 0, "Number of upper-body crops of each picture of a whole body.", 0)
flags.DEFINE_integer("groups", 0, "Number of pictures of two or three people to compose.", 0)
flags.DEFINE_list(
    "backgrounds", [], "Folders of photos without people, the backgrounds of --groups."
)
flags.DEFINE_boolean("soft", False, "Make soft mattes from binary ones.")
flags.DEFINE_string(
    "exclude",
    "",
    "A file with names to leave out, such as selfies/00012, one on each line (# comments).",
)
flags.DEFINE_list(
    "teachers",
    [],
    "Mix the alphas of these networks into the mattes, where they are certain and agree with the "
    "label: names in trained_models/, .tflite files, weights, or folders of mattes.",
)
flags.DEFINE_float("teacher_share", 0.65, "The share of --teachers in a mixed matte.", 0, 1)
flags.DEFINE_boolean("suspects", False, "Write suspects.csv and sheets of labels to check.")
flags.DEFINE_integer(
    "count", 48, "Pictures on the sheets of --suspects, for each set, and of --teachers.", 1
)
flags.DEFINE_list("blank", [], "Folders of photos: copy the photos without people.")
flags.DEFINE_float(
    "person_share",
    0.004,
    "The largest share of a blank photo that the network may predict as person.",
    0,
    1,
)
flags.DEFINE_string(
    "model",
    "lite_unet_big",
    "The network of --suspects and --blank: a name in trained_models/, a .tflite or .weights.h5 "
    "file, or the folder of a run.",
)
flags.DEFINE_string(
    "input_range",
    "",
    "0..1, -1..1 or 0..255: the pixel values that a .tflite file takes, where its metadata does "
    "not say.",
)
flags.DEFINE_string(
    "input_shape",
    "",
    "HEIGHT or HEIGHTxWIDTH, for weights. Default: the input size of their training.",
)
flags.DEFINE_integer("seed", 0, "Seed of --crops and --groups.", 0)
flags.DEFINE_integer("workers", 2, "Number of processes.", 1)

VERBS = ("crops", "groups", "soft", "exclude", "teachers", "suspects", "blank")
VERBS += ("person_label",)
ALONE = ("blank", "suspects", "groups", "teachers")
_ALWAYS = ("exclude", "person_label")  # go with every step
COMPANIONS = {
    "person_label": ["data"],
    "backgrounds": ["groups"],
    "count": ["suspects", "teachers"],
    "teacher_share": ["teachers"],
    "person_share": ["blank"],
    "model": ["suspects", "blank"],
    "input_range": ["suspects", "blank", "teachers"],
    "input_shape": ["suspects", "blank"],
    "seed": ["crops", "groups"],
}


def settle() -> list[str]:
    """The steps that the flags ask for.

    Raises:
        UserError: flags do not go together.
    """
    if not FLAGS.output:
        raise UserError("--output=DIR: give a new folder to write into")
    cli.check_companions(COMPANIONS)
    steps = [name for name in VERBS if FLAGS[name].value and name not in _ALWAYS]
    for alone in ALONE:
        if alone in steps and len(steps) > 1:
            others = ", ".join(f"--{name}" for name in steps if name != alone)
            raise UserError(f"--{alone} is a step by itself: do {others} in another command")
    if FLAGS.blank and (FLAGS.data or FLAGS.exclude):
        raise UserError("--blank reads its own folders: leave out --data and --exclude")
    if not FLAGS.blank and not FLAGS.data:
        raise UserError("--data=DIR: give folders of pictures with mattes")
    return steps
