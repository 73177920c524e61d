"""Processes photographs one by one: finds them, and chooses the names of the results."""

import contextlib
import errno
import itertools
import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path

from tqdm import tqdm

from portrait.cli import chain, told
from portrait.errors import UnfitError, UserError, warn_skipped
from portrait.io.animations import is_animation
from portrait.io.files import WriteError, check_writable
from portrait.io.images import SUFFIXES, PictureError, list_images, without_made
from portrait.io.video_streams import VideoError

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
    taken: Iterable[str | Path] = (),
) -> list[Path]:
    """Calls `work(photo, *paths)` for each photograph, with a progress bar.

    Unusable photographs are skipped, and one warning counts and names them.

    Args:
        work: reads the file `photo` and writes to `paths`, one for each of `kinds`.
        inputs: picture files, and folders, see `find_photographs`.
        output: the folder to write into; it may be an input folder, and is made if missing.
        kinds: the kinds of results: files are called `NAME_KIND.png`, see `result_paths`.
        title: the title of the progress bar.
        taken: see `result_paths`.

    Returns:
        The files written, photograph by photograph.

    Raises:
        UnusableError: no photograph could be used.
        UserError: no photograph could be found; `output` cannot be written into; other exceptions
            of `work`.
    """
    check_writable(output)
    photos = find_photographs(inputs, kinds)
    written: list[Path] = []
    left_out: list[str] = []
    bar = tqdm(photos, desc=title, unit=" photos", disable=len(photos) < 2 or None)
    for photo, paths in zip(bar, result_paths(photos, output, kinds, taken=taken), strict=True):
        try:
            work(photo, *paths)
        except Exception as error:
            if not (reason := why_left_out(error, photo)):
                raise
            left_out.append(reason)
        else:
            written += paths
    if not written:
        raise UnusableError("no picture could be used: " + "; ".join(left_out[:5]))
    warn_skipped(left_out, "photographs left out ({count}): {names}")
    return written


def why_left_out(error: Exception, source: str | Path) -> str:
    """The reason to leave out one of several files, with its name; empty if others would fail, too.

    Others need less memory, or have shorter names.
    """
    if isinstance(error, PictureError | VideoError):
        return str(error)
    if isinstance(error, WriteError):
        long = any(getattr(each, "errno", 0) == errno.ENAMETOOLONG for each in chain(error))
        return str(error) if long else ""
    if isinstance(error, UserError):
        reason = str(error) if isinstance(error, UnfitError) else ""
    else:
        reason = told(error)
    return f"{source}: {reason}" if reason else ""


@contextlib.contextmanager
def leaving_out(source: str | Path, reasons: list[str]) -> Iterator[None]:
    """Adds the reason to a list if the block fails, unless others than `source` would fail, too."""
    try:
        yield
    except Exception as error:
        if not (reason := why_left_out(error, source)):
            raise
        reasons.append(reason)


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
    a NAME. A message counts the results, because a photograph may have such a name.

    Raises:
        UserError: there are neither, or the folder is missing.
    """
    images = list_images(folder)
    photos = without_made(images, ("matte", *kinds))
    moving = sorted(
        each
        for each in Path(folder).iterdir()
        if not each.name.startswith(".") and each.is_file() and is_video(each)
    )
    apart = set(moving)
    photos = [photo for photo in photos if photo not in apart]
    clips = without_made(moving, ("matte", *kinds))
    if not photos and not clips:
        raise UserError(f"{folder} {_NO_PHOTOS} and no videos")
    tell_results((*without_made(images), *without_made(moving)), {*photos, *clips})
    return photos, clips


def tell_results(found: Iterable[Path], used: Collection[Path]) -> None:
    """Logs how many files that were found are not used, because they have names of results."""
    results = list(dict.fromkeys(each for each in found if each not in used))
    if results:
        log.info(
            "left out as earlier results by their names (%d): %s%s",
            len(results),
            results[0].name,
            ", ..." if results[1:] else "",
        )


def photographs_in(folder: str | Path, kinds: Sequence[str] = ()) -> list[Path]:
    """Lists the photographs directly in a folder, sorted by name; see `files_in`.

    Raises:
        UserError: there are no photographs, or the folder is missing.
    """
    images = list_images(folder)
    photos = without_made(images, ("matte", *kinds))
    if not photos:
        raise UserError(f"{folder} {_NO_PHOTOS}")
    tell_results(without_made(images), set(photos))
    return photos


def check_folder(output: str | Path) -> None:
    """Raises UserError if a folder for results has the name of a picture or a video."""
    folder = Path(output)
    if folder.suffix.lower() in VIDEO_SUFFIXES | SUFFIXES and not folder.is_dir():
        raise UserError(f"{output}: name a folder for the results, not a file")


def result_paths(
    sources: Sequence[Path],
    output: str | Path,
    kinds: Sequence[str],
    suffix_of: Callable[[Path], str] = lambda source: ".png",
    taken: Iterable[str | Path] = (),
) -> list[tuple[Path, ...]]:
    """Chooses distinct paths for results that overwrite none of the sources.

    Args:
        sources: photographs or videos.
        output: the folder of the results.
        kinds: the kinds of results. A result is called `NAME_KIND`, where NAME is the source's name
            without its suffix, or with the suffix if that path is already taken.
        suffix_of: from a source to the suffix of its results.
        taken: other files that may not be overwritten.

    Returns:
        For each source, one path for each kind.

    Raises:
        UserError: `output` has the name of a picture or a video.
    """
    check_folder(output)
    folder = Path(output)
    # On Windows and macOS, A.png and a.png are the same file.
    taken = {str(Path(each).resolve()).casefold() for each in (*sources, *taken)}
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
