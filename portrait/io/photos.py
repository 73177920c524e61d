"""Work on photographs, one by one: which they are, and under which names the results go."""

import itertools
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from tqdm import tqdm

from portrait.errors import UserError, warn_skipped
from portrait.io.animations import is_animation
from portrait.io.images import SUFFIXES, PictureError, TooSmallError, list_images, without_made

VIDEO_SUFFIXES = {
    *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".3gp", ".mpg", ".mpeg", ".ts", ".wmv"),
    *(".mts", ".m2ts", ".flv", ".ogv", ".vob", ".mxf", ".3g2", ".m2v", ".asf", ".f4v", ".dv"),
}


def is_video(path: str | Path) -> bool:
    """Whether a file is a video, by its name, or an animated picture."""
    return Path(path).suffix.lower() in VIDEO_SUFFIXES or is_animation(path)


def work_through(
    work: Callable[..., None],
    inputs: Iterable[str | Path],
    output: str | Path,
    kinds: Sequence[str],
    title: str,
) -> list[Path]:
    """Does `work(photo, *paths)` for each photograph; those that cannot be used are left out.

    These are named and counted in one warning.

    Args:
        work: reads the file `photo` and writes to `paths`, one for each of `kinds`.
        inputs: picture files, and folders, see `find_photographs`.
        output: the folder to write into, which may be one of these; made if missing.
        kinds: what is made of a photograph: the files are called `NAME_KIND.png`, see
            `result_paths`.
        title: of the progress bar.

    Returns:
        The files written, photograph by photograph.

    Raises:
        UserError: no photograph could be found or used, or whatever else `work` raises.
    """
    photos = find_photographs(inputs, kinds)
    written: list[Path] = []
    left_out: list[str] = []
    bar = tqdm(photos, desc=title, unit=" photos", disable=len(photos) < 2 or None)
    for photo, paths in zip(bar, result_paths(photos, output, kinds), strict=True):
        try:
            work(photo, *paths)
        except PictureError as error:
            left_out.append(str(error))
        except TooSmallError as error:
            left_out.append(f"{photo}: {error}")
        else:
            written += paths
    if not written:
        raise UserError("no picture could be used: " + "; ".join(left_out[:5]))
    warn_skipped(left_out, "photographs left out ({count}): {names}")
    return written


def find_photographs(inputs: Iterable[str | Path], kinds: Sequence[str] = ()) -> list[Path]:
    """The files to work on, each once, in the order given, folders sorted by name.

    Args:
        inputs: picture files, and folders, see `photographs_in`.
        kinds: see `result_paths`.

    Raises:
        UserError: there are none, or none in one of the folders.
    """
    photos: dict[Path, Path] = {}
    for source in map(Path, inputs):
        found = [source]
        if source.is_dir():
            found = photographs_in(source, kinds)  # first: it tells of a folder it may not read
            clips = sorted(each for each in source.iterdir() if is_video(each))
            warn_skipped(clips, "videos in a folder are left out ({count}): {names}")
            found = [photo for photo in found if photo not in clips]
        for photo in found:
            photos.setdefault(photo.resolve(), photo)
    if not photos:
        raise UserError("no photograph or folder is given")
    return list(photos.values())


def photographs_in(folder: str | Path, kinds: Sequence[str] = ()) -> list[Path]:
    """The pictures directly in a folder, sorted by name, without mattes and earlier results.

    These are `NAME_matte`, and `NAME_KIND` of these kinds, of a NAME beside them.

    Raises:
        UserError: there are none, or the folder is missing.
    """
    photos = without_made(list_images(folder), ("matte", *kinds))
    if not photos:
        raise UserError(f"{folder} holds no photographs (.jpg, .png, .webp, ...)")
    return photos


def result_paths(
    sources: Sequence[Path],
    output: str | Path,
    kinds: Sequence[str],
    suffix_of: Callable[[Path], str] = lambda source: ".png",
) -> list[tuple[Path, ...]]:
    """Where what is made of each file goes: no path twice, and none that is one of the files.

    Args:
        sources: photographs or videos.
        output: the folder.
        kinds: of results: each is called `NAME_KIND`, where NAME is the source's name without its
            suffix; with it where that path is another's.
        suffix_of: from a source to the suffix of its results.

    Returns:
        For each source a path for each kind.

    Raises:
        UserError: `output` is called like a picture or a video.
    """
    folder = Path(output)
    if folder.suffix.lower() in VIDEO_SUFFIXES | SUFFIXES and not folder.is_dir():
        raise UserError(f"{output}: give the name of a folder, into which the results go")
    # Disks of Windows and macOS take A.png for a.png.
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
