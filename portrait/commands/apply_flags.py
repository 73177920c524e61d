"""The flags of apply.py."""

from pathlib import Path

from absl import flags

from portrait import cli
from portrait.commands import apply
from portrait.errors import UserError

FLAGS = flags.FLAGS
VERBS = ("input", "serve")
_DEFAULTS = cli.defaults(apply.apply, apply.serve)

# What to do.
flags.DEFINE_string(
    "input",
    "",
    "A photo, a video, numbered pictures (frames/%05d.png), a folder of photos and videos, or the "
    "number of a webcam. Also a list (.txt) with a path or a URL on each line, or the URL of a "
    "folder, such as s3://bucket/photos.",
)
flags.DEFINE_boolean("serve", False, "Serve a local page for the browser: upload, webcam, effects.")

flags.DEFINE_string(
    "output",
    _DEFAULTS["output"],
    "The file or the numbered pictures to write, or a folder for NAME_EFFECT.png (.mp4 for videos)."
    " Transparent videos are .webm or .mov files.",
)
flags.DEFINE_string(
    "output_alpha",
    _DEFAULTS["output_alpha"],
    "Also write the alpha: a file, numbered pictures, or a folder for NAME_alpha.png (.mp4).",
)
flags.DEFINE_string(
    "virtual_camera",
    _DEFAULTS["virtual_camera"],
    "Show the result in this virtual camera, such as /dev/video2, and write no --output. See "
    "docs/effects.md.",
)
flags.DEFINE_list(
    "effect", list(_DEFAULTS["effect"]), "One or more effects, applied in this order; see above."
)
flags.DEFINE_float(
    "strength",
    _DEFAULTS["strength"],
    "0 to 1: how far blur goes (0.5), and the opacity of a style over the picture (1).",
)
flags.DEFINE_enum(
    "aperture",
    _DEFAULTS["aperture"],
    ("round", "oval", "pentagon", "hexagon", "octagon"),
    "The shape of lights out of focus.",
)
flags.DEFINE_enum(
    "depth",
    _DEFAULTS["depth"],
    ("ramp", "flat"),
    "The background of blur: ramp is a ground that recedes from the person's feet, flat a wall.",
)
flags.DEFINE_string(
    "background",
    _DEFAULTS["background"],
    "The background of replace: a colour (white, #3060a0), picture or video.",
)
flags.DEFINE_float(
    "match",
    _DEFAULTS["match"],
    "How much replace adapts the person's light and colour to the background, 0 to 1.",
)
flags.DEFINE_float(
    "despill",
    _DEFAULTS["despill"],
    "How much light of a coloured wall (a green screen) is removed from the person, 0 to 1.",
)
flags.DEFINE_float(
    "choke", _DEFAULTS["choke"], "Move the outline inwards by this number of pixels."
)
flags.DEFINE_float("feather", _DEFAULTS["feather"], "Soften the outline by this number of pixels.")
flags.DEFINE_string(
    "plate",
    _DEFAULTS["plate"],
    "A picture of the scene without people, from a camera that does not move: better outlines.",
)
flags.DEFINE_string(
    "style",
    _DEFAULTS["style"],
    "The style of stylize_...: a shipped style, a mix such as udnie:2,great_wave:1, weights that "
    "stylize.py has trained, or a .tflite file.",
)
flags.DEFINE_integer(
    "paint_size",
    _DEFAULTS["paint_size"],
    "Longer side in pixels at which a style is painted before it is enlarged: a smaller size gives "
    "larger strokes and is faster. 0: 720 for photos, half their size (320 to 480) for videos.",
    0,
)
flags.DEFINE_boolean("linear", _DEFAULTS["linear"], "Mix in linear light.")
flags.DEFINE_enum(
    "refine",
    _DEFAULTS["refine"],
    ("auto", "guided", "learned", "closed_form", "none"),
    "The refinement of the alpha at full size. guided is a guided filter; learned runs a small "
    "network along the outline (alphas of videos take up to three times as long); closed_form "
    "solves for the alpha there, which is slow. auto: learned for photos, guided for videos.",
)
flags.DEFINE_boolean("smooth", _DEFAULTS["smooth"], "Smooth the alphas of videos.")
flags.DEFINE_float(
    "frame_rate", _DEFAULTS["frame_rate"], "Frames per second of numbered pictures.", 0.1, 1000
)

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
    "Threads of LiteRT. Videos use other cores for decoding and encoding, and styles all cores.",
    1,
)
flags.DEFINE_integer(
    "workers",
    0,
    "Processes for the files of a folder, a list or a URL. Existing results are not made again.",
    0,
)
flags.DEFINE_string(
    "cluster",
    "",
    "Run --workers on a Ray cluster: its address, auto for this machine's cluster, or local.",
)
flags.DEFINE_integer("port", _DEFAULTS["port"], "The port of --serve.", 1, 65535)

_PAGE = ("model", "input_range", "threads", "port")
COMPANIONS = {"port": ("serve",)} | {
    name: ("input",) for name in (*_DEFAULTS, "workers", "cluster") if name not in _PAGE
}
_STYLIZE = ("stylize_person", "stylize_background")
EFFECTS = {
    **dict.fromkeys(("aperture", "depth"), ("blur",)),
    "strength": ("blur", *_STYLIZE),
    **dict.fromkeys(("background", "match"), ("replace",)),
    **dict.fromkeys(("style", "paint_size"), _STYLIZE),
}
"""The effects that a flag has a meaning for."""


def check() -> None:
    """Refuses flags that would have no effect.

    Raises:
        UserError: a flag is empty, or needs another flag or another effect.
    """
    cli.refuse_empty(FLAGS)
    if FLAGS.input and FLAGS.serve:
        raise UserError("--serve and --input exclude each other: the page takes its own pictures")
    if FLAGS.virtual_camera and FLAGS["output"].present:
        raise UserError("--virtual_camera and --output exclude each other: leave one out")
    cli.check_companions(COMPANIONS)
    for name, effects in EFFECTS.items():
        if FLAGS[name].present and not set(effects) & set(FLAGS.effect):
            raise UserError(f"--{name} is for --effect={' or '.join(effects)}")
    _check_without_effect()
    if FLAGS["frame_rate"].present:
        from portrait.io.sequences import is_read_as_sequence

        if not is_read_as_sequence(FLAGS.input):
            raise UserError("--frame_rate is for numbered pictures as --input (frames/%05d.png)")


def _check_without_effect() -> None:
    if FLAGS["paint_size"].present and FLAGS.style.endswith(".tflite"):
        raise UserError(f"--paint_size has no effect on {FLAGS.style}, which has a size of its own")
    for name in ("despill", "linear"):
        if FLAGS[name].present and "alpha" in FLAGS.effect:
            raise UserError(f"--{name} has no effect on --effect=alpha: leave it out")
    if FLAGS["smooth"].present and _is_photo():
        raise UserError("--smooth is for videos, and --input is a photo: leave it out")


def _is_photo() -> bool:
    from portrait.effects.bulk_tasks import is_list
    from portrait.io.photos import is_video

    path = Path(FLAGS.input)
    return path.is_file() and not is_list(path) and not is_video(path)
