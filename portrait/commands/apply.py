"""The functions behind apply.py: `apply` and `serve`, with its flags as their arguments.

Modules that take long to import are imported in the functions, because the help reads the defaults
of the arguments.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from portrait.errors import UserError, printable
from portrait.io.files import refuse_overwriting
from portrait.models.registry import DEFAULT

if TYPE_CHECKING:
    from portrait.effects.catalogue import Effects
    from portrait.inference.network import Network
    from portrait.matting.plate import Plate


def serve(
    *, model: str = DEFAULT, input_range: str = "", threads: int = 1, port: int = 7860
) -> None:
    """Serves a local web page until Ctrl-C; see `effects.page.serve`."""
    from portrait.effects import page
    from portrait.inference.network import check_input_range, load

    network = load(model, input_range=input_range, threads=threads)
    check_input_range(network, input_range)
    page.serve(network, port)


def apply(
    source: str | Path,
    *,
    output: str | Path = "output",
    output_alpha: str | Path = "",
    virtual_camera: str = "",
    effect: Sequence[str] = ("blur",),
    strength: float | None = None,
    aperture: str = "round",
    depth: str = "ramp",
    background: str = "",
    match: float = 0.0,
    despill: float = 0.0,
    choke: float = 0.0,
    feather: float = 0.0,
    plate: str = "",
    style: str = "",
    paint_size: int = 0,
    linear: bool = False,
    refine: str = "auto",
    smooth: bool = True,
    frame_rate: float = 25.0,
    model: str = DEFAULT,
    input_range: str = "",
    threads: int = 1,
) -> list[Path]:
    """Applies effects to a photo, a video, numbered pictures, a folder of files, or a webcam.

    Prints the names of the files that it writes. All arguments but `source` are flags of apply.py,
    which `python apply.py --help` explains.

    Args:
        source: a path, the pattern of numbered pictures, or the number of a webcam.

    Returns:
        The files written.

    Raises:
        UserError: an argument or a file cannot be used.
        KeyboardInterrupt: Ctrl-C ended a video early, which leaves a playable file.
    """
    given = dict(locals())
    from portrait.io.sequences import is_sequence, refuse_overlap

    path = Path(source)
    kind = _kind(source)
    moving = kind in ("webcam", "video")
    if virtual_camera and not moving:
        raise UserError("--virtual_camera shows a webcam or a video: give one as --input")
    if output_alpha and list(effect) == ["alpha"]:
        raise UserError("--output_alpha: --effect=alpha writes the alpha already")
    for flag, each in (("output", output), ("output_alpha", output_alpha)):
        if kind == "photo" and is_sequence(each) and not Path(each).is_dir():
            raise UserError(f"--{flag}={each} names numbered pictures, but a photo makes one file")
    job = make_job(given)
    if kind == "folder":
        used = list(filter(None, (background, plate)))
        return job.folder(path, Path(output), output_alpha, used)
    name = f"webcam{source}" if kind == "webcam" else _stem(path)
    target = _target(Path(output), name, "-".join(effect), _suffix(effect, moving))
    alpha = None
    if output_alpha:
        alpha = _target(Path(output_alpha), name, "alpha", _suffix((), moving))
    refuse = refuse_overlap if moving else refuse_overwriting
    for made in filter(None, (target, alpha)):
        refuse(made, *filter(None, (background, plate)))
    return job.one(source, kind, target, alpha, virtual_camera)


def make_job(settings: Mapping) -> "Job":
    """Loads the network and the effects.

    Args:
        settings: the arguments of `apply` by name.

    Raises:
        UserError: an argument or a file cannot be used.
    """
    from portrait.inference.network import check_input_range, load

    scene = _plate(settings["plate"])
    stills, clips = _effects(settings, scene)
    network = load(
        settings["model"], input_range=settings["input_range"], threads=settings["threads"]
    )
    check_input_range(network, settings["input_range"])
    options = (settings[name] for name in ("refine", "smooth", "frame_rate"))
    return Job(stills, clips, network, *options, scene)


@dataclass(frozen=True)
class Job:
    """The settings of a run: effects for photos and for videos, the network, and flags."""

    stills: "Effects"
    clips: "Effects"
    network: "Network"
    refine: str
    smooth: bool
    frame_rate: float
    plate: "Plate | None"

    def one(
        self, source: str | Path, kind: str, target: Path, alpha: Path | None, camera: str
    ) -> list[Path]:
        """Processes a photo, a video or a webcam."""
        from portrait.effects import photos, video
        from portrait.io.virtual_camera import Device

        options = {"refine": self.refine, "plate": self.plate, "alpha_target": alpha}
        work = self.clips, self.network, self.smooth
        where, complete = Device(camera) if camera else target, True
        if kind == "photo":
            photos.apply_to_photo(source, target, self.stills, self.network, **options)
        elif kind == "webcam":
            video.record_webcam(int(source), where, *work, **options)
        else:
            options["rate"] = self.frame_rate
            complete = video.apply_to_video(source, where, *work, **options).complete
        written = [] if camera else [target]
        written += [alpha] if alpha else []
        for each in written:
            print(printable(each))
        if not complete:
            raise KeyboardInterrupt
        return written

    def folder(
        self, source: Path, output: Path, output_alpha: str | Path, taken: Sequence[str]
    ) -> list[Path]:
        """Processes the photos and the videos of a folder, without overwriting `taken`."""
        from portrait.effects import photos, video
        from portrait.io.photos import check_folder, files_in, tell_unusable, without_unusable

        for flag, folder in (("output", output), ("output_alpha", output_alpha)):
            if folder and source.resolve() == Path(folder).resolve():
                raise UserError(f"--{flag} and --input must be different folders")
            if folder:
                check_folder(folder)
        kinds = ("-".join(self.stills.names), "alpha")
        pictures, clips = files_in(source, kinds)
        options = {"refine": self.refine, "plate": self.plate}
        options |= {"alpha_output": output_alpha or None, "taken": [*taken, *pictures, *clips]}
        written: list[Path] = []
        unusable: list[str] = []
        if pictures:
            work = self.stills, self.network
            with without_unusable(unusable):
                written += photos.apply_to_photos(pictures, output, *work, **options)
                print("\n".join(map(printable, written)), flush=True)
        if clips:
            work = self.clips, self.network, self.smooth
            with without_unusable(unusable):
                for each in video.apply_to_videos(clips, output, *work, **options):
                    written.append(each)
                    print(printable(each), flush=True)
        tell_unusable(unusable, written)
        return written


def _kind(source: str | Path) -> str:
    """ "photo", "video", "webcam" or "folder"."""
    from portrait.io.photos import is_video
    from portrait.io.sequences import is_read_as_sequence

    path = Path(source)
    if str(source).isdecimal() and not path.exists():
        return "webcam"
    if is_read_as_sequence(path):
        return "video"
    if not path.exists():
        raise UserError(f"there is no {path}")
    if path.is_dir():
        return "folder"
    return "video" if is_video(path) else "photo"


def _plate(path: str) -> "Plate | None":
    if not path:
        return None
    from portrait.io.images import read_image
    from portrait.matting.plate import Plate

    return Plate(read_image(path), f"--plate={path}")


def _effects(given: Mapping, plate: "Plate | None") -> "tuple[Effects, Effects]":
    """Makes the effects for photos and for videos from the arguments of `apply`."""
    from portrait.effects import backgrounds, catalogue, styles
    from portrait.matting.foreground import blur_fusion, multilevel

    strength = {} if given["strength"] is None else {"strength": given["strength"]}
    style = None
    if given["style"]:
        # Painting is most of the work for a frame, so it takes all cores.
        threads = max(given["threads"], os.cpu_count() or 1)
        style = styles.load(given["style"], threads, given["paint_size"], **strength)
    loaded = {
        "background": backgrounds.load(given["background"]) if given["background"] else None,
        "style": style,
        **strength,
    }
    # Settings and arguments have the same names, so a new one needs no line here.
    names = {field.name for field in fields(catalogue.Settings)} & set(given) - {"strength"}
    settings = catalogue.Settings(**{name: given[name] for name in names} | loaded)
    estimates = [plate.estimator(each) if plate else each for each in (multilevel, blur_fusion)]
    effect = given["effect"]
    return tuple(catalogue.Effects(effect, replace(settings, estimate=each)) for each in estimates)


def _stem(path: Path) -> str:
    """The name of a source for its results; for numbered pictures, the name of their folder."""
    from portrait.io.sequences import is_read_as_sequence

    return path.resolve().parent.name if is_read_as_sequence(path) else path.stem


def _suffix(effect: Sequence[str], moving: bool) -> str:
    if not moving:
        return ".png"
    from portrait.effects.video import video_suffix

    return video_suffix(effect)


def _target(output: Path, name: str, label: str, suffix: str) -> Path:
    """The file or sequence `output`, or NAME_LABEL in the folder `output`."""
    if output.suffix and not output.is_dir():
        return output
    return output / f"{name}_{label}{suffix}"
