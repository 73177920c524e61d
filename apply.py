"""Applies a trained network: cut-outs, portrait blur, new backgrounds, styles; photos and video.

  python apply.py --input=photo.jpg                                    portrait blur
  python apply.py --input=photo.jpg --effect=cutout --output=me.png    a transparent picture
  python apply.py --input=clip.mp4 --effect=replace --background=beach.jpg --output=beach.mp4
  python apply.py --input=FOLDER --effect=grayscale_background,blur    its photos and videos
  python apply.py --input=frames/%05d.png --output=keyed/%05d.png --effect=green_screen
  python apply.py --input=clip.mp4 --effect=foreground --output=fgr.mp4 --output_alpha=pha.mp4
  python apply.py --input=0 --output=me.mp4                            a webcam, until Ctrl-C
  python apply.py --input=0 --virtual_camera=/dev/video2               for video calls
  python apply.py --serve=True                                         a page in the browser
  python apply.py --input=LIST.txt --output=DIR --workers=8            many photos and videos

Effects: alpha, cutout, foreground, blur, replace, green_screen, stylize_person, stylize_background,
grayscale_background, side_by_side.
"""

from absl import flags

from portrait import cli
from portrait.commands import apply, apply_flags, bulk
from portrait.commands.apply_flags import VERBS

FLAGS = flags.FLAGS
flags.adopt_module_key_flags(apply_flags)


def dispatch() -> None:
    """Runs the commands that the flags select."""
    apply_flags.check()
    if FLAGS.serve:
        apply.serve(**cli.arguments(apply.serve))
    elif bulk.is_bulk(FLAGS.input, FLAGS.workers, FLAGS.cluster):
        processes = {"workers": FLAGS.workers, "cluster": FLAGS.cluster}
        bulk.bulk(FLAGS.input, **processes, **cli.arguments(apply.apply))
    else:
        apply.apply(FLAGS.input, **cli.arguments(apply.apply))


if __name__ == "__main__":
    cli.run(dispatch, VERBS)
