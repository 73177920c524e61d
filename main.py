"""Trains, evaluates and applies portrait segmentation networks.

  python main.py --model=mattingnet --train=True              on a small built-in sample
  python main.py --model=fast_scnn --train=True --data=DIR    on your own pictures
  python main.py --resume=True --checkpoint_path=DIR          continue after an interruption
  python main.py --evaluate=True --weight_dir=RUN --data=DIR  scores, best and worst cases
  python main.py --model=lite_unet --predict=photo.jpg        alpha and cut-out, shipped weights
  python main.py --convert=True --weight_dir=RUN --data=DIR   files for phones
  python main.py --compress=qat --weight_dir=RUN --data=DIR   smaller files, by a short training

--train, --finetune, --evaluate, --predict, --convert, --compress and --preview_data may be
combined: a network that has just been trained is then evaluated, applied and converted.
"""

import functools

from absl import flags

from portrait import cli
from portrait.cli import arguments
from portrait.commands import flags as main_flags
from portrait.commands import settings
from portrait.commands.flags import VERBS
from portrait.errors import printable
from portrait.models import registry

FLAGS = flags.FLAGS
flags.adopt_module_key_flags(main_flags)
_ONE_DEVICE = {"devices": 1, "hosts": (), "host": 0}


def dispatch() -> None:
    """Runs the commands that the flags select."""
    from portrait.commands import batches, train, use

    run = settings.settle()
    if FLAGS.preview_data:
        use.preview(FLAGS.preview_data, **arguments(batches.batches) | _ONE_DEVICE)
        print(f"augmented training pictures: {printable(FLAGS.preview_data)}")
    if FLAGS.evaluate:
        use.testing_sets(
            FLAGS.data, FLAGS.person_label
        )  # missing requirements are reported before the training
    if settings.trains():
        best = train.train(run=run, **arguments(train.train))
        if best is None:  # host 0 goes on
            return
        FLAGS.weight_dir = str(best)
    if FLAGS.evaluate or FLAGS.predict or FLAGS.convert or FLAGS.compress:
        _use()


def _use() -> None:
    """Evaluates, applies and exports the network."""
    from portrait.commands import batches, use

    # Before the network works, because the loader forks. The network is its own teacher.
    untaught = arguments(batches.batches) | {"teachers": ()} | _ONE_DEVICE
    parts = batches.batches(**untaught) if FLAGS.compress else ()
    if registry.find(FLAGS.model).matte:
        network, weights = use.untrained(FLAGS.model), None
    else:
        network, weights = use.trained(**arguments(use.trained))
    if FLAGS.evaluate:
        use.evaluate(network, **arguments(use.evaluate))
    if FLAGS.predict:
        for path in use.predict(network, FLAGS.predict, **arguments(use.predict)):
            print(printable(path))
    if FLAGS.convert or FLAGS.compress:
        print(f"exporting {printable(weights)}")
        use.run_all(_exports(network, weights, parts))


def _exports(network, weights, batches) -> list:
    """The exports that are asked for, as functions without arguments."""
    from portrait.commands import use

    output = use.export_folder(weights, FLAGS.output if FLAGS["output"].present else None)
    jobs = []
    if FLAGS.convert:
        options = arguments(use.convert) | {"output": output}
        jobs.append(functools.partial(use.convert, network, **options))
    if FLAGS.compress:
        options = arguments(use.compress) | {"output": output, **settings.compression()}
        jobs.append(functools.partial(use.compress, network, FLAGS.compress, *batches, **options))
    return jobs


if __name__ == "__main__":
    cli.run(dispatch, VERBS)
