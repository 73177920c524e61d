"""Makes better training data of what there is, in new folders; nothing given is changed.

  python prepare_data.py --data=DIR,DIR --output=NEW --soft=True     soft mattes from binary ones
  python prepare_data.py --data=DIR --output=NEW --crops=2           upper bodies of whole ones
  python prepare_data.py --data=DIR --output=NEW --groups=500        several people in one picture
  python prepare_data.py --data=DIR,DIR --output=NEW --suspects=True labels to look at
  python prepare_data.py --data=DIR,DIR --output=NEW --exclude=FILE  all but the names in a file
  python prepare_data.py --blank=DIR --output=Blank_photos           photos in which nobody is

--soft, --crops and --exclude may be combined; with --crops only the crops are written. Pictures are
those of `training` sub-folders, in any layout that training knows; NEW/SET/training is written in
PFCN+'s, to be given to main.py --data=NEW/SET. --suspects and --blank ask a trained --model.
"""

import filecmp
import itertools
import shutil
from pathlib import Path

from absl import flags

from portrait import cli
from portrait.data.pairs import find_pairs
from portrait.errors import UserError, warn_skipped
from portrait.io.files import replacing
from portrait.io.images import list_images, without_made, write_png
from portrait.models.registry import parse_input_shape

FLAGS = flags.FLAGS
_A_SHEET = 24

flags.DEFINE_list("data", [], "Folders of pictures with mattes.")
flags.DEFINE_string("output", "", "The new folder.")
flags.DEFINE_integer("crops", 0, "Upper-body crops of each picture of a whole body.", 0)
flags.DEFINE_integer("groups", 0, "How many pictures to compose of two or three people.", 0)
flags.DEFINE_list("backgrounds", [], "Folders of photos without people, to put behind --groups.")
flags.DEFINE_boolean("soft", False, "Make soft mattes from binary ones.")
flags.DEFINE_string(
    "exclude", "", "A file of names to leave out, such as selfies/00012, one a line (# comments)."
)
flags.DEFINE_boolean("suspects", False, "Write suspects.csv and sheets of labels to look at.")
flags.DEFINE_integer("count", 2 * _A_SHEET, "Suspects on the sheets of each set.", 1)
flags.DEFINE_list("blank", [], "Folders of photos of which to copy those in which nobody is.")
flags.DEFINE_float(
    "person_share", 0.004, "The share of a blank photo that may be taken for a person.", 0, 1
)
flags.DEFINE_string(
    "model",
    "lite_unet_big",
    "What --suspects and --blank ask: a name in trained_models/, FILE.tflite, or NETWORK=WEIGHTS.",
)
flags.DEFINE_string(
    "input_range",
    "",
    "0..1, -1..1 or 0..255: pixels that a .tflite file takes whose metadata does not say.",
)
flags.DEFINE_string(
    "input_shape",
    "",
    "HEIGHT or HEIGHTxWIDTH of a network given as weights. Default: that of the weights' run; else "
    "256, and 256x256 for selfie_net.",
)
flags.DEFINE_integer("seed", 0, "Seed of crops and groups.", 0)
flags.DEFINE_integer("workers", 2, "Processes.", 1)

VERBS = ("crops", "groups", "soft", "exclude", "suspects", "blank")
COMPANIONS = {
    "backgrounds": ["groups"],
    "count": ["suspects"],
    "person_share": ["blank"],
    "model": ["suspects", "blank"],
    "input_range": ["suspects", "blank"],
    "input_shape": ["suspects", "blank"],
    "seed": ["crops", "groups"],
}


def dispatch() -> None:
    """Does what the flags say."""
    if not FLAGS.output:
        raise UserError("--output=DIR: give a new folder to write into")
    cli.check_companions(COMPANIONS)
    output = Path(FLAGS.output)
    steps = [name for name in VERBS if FLAGS[name].value and name != "exclude"]
    for alone in ("blank", "suspects", "groups"):
        if alone in steps and len(steps) > 1:
            others = ", ".join(f"--{name}" for name in steps if name != alone)
            raise UserError(f"--{alone} is a step by itself: do {others} in another command")
    if FLAGS.blank and (FLAGS.data or FLAGS.exclude):
        raise UserError("--blank takes photos, not those of --data or --exclude")
    if FLAGS.blank:
        _blank(output)
        return
    if not FLAGS.data:
        raise UserError("--data=DIR: give folders of pictures with mattes")
    pairs = _wanted_pairs()
    if FLAGS.suspects:
        _suspects(pairs, output)
    elif FLAGS.groups:
        _groups(pairs, output)
    else:
        _prepare(pairs, output)


