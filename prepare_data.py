"""Makes better training data from existing data, in new folders; the originals stay as they are.

  python prepare_data.py --data=DIR,DIR --output=NEW --soft=True     soft mattes from binary ones
  python prepare_data.py --data=DIR --output=NEW --teachers=A,B      soft targets from teachers
  python prepare_data.py --data=DIR --output=NEW --crops=2           portraits from whole bodies
  python prepare_data.py --data=DIR --output=NEW --groups=500        several people in one picture
  python prepare_data.py --cutouts=DIR --backgrounds=DIR --output=NEW exact mattes for the refiner
  python prepare_data.py --data=DIR,DIR --output=NEW --suspects=True labels to check
  python prepare_data.py --data=DIR,DIR --output=NEW --exclude=FILE  all except the names in a file
  python prepare_data.py --blank=DIR --output=Blank_photos           photos without people
  python prepare_data.py --data=DIR,DIR --output=NEW --shards=100    few large files for training

--soft, --crops and --exclude may be combined; with --crops only the crops are written. Pictures are
read from `training` sub-folders, in any layout that training knows. NEW/SET/training is written in
the layout of PFCN+, for main.py --data=NEW/SET; --shards are for main.py --data=NEW. --suspects and
--blank use a trained --model.
"""

from absl import flags

from portrait import cli
from portrait.commands import prepare_flags
from portrait.commands.prepare_flags import ALONE, VERBS

FLAGS = flags.FLAGS
flags.adopt_module_key_flags(prepare_flags)


def dispatch() -> None:
    """Runs the commands that the flags select."""
    from portrait.commands import prepare

    steps = prepare_flags.settle()
    for name in ALONE:
        if name in steps:
            command = getattr(prepare, name)
            command(**cli.arguments(command))
            return
    prepare.prepare(**cli.arguments(prepare.prepare))


if __name__ == "__main__":
    cli.run(dispatch, VERBS)
