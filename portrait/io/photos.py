"""Processes photographs one by one: finds them, and chooses the names of the results."""

import contextlib
import itertools
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from tqdm import tqdm

from portrait.errors import UserError, warn_skipped
from portrait.io.animations import is_animation
from portrait.io.images import SUFFIXES, PictureError, TooSmallError, list_images, without_made

log = logging.getLogger(__name__)

VIDEO_SUFFIXES = {
    *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".3gp", ".mpg", ".mpeg", ".ts", ".wmv"),
    *(".mts", ".m2ts", ".flv", ".ogv", ".vob", ".mxf", ".3g2", ".m2v", ".asf", ".f4v", ".dv"),
}
_NO_PHOTOS = "contains no photographs (.jpg, .png, .webp, ...)"


class UnusableError(UserError):
    """None of several photographs or videos can be used; the message names some, with reasons."""


def is_video(path: str | Path) -> bool:
    """Whether a file is a video (by its suffix) or an animated picture (by its contents)."""
    return Path(path).suffix.lower() in VIDEO_SUFFIXES or is_animation(path)


def work_through(
    work: Callable[..., None],
    inputs: Iterable[str | Path],
    output: str | Path,
    kinds: Sequence[str],
    title: str,
) -> list[Path]:
    """Calls `work(photo, *paths)` for each photograph, with a progress bar.

    Unusable photographs are skipped, and one warning counts and names them.

    Args:
        work: reads the file `photo` and writes to `paths`, one for each of `kinds`.
        inputs: picture files, and folders, see `find_photographs`.
        output: the folder to write into; it may be an input folder, and is made if missing.
        kinds: the kinds of results: files are called `NAME_KIND.png`, see `result_paths`.
        title: the title of the progress bar.

    Returns:
        The files written, photograph by photograph.

    Raises:
        UnusableError: no photograph could be used.
        UserError: no photograph could be found; other exceptions of `work`.
    """
    photos = find_photographs(inputs, kinds)
    written: list[Path] = []
    left_out: list[str] = []
    bar = tqdm(photos, desc=title, unit=" photos", disable=len(photos) < 2 or None)
    for photo, paths in zip(bar, result_paths(photos, output, kinds), strict=True):
        try:
            work(photo, *paths)
        except (PictureError, TooSmallError) as error:
            left_out.append(named(error, photo))
        else:
            written += paths
    if not written:
        raise UnusableError("no picture could be used: " + "; ".join(left_out[:5]))
    warn_skipped(left_out, "photographs left out ({count}): {names}")
    return written


def named(error: UserError, source: str | Path) -> str:
    """The message of an error about a file, with the file's name."""
    return f"{source}: {error}" if isinstance(error, TooSmallError) else str(error)


@contextlib.contextmanager
def without_unusable(unusable: list[str]) -> Iterator[None]:
    """Adds the message of an `UnusableError` to a list, so that the work on other files goes on."""
    try:
        yield
    except UnusableError as error:
        unusable.append(str(error))


def tell_unusable(unusable: Sequence[str], written: Sequence[Path]) -> None:
    """Warns of the messages of `without_unusable`, or raises them if no file was written.

    Raises:
        UnusableError: nothing was written.
    """
    if unusable and not written:
        raise UnusableError("; ".join(unusable))
    for each in unusable:
        log.warning("%s", each)


def find_photographs(inputs: Iterable[str | Path], kinds: Sequence[str] = ()) -> list[Path]:
    """Lists photographs without duplicates, in the order of the inputs; folders sorted by name.

    Args:
        inputs: picture files, and folders, see `files_in`; their videos are skipped with a warning.
        kinds: see `result_paths`.

    Raises:
        UserError: there are no photographs, or none in one of the folders.
    """
    photos: dict[Path, Path] = {}
    for source in map(Path, inputs):
        found = [source]
        if source.is_dir():
            found, clips = files_in(source, kinds)
            warn_skipped(clips, "videos in a folder are skipped ({count}): {names}")
            if not found:
                raise UserError(f"{source} {_NO_PHOTOS}")
        for photo in found:
            photos.setdefault(photo.resolve(), photo)
    if not photos:
        raise UserError("name a photograph or a folder")
    return list(photos.values())


def files_in(folder: str | Path, kinds: Sequence[str] = ()) -> tuple[list[Path], list[Path]]:
    """Lists the photographs and the videos directly in a folder, both sorted by name.

    Hidden files, mattes and earlier results are left out: `NAME_matte` and `NAME_KIND` if there is
    a NAME.

    Raises:
        UserError: there are neither, or the folder is missing.
    """
    photos = without_made(list_images(folder), ("matte", *kinds))
    clips = sorted(
        each
        for each in Path(folder).iterdir()
        if not each.name.startswith(".") and each.is_file() and is_video(each)
    )
    moving = set(clips)
    photos = [photo for photo in photos if photo not in moving]
    if not photos and not clips:
        raise UserError(f"{folder} {_NO_PHOTOS} and no videos")
    return photos, clips


def photographs_in(folder: str | Path, kinds: Sequence[str] = ()) -> list[Path]:
    """Lists the photographs directly in a folder, sorted by name; see `files_in`.

    Raises:
        UserError: there are no photographs, or the folder is missing.
    """
    photos = without_made(list_images(folder), ("matte", *kinds))
    if not photos:
        raise UserError(f"{folder} {_NO_PHOTOS}")
    return photos


def result_paths(
    sources: Sequence[Path],
    output: str | Path,
    kinds: Sequence[str],
    suffix_of: Callable[[Path], str] = lambda source: ".png",
) -> list[tuple[Path, ...]]:
    """Chooses distinct paths for results that overwrite none of the sources.

    Args:
        sources: photographs or videos.
        output: the folder of the results.
        kinds: the kinds of results. A result is called `NAME_KIND`, where NAME is the source's name
            without its suffix, or with the suffix if that path is already taken.
        suffix_of: from a source to the suffix of its results.

    Returns:
        For each source, one path for each kind.

    Raises:
        UserError: `output` has the name of a picture or a video.
    """
    folder = Path(output)
    if folder.suffix.lower() in VIDEO_SUFFIXES | SUFFIXES and not folder.is_dir():
        raise UserError(f"{output}: name a folder for the results, not a file")
    # On Windows and macOS, A.png and a.png are the same file.
    taken = {str(source.resolve()).casefold() for source in sources}
    results = []
    for source in sources:
        numbered = (f"{source.name}-{number}" for number in itertools.count(2))
        for name in itertools.chain([source.stem, source.name], numbered):
            paths = tuple(folder / f"{name}_{kind}{suffix_of(source)}" for kind in kinds)
            keys = {str(path.resolve()).casefold() for path in paths}
            if not keys & taken:
                break
        taken |= keys
        results.append(paths)
    return results
