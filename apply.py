"""Applies a trained network: cut-outs, portrait blur, new backgrounds, styles; photos and video.

  python apply.py --input=photo.jpg                                    portrait blur
  python apply.py --input=photo.jpg --effect=cutout --output=me.png    a transparent picture
  python apply.py --input=clip.mp4 --effect=replace --background=beach.jpg --output=beach.mp4
  python apply.py --input=FOLDER --effect=grayscale_background,blur    several, in this order
  python apply.py --input=0 --output=me.mp4                            a webcam, until Ctrl-C
  python apply.py --serve=True                                         a page in the browser

Effects: alpha, cutout, blur, replace, stylize_person, stylize_background, grayscale_background,
side_by_side.
"""

from absl import flags

from portrait import cli
from portrait.commands import apply

FLAGS = flags.FLAGS
VERBS = ("input", "serve")
_DEFAULTS = cli.defaults(apply.apply, apply.serve)

# What to do.
flags.DEFINE_string("input", "", "A photo, a folder of photos, a video, or the number of a webcam.")
flags.DEFINE_boolean("serve", False, "Serve a local page for the browser: upload, webcam, effects.")

flags.DEFINE_string(
    "output",
    _DEFAULTS["output"],
    "The file to write, or a folder for NAME_EFFECT.png (.mp4 for videos). Transparent videos are "
    ".webm or .mov files.",
)
flags.DEFINE_list(
    "effect", list(_DEFAULTS["effect"]), "One or more effects, applied in this order; see above."
)
flags.DEFINE_float("strength", _DEFAULTS["strength"], "The strength of blur, 0 to 1.")
flags.DEFINE_string(
    "background",
    _DEFAULTS["background"],
    "The background of replace: a colour (white, #3060a0), picture or video.",
)
flags.DEFINE_string(
    "style",
    _DEFAULTS["style"],
    "The style of stylize_...: a shipped style, a mix such as udnie:2,great_wave:1, weights that "
    "stylize.py has trained, or a .tflite file.",
)
flags.DEFINE_boolean("linear", _DEFAULTS["linear"], "Mix and blur in linear light.")
flags.DEFINE_enum(
    "refine",
    _DEFAULTS["refine"],
    ("guided", "closed_form", "none"),
    "The refinement of the alpha at full size. closed_form is best for hair, but slow, and for "
    "photos only.",
)
flags.DEFINE_boolean("smooth", _DEFAULTS["smooth"], "Smooth the alphas of videos.")

# The network.
flags.DEFINE_string(
    "model",
    _DEFAULTS["model"],
    "A network in trained_models/, a .tflite or .weights.h5 file, or the folder of a run.",
)
flags.DEFINE_string(
    "input_range",
    _DEFAULTS["input_range"],
    "The range of pixel values of a .tflite file without metadata: 0..1, -1..1 or 0..255.",
)
flags.DEFINE_integer(
    "threads",
    _DEFAULTS["threads"],
    "Threads of LiteRT. Videos use other cores for decoding and encoding.",
    1,
)
flags.DEFINE_integer("port", _DEFAULTS["port"], "The port of --serve.", 1, 65535)


def dispatch() -> None:
    """Executes what the flags ask for."""
    if FLAGS.serve:
        apply.serve(**cli.arguments(apply.serve))
    else:
        apply.apply(FLAGS.input, **cli.arguments(apply.apply))


if __name__ == "__main__":
    cli.run(dispatch, VERBS)
