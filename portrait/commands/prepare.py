"""The functions behind prepare_data.py, with its flags as their arguments.

Modules that take long to import are imported in the functions, because the help reads the defaults
of the arguments.
"""

import filecmp
import itertools
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from portrait.commands.wanted import wanted_pairs
from portrait.errors import UserError, printable
from portrait.io.files import replacing
from portrait.models.registry import DEFAULT, parse_input_shape

_ROWS = 24  # rows of a sheet of suspects


def prepare(
    data: Sequence[str],
    output: str | Path,
    *,
    exclude: str = "",
    person_label: Sequence[str] = (),
    crops: int = 0,
    soft: bool = False,
    seed: int = 0,
    workers: int = 2,
) -> list[Path]:
    """Copies pairs, with soft mattes or cropped to portraits; see `prepare.datasets.prepare`.

    Args:
        data: folders of pictures with mattes.
        output: the folder to write into.
        exclude: a file with the names of pictures to leave out; empty: none.
        person_label: see `labels.examine`.
        crops: the number of portraits cropped from each picture; 0 copies whole pictures.
        soft: whether to make soft mattes from binary ones.
        seed: the seed of the crops.
        workers: the number of processes.

    Returns:
        The pictures written.

    Raises:
        UserError: nothing is left, or a folder or file cannot be used.
    """
    from portrait.prepare import datasets

    recipe = datasets.Preparation(crops, soft, seed)
    pairs = wanted_pairs(data, exclude, person_label)
    written = _report(datasets.prepare(pairs, Path(output), recipe, workers))
    if crops:
        print("only crops were written; run without --crops for whole pictures")
    return written


def shards(
    data: Sequence[str],
    output: str | Path,
    shards: int,
    *,
    exclude: str = "",
    person_label: Sequence[str] = (),
    longest_side: int = 0,
    workers: int = 2,
) -> list[Path]:
    """Packs pairs into `shards` tar files; see `prepare.shards.pack`, also for the results.

    For the other arguments and errors, see `prepare`.
    """
    from portrait.prepare.shards import pack

    pairs = wanted_pairs(data, exclude, person_label)
    written = pack(pairs, Path(output), shards, longest_side, workers)
    print(f"{printable(output)}: {len(written)} shards; main.py --data={printable(output)}")
    return written


def groups(
    data: Sequence[str],
    output: str | Path,
    groups: int,
    backgrounds: Sequence[str],
    *,
    exclude: str = "",
    person_label: Sequence[str] = (),
    seed: int = 0,
    workers: int = 2,
) -> list[Path]:
    """Composes `groups` pictures of two or three people each; see `prepare.groups.write`.

    For the other arguments, the result and errors, see `prepare`.
    """
    from portrait.data.backgrounds import load_backgrounds
    from portrait.prepare import groups as composed

    if not backgrounds:
        raise UserError("--groups needs photos without people as backgrounds: --backgrounds=DIR")
    scenes = load_backgrounds(backgrounds, composed.LARGEST, workers)
    pairs = wanted_pairs(data, exclude, person_label)
    written = _report(composed.write(pairs, scenes, Path(output), groups, seed))
    if len(written) < groups:
        print(f"only {len(written)} of {groups} pictures could be composed from this data")
    return written


def cutouts(
    cutouts: Sequence[str],
    output: str | Path,
    backgrounds: Sequence[str],
    *,
    each: int = 6,
    seed: int = 0,
    workers: int = 2,
) -> list[Path]:
    """Composes each cut-out person `each` times; see `prepare.compositions.write`.

    Args:
        cutouts: folders of RGBA pictures of people.
        output: the folder to write into.
        backgrounds: folders of photographs without people.
        each: the number of compositions of each person.
        seed: the seed of all random choices.
        workers: the number of threads that read backgrounds.

    Returns:
        The pictures written.

    Raises:
        UserError: a folder or file cannot be used.
    """
    from portrait.data.backgrounds import load_backgrounds
    from portrait.prepare import compositions

    if not backgrounds:
        raise UserError("--cutouts needs photos without people as backgrounds: --backgrounds=DIR")
    people = _pictures(cutouts)
    scenes = load_backgrounds(backgrounds, (1024, 1024), workers)
    return _report(compositions.write(people, scenes, Path(output), each, seed))


def teachers(
    data: Sequence[str],
    output: str | Path,
    teachers: Sequence[str],
    *,
    exclude: str = "",
    person_label: Sequence[str] = (),
    teacher_share: float = 0.65,
    count: int = 2 * _ROWS,
    input_range: str = "",
) -> list[Path]:
    """Writes pairs with soft targets from labels and teachers; see `prepare.distil`.

    Pictures are left out if certain teachers contradict their label. Sheets show these pictures.

    Args:
        data: folders of pictures with mattes.
        output: the folder to write into.
        teachers: names of networks, `.tflite` files, weights, or folders of mattes.
        exclude: a file with the names of pictures to leave out; empty: none.
        person_label: see `labels.examine`.
        teacher_share: the teachers' share in targets where they agree with the label, 0..1.
        count: the number of pictures on the sheets.
        input_range: see `inference.network.load`.

    Returns:
        The photographs written.

    Raises:
        UserError: an argument, a folder or a file cannot be used; all pictures are left out.
    """
    from portrait.io.images import write_png
    from portrait.prepare import distil

    pairs, output = wanted_pairs(data, exclude, person_label), Path(output)
    labelled = distil.Teachers(teachers, input_range)
    rule = distil.Rule(share=teacher_share)
    settings = {"teachers": list(teachers), "teacher_share": teacher_share}
    written = _report(distil.write(pairs, output, labelled, rule, settings))
    rows = distil.read_table(output / "teachers.csv")
    kinds = Counter(row["kind"] for row in rows)
    print(", ".join(f"{number} {kind}" for kind, number in kinds.items()))
    by_name = {pair.name: pair for pair in pairs}
    differing = sorted(
        (row for row in rows if row["kind"] == distil.LEFT_OUT), key=lambda row: float(row["iou"])
    )[:count]
    for earlier in output.glob("left_out_*.png"):
        if earlier.stem.removeprefix("left_out_").isdecimal():  # others may be the user's
            earlier.unlink()
    for start in range(0, len(differing), _ROWS):
        sheet = distil.sheet(
            [by_name[row["name"]] for row in differing[start : start + _ROWS]], labelled
        )
        path = output / f"left_out_{start // _ROWS + 1}.png"
        write_png(path, sheet)
        print(printable(path))
    if not written:
        raise UserError(
            "no picture could be prepared, because the teachers contradict all labels: look at "
            f"{output / 'left_out_1.png'}"
        )
    return written


