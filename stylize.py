"""Paints photographs and videos in the style of a painting.

  python stylize.py --content=photo.jpg                               in a shipped style
  python stylize.py --content=clip.mp4 --style=udnie:2,great_wave:1   in a mix of two styles
  python stylize.py --train=True --style_image=PAINTING --data=PHOTOS train paintings of your own
  python stylize.py --resume=True                                     continue after an interruption
  python stylize.py --method=gatys --content=photo.jpg --style_image=PAINTING
                                                      slow, for a painting without training

--train, --resume, --content and --convert may be combined: a network that has just been trained
then paints and is converted.
"""

from collections.abc import Callable

from absl import flags

from portrait import cli
from portrait.backend import start_keras
from portrait.commands import style_flags
from portrait.commands.style_flags import VERBS
from portrait.errors import printable

FLAGS = flags.FLAGS
flags.adopt_module_key_flags(style_flags)


def dispatch() -> None:
    """Runs the commands that the flags select."""
    run = style_flags.settle()
    start_keras()
    if FLAGS.method == "gatys":
        from portrait.style_transfer.gatys import paint_by_gatys

        options = _arguments(paint_by_gatys) | {"style_image": FLAGS.style_image[0]}
        for path in paint_by_gatys(**options):
            print(printable(path))
        return
    if FLAGS.train or FLAGS.resume:
        from portrait.style_transfer.training import train_style

        FLAGS.weight_dir = str(train_style(run=run, **_arguments(train_style)))
    if FLAGS.content:
        from portrait.style_transfer.painter import paint

        paint(**_arguments(paint))
    if FLAGS.convert:
        from portrait.style_transfer.export import export_style

        export_style(**_arguments(export_style))


def _arguments(function: Callable) -> dict:
    """The flags with the names of the function's arguments; it has defaults for those not set."""
    return {name: value for name, value in cli.arguments(function).items() if value is not None}


if __name__ == "__main__":
    cli.run(dispatch, VERBS)
