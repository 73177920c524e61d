"""Compares trained segmentation models: quality on data sets, speed, size.

python benchmarks/segmentation.py --data=DIR,DIR --models=ours.tflite,theirs.tflite \\
    --input_range=0..1
python benchmarks/segmentation.py --data=DIR --models=mine=RUN,selfie_net_big_256x256

It takes the pictures of `testing` sub-folders and scores them like `main.py --evaluate`. Every
model runs as a `.tflite` file on one thread of this machine's CPU. Latencies are measured in turn
(A B C, A B C, ...), so that other load on the machine affects all models. A model is marked with *
on a set whose training pictures it was trained on, as stated in its run.json. Writes into
--output: segmentation.json, segmentation.png (speed against quality) and differences.png (the
pictures with the largest differences between the models).
"""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from absl import flags

from benchmarks import segmentation_report
from benchmarks.side_by_side import compare, find_datasets, open_model, trained_sets
from portrait import cli
from portrait.errors import UserError
from portrait.io.files import replacing
from portrait.io.images import write_png
from portrait.models.registry import parse_input_shape

FLAGS = flags.FLAGS
flags.DEFINE_list(
    "models",
    [],
    "Names of shipped networks, .tflite or .weights.h5 files, or folders of runs, each optionally "
    "as NAME=MODEL. Speeds are relative to the first one.",
)
flags.DEFINE_list("data", [], "Folders of pictures with mattes.")
flags.DEFINE_string(
    "input_range",
    "",
    "The range of pixel values of .tflite files without metadata: 0..1, -1..1 or 0..255.",
)
flags.DEFINE_string(
    "input_shape",
    "",
    "HEIGHT or HEIGHTxWIDTH, for weights. Default: the input size of their training.",
)
flags.DEFINE_integer("rounds", 50, "Timed runs of each model.", lower_bound=1)
flags.DEFINE_string("output", "output", "The folder to write into.")


def _main() -> None:
    if not FLAGS.data:
        raise UserError("--data=DIR: give folders of pictures with mattes")
    shape = parse_input_shape(FLAGS.input_shape) if FLAGS.input_shape else None
    datasets = find_datasets(FLAGS.data)
    models = [open_model(text, FLAGS.input_range, shape) for text in FLAGS.models]
    trained = [trained_sets(text) for text in FLAGS.models]
    report = compare(models, datasets, FLAGS.rounds, trained)
    print(segmentation_report.table(report))
    output = Path(FLAGS.output)
    with replacing(output / "segmentation.json") as path:
        path.write_text(json.dumps(report, indent=1, allow_nan=False), encoding="ascii")
    write_png(output / "segmentation.png", segmentation_report.plot(report))
    if len(models) > 1:
        pairs = {pair.image: pair for pairs in datasets.values() for pair in pairs}
        sheet = segmentation_report.differences(report, models, pairs)
        write_png(output / "differences.png", sheet)


if __name__ == "__main__":
    cli.run(_main, ["models"])
