"""Finds the photographs and videos for `bulk`, and names their results."""

import hashlib
import itertools
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath

from portrait.effects.bulk import Task
from portrait.effects.video import video_suffix
from portrait.errors import UserError
from portrait.io.files import read_list
from portrait.io.images import SUFFIXES, without_made
from portrait.io.photos import VIDEO_SUFFIXES, check_folder, files_in, is_video, tell_results
from portrait.io.remote import fetched, is_url, list_files, name_of


def is_list(source: str | os.PathLike) -> bool:
    """Whether a source is a text file with a path or a URL on each line."""
    return _name(str(source)).suffix.lower() == ".txt"


def find_tasks(
    source: str, output: str, effect: Sequence[str], taken: Iterable[str] = ()
) -> list[Task]:
    """Lists the photographs and videos of a source with their results.

    The results of a folder are `OUTPUT/NAME_EFFECT.png` (`.mp4` for videos), as apply.py calls them
    without workers. Results of a list are in sub-folders of `output` as the sources are written
    there: `a/b/NAME.jpg` gives `OUTPUT/a/b/NAME_EFFECT.png`. If several sources would have the same
    result, none of them has it, because an existing one may be that of each of them: they keep
    their suffixes (`NAME.jpg_EFFECT.png`), and after that get different numbers.

    Args:
        source: a folder, a URL of a folder, or a list: the path or URL of a `.txt` file.
        output: a folder or a URL; not empty.
        effect: the names of the effects.
        taken: files that cannot be results; neither can the sources.

    Raises:
        UserError: there is nothing to do, a folder or list cannot be read, or `output` is called
            like a picture or a video.
    """
    if not output:
        raise UserError("the output is empty: name a folder or a URL")
    if not is_url(output):
        check_folder(output)
    output, kind, moving = output.rstrip("/"), "-".join(effect), video_suffix(effect)
    if is_list(source):
        sources = list(_in_list(source))
        folders: Iterable[str] = map(_folder_of, sources)
        sources = [absolute(each) for each in sources]
    else:
        sources = _in_folder(source, output, kind)
        folders = itertools.repeat("")
    if not sources:
        raise UserError(f"{source} contains no photographs and no videos")
    named: dict[tuple[str, str], str] = {}  # each once
    for each, folder in zip(sources, folders, strict=False):
        named.setdefault((each, folder), f"_{kind}{moving if _moves(each) else '.png'}")

    def targets(source: str, folder: str, ending: str) -> Iterator[str]:
        name = _name(source)
        for base in dict.fromkeys([name.stem, name.name]):
            yield f"{output}/{folder}{base}{ending}"

    wanted = Counter(
        target.casefold() for each, ending in named.items() for target in targets(*each, ending)
    )
    used = {absolute(each).casefold() for each in (*taken, *sources)}
    tasks = []
    for (each, folder), ending in named.items():
        for target in targets(each, folder, ending):
            if wanted[target.casefold()] == 1 and absolute(target).casefold() not in used:
                break
        else:  # the number depends on the source alone, and not on the others
            number = hashlib.sha256(os.fsencode(each)).hexdigest()[:12]
            target = f"{output}/{folder}{_name(each).name}-{number}{ending}"
        tasks.append(Task(each, target))
    return tasks


def _name(source: str) -> PurePosixPath:
    return name_of(source) if is_url(source) else PurePosixPath(source)


def absolute(path: str) -> str:
    """An absolute path, without following links; a URL stays as it is."""
    return path if is_url(path) else os.path.abspath(path)  # noqa: PTH100


def _moves(source: str) -> bool:
    """Whether a source is a video; for URLs, only the name is considered."""
    return _name(source).suffix.lower() in VIDEO_SUFFIXES if is_url(source) else is_video(source)


def _in_folder(source: str, output: str, kind: str) -> list[str]:
    """Photographs, then videos, each in the order of their names."""
    if is_url(source):
        found: list[str] = []
        files = list_files(source)
        for suffixes in (SUFFIXES, VIDEO_SUFFIXES):
            names = [name for name in map(name_of, files) if name.suffix.lower() in suffixes]
            used = set(without_made(names, ("matte", kind, "alpha")))
            tell_results(without_made(names), used)
            found += [file for file in files if name_of(file) in used]
        return found
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
