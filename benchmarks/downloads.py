"""Prints the table of the files for phones in trained_models/, as README.md shows it.

python benchmarks/downloads.py --data=DIR --peer=mediapipe_selfie_segmentation.tflite

Each `.tflite` file is scored on the `testing` pictures of --data and timed on one CPU thread,
relative to --peer, and runs in `export.gpu_engine` where that is installed (`make gpu-engines`).
Files that hold the same network in another form (RGBA, Core ML) have the scores of the file of the
same name in RGB float16.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from absl import flags
from PIL import Image

from benchmarks.side_by_side import Model, compare, find_datasets, open_model
from portrait import cli
from portrait.data.pairs import Pair
from portrait.export import gpu_engine
from portrait.io.images import resize
from portrait.models.registry import takes_alpha
from portrait.tflite.runtime import TfliteModel
from portrait.util import evenly

FLAGS = flags.FLAGS

_HEAD = ("file", "for", "input", "MB", "person / boundary IoU", "time", "GPU, float16")
_FORMS = {
    "_rgba_float16.tflite": "Android GPU: LiteRT; browser: LiteRT.js",
    "_float16.tflite": "Android GPU: MediaPipe; browser",
    "_int8.tflite": "Android CPU",
    ".mlpackage.zip": "iOS",
}
_PICTURES = 3  # each takes seconds in a software GPU


def rows(
    folder: Path, datasets: dict[str, list[Pair]], peer: Model, rounds: int, gpu_check: bool
) -> list[tuple[str, ...]]:
    """One row for each file, the head first.

    Args:
        folder: holds the folders of networks.
        datasets: the testing pairs, by the name of the set.
        peer: the network that times are relative to, a `.tflite` file.
        rounds: timed runs of each file.
        gpu_check: whether to run the files in a GPU engine, where it is installed.
    """
    files = [file for form in _FORMS for file in sorted(folder.glob(f"*/*{form}"))]
    # The refiner cannot be scored alone, because it needs a coarse alpha.
    files = [file for file in files if takes_alpha(file.parent.name) != "coarse"]
    files = sorted(set(files), key=lambda file: (file.parent.name, files.index(file)))
    scored = [file for file in files if file.suffix == ".tflite" and "_rgba" not in file.name]
    report = compare([peer, *map(open_model, map(str, scored))], datasets, rounds)
    entries = {file: entry for file, entry in zip(scored, report["models"][1:], strict=True)}
    pairs = [pair for pairs in datasets.values() for pair in pairs]
    pictures = [pair.image for pair in evenly(pairs, _PICTURES)]
    checked = gpu_check and not gpu_engine.FLOAT16.missing
    return [_HEAD, *(_row(file, entries, pictures if checked else []) for file in files)]


def _row(file: Path, entries: dict[Path, dict], pictures: list[Path]) -> tuple[str, ...]:
    """The cells of a file, with the scores in `entries` of itself or its RGB float16 form."""
    form = next(form for form in _FORMS if file.name.endswith(form))
    entry = entries.get(file) or entries.get(_sibling(file, list(entries)))
    size, scores, time = "-", "-", "-"
    if entry:
        size = "{} x {}".format(*entry["input_shape"])
        means = [each["mean"] for each in entry["sets"].values() if each["mean"]]
        ious = [np.mean([mean[key] for mean in means]) for key in ("person_iou", "boundary_iou")]
        scores = " / ".join(f"{iou:.3f}" for iou in ious)
        time = "-" if form == ".mlpackage.zip" else f"{entry['latency_ms']['relative']:.2f}"
    megabytes = f"{file.stat().st_size / 1e6:.1f}"
    link = f"[`{file.name}`]({file})"
    return (link, _FORMS[form], size, megabytes, scores, time, _verdict(file, pictures))


def _sibling(file: Path, scored: list[Path]) -> Path | None:
    """The RGB float16 file of the same network, of the same size if the name tells it."""
    stem = file.name.split(".")[0].replace("_rgba", "").rsplit("_", 1)[0]
    return next((each for each in scored if each.name == f"{stem}_float16.tflite"), None)


def _verdict(file: Path, pictures: list[Path]) -> str:
    """The mean error and the smallest IoU of a file on the GPU against itself on the CPU."""
    if file.suffix != ".tflite":
        return "not run"
    if not pictures:
        return "-"
    size = TfliteModel(file, file.name).input_shape
    photos = [np.asarray(Image.open(path).convert("RGB")) for path in pictures]
    verdict = gpu_engine.check(file, np.stack([resize(photo, size) for photo in photos]))
    if verdict.refused:
        return f"no: {verdict.refused}"
    figures = f"{verdict.mean_error:.1e} / {verdict.iou:.4f}"
    return figures if verdict.good else f"no: {figures}"


def _main() -> None:
    peer = open_model(f"peer={FLAGS.peer}", FLAGS.input_range)
    options = (FLAGS.rounds, FLAGS.gpu_check)
    datasets = find_datasets(FLAGS.data, FLAGS.person_label)
    for row in rows(Path(FLAGS.models), datasets, peer, *options):
        print("| " + " | ".join(row) + " |")
        if row == _HEAD:
            print("| --- " * len(row) + "|")


if __name__ == "__main__":
    flags.DEFINE_list("data", None, "Folders of pictures with mattes.", required=True)
    flags.DEFINE_list("person_label", [], "The person's labels in label masks, as in main.py.")
    flags.DEFINE_string("peer", None, "The .tflite file that times are relative to.", required=True)
    flags.DEFINE_string("input_range", "0..1", "The range of pixel values of --peer.")
    flags.DEFINE_string("models", "trained_models", "The folder with the folders of networks.")
    flags.DEFINE_boolean("gpu_check", True, "Run the files in a GPU engine, minutes for each file.")
    flags.DEFINE_integer("rounds", 50, "Timed runs of each file.", lower_bound=1)
    cli.run(_main, ["data"])
