"""apply.py on many files, in several processes or on a cluster; see `portrait.effects.bulk`."""

import functools
from collections.abc import Callable
from pathlib import Path

from portrait import cli
from portrait.commands.apply import apply, make_job
from portrait.errors import UserError, printable


def is_bulk(source: str | Path, workers: int, cluster: str) -> bool:
    """Whether `bulk` is to work on a source: it is a list or a URL, or processes are asked for."""
    from portrait.effects.bulk_tasks import is_list
    from portrait.io.remote import is_url

    return bool(workers or cluster or is_list(source) or is_url(source))


def bulk(
    source: str | Path,
    *,
    output: str | Path = "output",
    workers: int = 1,
    cluster: str = "",
    output_alpha: str | Path = "",
    virtual_camera: str = "",
    **settings,
) -> None:
    """Applies effects to many photographs and videos. Results that exist are not made again.

    Args:
        source: a folder, a list (`.txt`) of paths or URLs, or a URL such as s3://bucket/folder.
        output: a folder or a URL.
        workers: the number of processes.
        cluster: the address of a Ray cluster, "auto" or "local"; empty: this machine.
        output_alpha: not supported: write the alphas with --effect=alpha.
        virtual_camera: not supported.
        settings: the other arguments of `apply`.

    Raises:
        UserError: an argument or all files cannot be used.
        KeyboardInterrupt: with a text that says how to continue.
    """
    from portrait.effects import bulk as engine
    from portrait.effects.bulk_tasks import absolute, find_tasks

    if output_alpha or virtual_camera:
        flag = "output_alpha" if output_alpha else "virtual_camera"
        raise UserError(f"--{flag} is not for --workers, lists and URLs")
    settings = cli.defaults(apply) | settings
    used = filter(None, (settings["background"], settings["plate"]))
    tasks = find_tasks(str(source), str(output), settings["effect"], used)
    if cluster:  # its workers run in other folders
        tasks = [engine.Task(*map(absolute, task)) for task in tasks]
        names = ("background", "plate", "style", "model")
        settings |= {name: absolute_if_file(str(settings[name])) for name in names}
    make = functools.partial(_worker, settings)
    make()  # reports wrong arguments once, before the workers start
    try:
        outcome = engine.run(tasks, make, output, max(1, workers), cluster)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("the same command continues") from None
    left_out = f", {outcome.left_out} left out ({output}/{engine.LEFT_OUT})"
    print(
        f"{printable(output)}: {outcome.made} made, {outcome.existing} existed"
        f"{printable(left_out) if outcome.left_out else ''}"
    )
    if not outcome.made + outcome.existing:
        raise UserError(f"none of {len(tasks)} files could be used: {output}/{engine.LEFT_OUT}")


def absolute_if_file(value: str) -> str:
    """A setting with an absolute path if it is a file or a folder, or RUN:STYLE."""
    from portrait.effects.bulk_tasks import absolute

    path, rest = value, ""
    if not Path(path).exists():
        path, colon, style = value.partition(":")
        rest = colon + style
    return absolute(path) + rest if path and Path(path).exists() else value


def _worker(settings: dict) -> Callable[[Path, Path], None]:
    """Loads the network, and returns a function that makes the result of a photo or a video."""
    from portrait.effects import photos, video
    from portrait.io.photos import VIDEO_SUFFIXES

    job = make_job(settings)

    def work(source: Path, target: Path) -> None:
        if target.suffix.lower() in VIDEO_SUFFIXES:
            clips = job.clips, job.network, job.smooth
            options = {"refine": job.refine, "plate": job.plate, "quiet": True}
            video.apply_to_video(source, target, *clips, **options)
        else:
            stills = job.stills, job.network, job.refine
            photos.apply_to_photo(source, target, *stills, plate=job.plate)

    return work
