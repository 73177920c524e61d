"""Applies a trained network: cut-outs, portrait blur, new backgrounds, styles; photos and video.

  python apply.py --input=photo.jpg                                    portrait blur
  python apply.py --input=photo.jpg --effect=cutout --output=me.png    a transparent picture
  python apply.py --input=clip.mp4 --effect=replace --background=beach.jpg --output=beach.mp4
  python apply.py --input=FOLDER --effect=grayscale_background,blur    several, in order
  python apply.py --input=0 --output=me.mp4                            a webcam, until Ctrl-C
  python apply.py --serve=True                                         a page in the browser

Effects: alpha, cutout, blur, replace, stylize_person, stylize_background, grayscale_background,
side_by_side.
"""

from pathlib import Path

from absl import flags

from portrait import cli
from portrait.errors import UserError
from portrait.io.files import refuse_overwriting

FLAGS = flags.FLAGS
VERBS = ("input", "serve")

# What to do.
flags.DEFINE_string("input", "", "A photo, a folder of photos, a video, or a webcam's number.")
flags.DEFINE_boolean("serve", False, "Show a page in the browser: upload, webcam, effects.")

flags.DEFINE_string(
    "output",
    "output",
    "The file to write, or a folder for NAME_EFFECT.png (.mp4 for videos). A transparent video is "
    "a .webm or .mov.",
)
flags.DEFINE_list("effect", ["blur"], "One or more, done in this order; see above.")
flags.DEFINE_float("strength", 0.5, "Of blur, 0 to 1.")
flags.DEFINE_string("background", "", "For replace: a colour (white, #3060a0), picture or video.")
flags.DEFINE_string(
    "style",
    "",
    "For stylize_...: a shipped style or a mix such as udnie:2,great_wave:1, weights that "
    "stylize.py trained, or a .tflite file.",
)
flags.DEFINE_boolean("linear", False, "Mix and blur in linear light.")
flags.DEFINE_enum(
    "refine",
    "guided",
    ("guided", "closed_form", "none"),
    "How the alpha gets the photo's full size. closed_form: best for hair, slow, photos only.",
)
flags.DEFINE_boolean("smooth", True, "Videos: take flicker out of the alphas.")

# What with.
flags.DEFINE_string(
    "model",
    "lite_unet_big_288x224",
    "A network in trained_models/, a .tflite or .weights.h5 file, or the folder of a run.",
)
flags.DEFINE_string(
    "input_range",
    "",
    "0..1, -1..1 or 0..255: pixels that a .tflite file takes whose metadata does not say.",
)
flags.DEFINE_integer(
    "threads", 1, "Of TFLite. Videos use other cores for decoding and encoding.", 1
)
flags.DEFINE_integer("port", 7860, "Of --serve.", 1, 65535)


def dispatch() -> None:
    """Does what the flags say."""
    _serve() if FLAGS.serve else _apply()


def _network():
    from portrait.inference import network

    return network.load(FLAGS.model, input_range=FLAGS.input_range, threads=FLAGS.threads)


def _serve() -> None:
    from portrait.effects.page import serve

    serve(_network(), FLAGS.port)


def _apply() -> None:
    from portrait.effects import photos, video
    from portrait.io import photos as photographs

    source = Path(FLAGS.input)
    webcam = FLAGS.input.isdecimal() and not source.exists()
    if not webcam and not source.exists():
        raise UserError(f"there is no {source}")
    is_video = webcam or photographs.is_video(source)
    if is_video and FLAGS.refine != "guided":
        raise UserError(f"--refine={FLAGS.refine} is for photos: videos take guided")
    effects, network = _effects(is_video), _network()
    if source.is_dir():
        written = photos.apply_to_folder(source, FLAGS.output, effects, network, FLAGS.refine)
        print("\n".join(map(str, written)))
        return
    target = _target(f"webcam{FLAGS.input}" if webcam else source.stem, is_video)
    if FLAGS.background:
        refuse_overwriting(target, FLAGS.background)
    complete = True
    if webcam:
        video.record_webcam(int(FLAGS.input), target, effects, network, FLAGS.smooth)
    elif is_video:
        outcome = video.apply_to_video(source, target, effects, network, FLAGS.smooth)
        complete = outcome.complete
    else:
        photos.apply_to_photo(source, target, effects, network, FLAGS.refine)
    print(target)
    if not complete:
        raise KeyboardInterrupt


def _effects(is_video: bool):
    """The effects and what they need, as the flags say."""
    from portrait.effects import backgrounds, catalogue, styles
    from portrait.matting.foreground import blur_fusion, multilevel

    settings = catalogue.Settings(
        strength=FLAGS.strength,
        background=backgrounds.load(FLAGS.background) if FLAGS.background else None,
        style=styles.load(FLAGS.style, FLAGS.threads) if FLAGS.style else None,
        linear=FLAGS.linear,
        estimate=blur_fusion if is_video else multilevel,
    )
    return catalogue.Effects(FLAGS.effect, settings)


def _target(name: str, is_video: bool) -> Path:
    """The file that --output names, or NAME_EFFECT in the folder that it names."""
    output = Path(FLAGS.output)
    if output.suffix and not output.is_dir():
        return output
    suffix = ".png" if not is_video else ".webm" if "cutout" in FLAGS.effect else ".mp4"
    return output / f"{name}_{'-'.join(FLAGS.effect)}{suffix}"


if __name__ == "__main__":
    cli.run(dispatch, VERBS)
