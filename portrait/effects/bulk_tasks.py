"""Finds the photographs and videos for `bulk`, and names their results."""

import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath

from portrait.effects.bulk import Task
from portrait.effects.video import video_suffix
from portrait.errors import UserError
from portrait.io.files import read_list
from portrait.io.images import SUFFIXES, without_made
from portrait.io.photos import VIDEO_SUFFIXES, files_in, is_video
from portrait.io.remote import fetched, is_url, list_files, name_of


def is_list(source: str | os.PathLike) -> bool:
    """Whether a source is a text file with a path or a URL on each line."""
    return Path(source).suffix.lower() == ".txt"


def find_tasks(source: str, output: str, effect: Sequence[str]) -> list[Task]:
    """Lists the photographs and videos of a source with their results.

    The results of a folder are `OUTPUT/NAME_EFFECT.png` (`.mp4` for videos), as apply.py calls them
    without workers. Results of a list are in sub-folders of `output` as the sources are written
    there: `a/b/NAME.jpg` gives `OUTPUT/a/b/NAME_EFFECT.png`.

    Args:
        source: a folder, a URL of a folder, or a list: the path or URL of a `.txt` file.
        output: a folder or a URL.
        effect: the names of the effects.

    Raises:
        UserError: there is nothing to do, or a folder or list cannot be read.
    """
    output, kind, moving = output.rstrip("/"), "-".join(effect), video_suffix(effect)
    if is_list(source):
        sources = list(_in_list(source))
        folders: Iterable[str] = map(_folder_of, sources)
        sources = [each if is_url(each) else os.path.abspath(each) for each in sources]  # noqa: PTH100
    else:
        sources = _in_folder(source, output, kind)
        folders = itertools.repeat("")
    if not sources:
        raise UserError(f"{source} contains no photographs and no videos")
    tasks, taken = [], set()
    for each, folder in zip(sources, folders, strict=False):
        name = PurePosixPath(each).name
        suffix = moving if _moves(each) else ".png"
        numbered = (f"{name}-{number}" for number in itertools.count(2))
        for base in itertools.chain([PurePosixPath(name).stem, name], numbered):
            target = f"{output}/{folder}{base}_{kind}{suffix}"
            if target.casefold() not in taken:
                break
        taken.add(target.casefold())
        tasks.append(Task(each, target))
    return tasks


def _moves(source: str) -> bool:
    """Whether a source is a video; for URLs, only the name is considered."""
    return (
        PurePosixPath(source).suffix.lower() in VIDEO_SUFFIXES
        if is_url(source)
        else is_video(source)
    )


def _in_folder(source: str, output: str, kind: str) -> list[str]:
    """Photographs, then videos, each in the order of their names."""
    if is_url(source):
        files = list_files(source)
        wanted = SUFFIXES | VIDEO_SUFFIXES
        paths = [PurePosixPath(each) for each in files]
        used = set(
            without_made([path for path in paths if path.suffix.lower() in wanted], ("matte", kind))
        )
        pairs = zip(files, paths, strict=True)
        return sorted((file for file, path in pairs if path in used), key=_moves)
    folder = Path(source)
    if not folder.is_dir():
        raise UserError(f"{source}: several workers need a folder, a list (.txt) or a URL")
    if folder.resolve() == Path(output).resolve():
        raise UserError("--output and --input must be different folders")
    photos, clips = files_in(folder, (kind, "alpha"))
    return [str(each) for each in (*photos, *clips)]


def _in_list(source: str) -> Iterator[str]:
    """The lines of a list, each once."""
    with fetched(source) as file:
        lines = read_list(file, source).splitlines()
    yield from dict.fromkeys(line.strip() for line in lines if line.strip())


def _folder_of(written: str) -> str:
    """The folder of a source as it is written in a list, without a root, ending in a slash."""
    path = name_of(written) if is_url(written) else PurePosixPath(os.path.normpath(written))
    parts = [part for part in path.parent.parts if part not in ("/", "..", ".")]
    return "".join(f"{part}/" for part in parts)