def suspects(
    data: Sequence[str],
    output: str | Path,
    *,
    exclude: str = "",
    person_label: Sequence[str] = (),
    count: int = 2 * _ROWS,
    model: str = DEFAULT,
    input_range: str = "",
    input_shape: str = "",
) -> None:
    """Writes sheets of the `count` most suspicious labels of each set, and suspects.csv, the last.

    Args:
        data: folders of pictures with mattes.
        output: a new folder, or the folder of a stopped run with the same arguments.
        exclude: a file with the names of pictures to leave out; empty: none.
        person_label: see `labels.examine`.
        count: the number of labels to show of each set.
        model: the network that the labels are compared with, see `inference.network.load`, also for
            `input_range` and `input_shape`.

    Raises:
        UserError: `output` holds a complete suspects.csv, which the user may have edited, or other
            files; no picture or file can be used.
    """
    from portrait.io.images import write_png
    from portrait.prepare import suspects as suspicion
    from portrait.prepare.datasets import claim, release

    output, pairs = Path(output), wanted_pairs(data, exclude, person_label)
    ranking = output / "suspects.csv"
    if ranking.exists():
        raise UserError(f"{ranking} exists and is not overwritten: give a new folder as --output")
    matte_fn = _matte_fn(model, input_range, input_shape)
    network = {"model": model, "input_range": input_range, "input_shape": input_shape}
    claim(output, pairs, {"suspects": count, **network})
    try:
        ranked = suspicion.rank(matte_fn, pairs)
    except UserError:
        release(output)
        raise
    for name in dict.fromkeys(pair.name.rpartition("/")[0] for pair, _ in ranked):
        worst = [each for each in ranked if each[0].name.rpartition("/")[0] == name][:count]
        for start in range(0, len(worst), _ROWS):
            sheet = suspicion.draw_sheet(matte_fn, worst[start : start + _ROWS], start + 1)
            path = output / f"suspects_{name or 'data'}_{start // _ROWS + 1}.png"
            write_png(path, sheet)
            print(printable(path))
    suspicion.write_ranking(ranked, ranking)
    print(printable(ranking))


def blank(
    blank: Sequence[str],
    output: str | Path,
    *,
    person_share: float = 0.004,
    model: str = DEFAULT,
    input_range: str = "",
    input_shape: str = "",
) -> None:
    """Copies the photos without a person out of the folders `blank`.

    Args:
        blank: folders of photos.
        output: the folder to write into, whose name must begin with "Blank".
        person_share: the largest share of a photo that the network may predict as person.
        model: see `suspects`, also for `input_range` and `input_shape`.

    Raises:
        UserError: the name of `output` does not begin with "Blank", or there is no photo without a
            person.
    """
    from portrait.prepare.suspects import find_empty

    if not Path(output).name.startswith("Blank"):
        raise UserError(f"--output={output}: its name must begin with Blank, to be recognised")
    output = Path(output)
    photos = _pictures(blank)
    found = find_empty(_matte_fn(model, input_range, input_shape), photos, person_share)
    if not found:
        folders = ", ".join(map(str, blank))
        raise UserError(f"{folders}: none of {len(photos)} photos is without a person")
    for photo, _ in found:
        _copy(photo, output)
    print(f"{output}: {len(found)} of {len(photos)} photos, without a person")


def _pictures(folders: Sequence[str]) -> list[Path]:
    """The pictures directly in folders, without mattes beside them."""
    from portrait.io.images import list_images, without_made

    found = [each for folder in folders for each in without_made(list_images(folder))]
    if not found:
        raise UserError(f"no pictures in {', '.join(map(str, folders))}")
    return found


def _copy(photo: Path, output: Path) -> None:
    """Copies a photo; if another photo has the same name, a number is added to the name."""
    numbered = (f"{number}_{photo.name}" for number in itertools.count(2))
    for name in itertools.chain([photo.name], numbered):
        if not (output / name).exists():
            with replacing(output / name) as path:
                shutil.copyfile(photo, path)
            return
        if filecmp.cmp(photo, output / name, shallow=False):
            return


def _report(written: list[Path]) -> list[Path]:
    for folder in dict.fromkeys(path.parent.parent for path in written):
        count = sum(path.parent.parent == folder for path in written)
        print(f"{printable(folder)}: {count} pictures")
    return written


def _matte_fn(model: str, input_range: str, input_shape: str):
    """The network as a function from a photograph to its alpha."""
    from portrait.inference.network import check_input_range, load

    shape = parse_input_shape(input_shape) if input_shape else None
    network = load(model, input_range=input_range, input_shape=shape)
    check_input_range(network, input_range)
    if shape and network.tflite:
        height, width = network.input_shape
        raise UserError(f"--input_shape is for weights: {model} takes {height}x{width} only")
    return network.matte