def _wanted_pairs() -> list:
    """The training pairs of --data without those of --exclude."""
    from portrait.prepare.datasets import read_exclusions

    pairs = find_pairs(FLAGS.data, "training")
    if not FLAGS.exclude:
        return pairs
    excluded = read_exclusions(FLAGS.exclude)
    kept = [pair for pair in pairs if pair.name not in excluded]
    print(f"{len(pairs) - len(kept)} of {len(pairs)} pictures are excluded by {FLAGS.exclude}")
    unknown = sorted(excluded - {pair.name for pair in pairs})
    warn_skipped(unknown, "names in " + FLAGS.exclude + " of no picture ({count}): {names}")
    if not kept:
        raise UserError(f"{FLAGS.exclude} excludes every picture of {', '.join(FLAGS.data)}")
    return kept


def _prepare(pairs: list, output: Path) -> None:
    from portrait.prepare.datasets import Preparation, prepare

    recipe = Preparation(FLAGS.crops, FLAGS.soft, FLAGS.seed)
    _report(prepare(pairs, output, recipe, FLAGS.workers))
    if FLAGS.crops:
        print("these are the crops alone; for whole pictures run it without --crops")


def _groups(pairs: list, output: Path) -> None:
    from portrait.data.backgrounds import load_backgrounds
    from portrait.prepare import groups

    if not FLAGS.backgrounds:
        raise UserError("--groups needs photos without people to put behind: --backgrounds=DIR")
    backgrounds = load_backgrounds(FLAGS.backgrounds, groups.LARGEST, FLAGS.workers)
    written = groups.write(pairs, backgrounds, output, FLAGS.groups, FLAGS.seed)
    _report(written)
    if len(written) < FLAGS.groups:
        print(f"of these pictures no more than {len(written)} of {FLAGS.groups} could be composed")


def _report(written: list[Path]) -> None:
    for folder in dict.fromkeys(path.parent.parent for path in written):
        count = sum(path.parent.parent == folder for path in written)
        print(f"{folder}: {count} pictures")


def _matte_fn():
    from portrait.inference.network import load

    shape = parse_input_shape(FLAGS.input_shape) if FLAGS.input_shape else None
    return load(FLAGS.model, input_range=FLAGS.input_range, input_shape=shape).matte


def _suspects(pairs: list, output: Path) -> None:
    from portrait.prepare import suspects

    matte_fn = _matte_fn()
    ranked = suspects.rank(matte_fn, pairs)
    suspects.write_ranking(ranked, output / "suspects.csv")
    print(output / "suspects.csv")
    for earlier in output.glob("suspects_*.png"):
        earlier.unlink()
    sets = dict.fromkeys(pair.name.rpartition("/")[0] for pair, _ in ranked)
    for name in sets:
        worst = [each for each in ranked if each[0].name.rpartition("/")[0] == name][: FLAGS.count]
        for start in range(0, len(worst), _A_SHEET):
            sheet = suspects.draw_sheet(matte_fn, worst[start : start + _A_SHEET], start + 1)
            path = output / f"suspects_{name or 'data'}_{start // _A_SHEET + 1}.png"
            write_png(path, sheet)
            print(path)


def _blank(output: Path) -> None:
    from portrait.prepare.suspects import find_empty

    if not output.name.startswith("Blank"):
        raise UserError(f"--output={output}: its name must begin with Blank, to be known as such")
    photos = [each for folder in FLAGS.blank for each in without_made(list_images(folder))]
    found = find_empty(_matte_fn(), photos, FLAGS.person_share)
    if not found:
        raise UserError(f"{', '.join(FLAGS.blank)}: no photo in which nobody is, of {len(photos)}")
    for photo, _ in found:
        # Pictures of two folders may have one name.
        numbered = (f"{number}_{photo.name}" for number in itertools.count(2))
        for name in itertools.chain([photo.name], numbered):
            if not (output / name).exists():
                with replacing(output / name) as path:
                    shutil.copyfile(photo, path)
                break
            if filecmp.cmp(photo, output / name, shallow=False):
                break
    print(f"{output}: {len(found)} of {len(photos)} photos, in which nobody was found")


if __name__ == "__main__":
    cli.run(dispatch, VERBS)
