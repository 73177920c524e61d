"""The functions behind apply.py: `apply` and `serve`, with its flags as their arguments.

Modules that take long to import are imported in the functions, because the help reads the defaults
of the arguments.
"""

from collections.abc import Sequence
from pathlib import Path

from portrait.errors import UserError, printable
from portrait.io.files import refuse_overwriting
from portrait.models.registry import DEFAULT


def serve(
    *, model: str = DEFAULT, input_range: str = "", threads: int = 1, port: int = 7860
) -> None:
    """Serves a local web page until Ctrl-C; see `effects.page.serve`."""
    from portrait.effects import page
    from portrait.inference.network import load

    page.serve(load(model, input_range=input_range, threads=threads), port)


def apply(
    source: str | Path,
    *,
    output: str | Path = "output",
    effect: Sequence[str] = ("blur",),
    strength: float = 0.5,
    background: str = "",
    style: str = "",
    linear: bool = False,
    refine: str = "guided",
    smooth: bool = True,
    model: str = DEFAULT,
    input_range: str = "",
    threads: int = 1,
) -> list[Path]:
    """Applies effects to a photo, a folder of photos, a video or a webcam.

    Prints the names of the files that it writes. All arguments but `source` are flags of apply.py,
    which `python apply.py --help` explains.

    Args:
        source: a path, or the number of a webcam.

    Returns:
        The files written.

    Raises:
        UserError: an argument or a file cannot be used.
        KeyboardInterrupt: Ctrl-C ended a video early, which leaves a playable file.
    """
    from portrait.effects import photos, video
    from portrait.inference.network import load
    from portrait.io.photos import is_video

    path = Path(source)
    webcam = str(source).isdecimal() and not path.exists()
    if not webcam and not path.exists():
        raise UserError(f"there is no {path}")
    moving = webcam or is_video(path)
    if moving and refine != "guided":
        raise UserError(f"--refine={refine} is for photos: videos take guided")
    effects = _effects(effect, strength, background, style, linear, threads, moving)
    network = load(model, input_range=input_range, threads=threads)
    if path.is_dir():
        written = photos.apply_to_folder(path, output, effects, network, refine)
        print("\n".join(map(printable, written)))
        return written
    target = _target(Path(output), f"webcam{source}" if webcam else path.stem, effect, moving)
    if background:
        refuse_overwriting(target, background)
    complete = True
    if webcam:
        video.record_webcam(int(source), target, effects, network, smooth)
    elif moving:
        complete = video.apply_to_video(path, target, effects, network, smooth).complete
    else:
        photos.apply_to_photo(path, target, effects, network, refine)
    print(printable(target))
    if not complete:
        raise KeyboardInterrupt
    return [target]


def _effects(effect, strength, background, style, linear, threads, moving):
    """Makes the effects with their settings."""
    from portrait.effects import backgrounds, catalogue, styles
    from portrait.matting.foreground import blur_fusion, multilevel

    settings = catalogue.Settings(
        strength=strength,
        background=backgrounds.load(background) if background else None,
        style=styles.load(style, threads) if style else None,
        linear=linear,
        estimate=blur_fusion if moving else multilevel,
    )
    return catalogue.Effects(effect, settings)


def _target(output: Path, name: str, effect: Sequence[str], moving: bool) -> Path:
    """The file `output`, or NAME_EFFECT in the folder `output`."""
    if output.suffix and not output.is_dir():
        return output
    suffix = ".png" if not moving else ".webm" if "cutout" in effect else ".mp4"
    return output / f"{name}_{'-'.join(effect)}{suffix}"
