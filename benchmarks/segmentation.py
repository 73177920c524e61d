"""Compares trained segmentation models: quality on data sets, speed, size.

python benchmarks/segmentation.py --data=DIR,DIR --models=ours.tflite,theirs.tflite \\
    --input_range=0..1
python benchmarks/segmentation.py --data=DIR --models=mine=RUN,selfie_net_big_256x256
python benchmarks/segmentation.py --data=DIR --models=theirs.tflite,lite_unet_288x256,rvm=FILE.onnx

It takes the pictures of `testing` sub-folders and scores them like `main.py --evaluate`. Every
model runs as a `.tflite` file on one thread of this machine's CPU, except RobustVideoMatting
(rvm_mobilenetv3_fp32.onnx, GPL-3), which needs onnxruntime, takes each photograph as the first
frame of a video and is timed on one of 512x384. Latencies are measured in turn (A B C, A B C, ...),
so that other load on the machine affects all models. A model is marked with * (in the plot: hollow)
on a set whose training pictures it was trained on, as stated in its run.json, if the set's folder
has the same name there.

Writes into --output: segmentation.json, segmentation.png (speed against quality) and, for each
other model, NAME_against_FIRST.png: the photographs on which it gains and loses most person IoU
against the first model, with the errors of both.
"""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from absl import flags

from benchmarks import segmentation_report, speed_quality
from benchmarks.side_by_side import compare, find_datasets, open_model, trained_sets
from portrait import cli
from portrait.errors import UserError
from portrait.io.files import check_writable, replacing
from portrait.io.images import write_png
from portrait.models.registry import parse_input_shape

FLAGS = flags.FLAGS
flags.DEFINE_list(
    "models",
    [],
    "Names of shipped networks, .tflite or .weights.h5 files, folders of runs, or "
    "RobustVideoMatting's .onnx file, each optionally as NAME=MODEL. Speeds, differences and "
    "sheets are relative to the first one.",
)
flags.DEFINE_list("data", [], "Folders of pictures with mattes.")
flags.DEFINE_list("person_label", [], "The person's labels in label masks, as in main.py.")
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
flags.DEFINE_integer(
    "cases", 8, "Photographs that each sheet shows of the largest gains, and of losses.", 0
)
flags.DEFINE_string("output", "output", "The folder to write into.")


def _main() -> None:
    if not FLAGS.data:
        raise UserError("--data=DIR: give folders of pictures with mattes")
    check_writable(FLAGS.output)
    shape = parse_input_shape(FLAGS.input_shape) if FLAGS.input_shape else None
    datasets = find_datasets(FLAGS.data, FLAGS.person_label)
    models = [open_model(text, FLAGS.input_range, shape) for text in FLAGS.models]
    trained = [trained_sets(text) for text in FLAGS.models]
    report = compare(models, datasets, FLAGS.rounds, trained)
    print(segmentation_report.table(report))
    output = Path(FLAGS.output)
    with replacing(output / "segmentation.json") as path:
        path.write_text(json.dumps(report, indent=1, allow_nan=False), encoding="ascii")
    write_png(output / "segmentation.png", speed_quality.rendered(segmentation_report.plot(report)))
    pairs = {pair.image: pair for pairs in datasets.values() for pair in pairs}
    for place, model in enumerate(models[1:] if FLAGS.cases else [], 1):
        sheet = segmentation_report.sheet(report, models, pairs, place, FLAGS.cases)
        if sheet is not None:
            write_png(output / f"{model.name}_against_{models[0].name}.png", sheet)


if __name__ == "__main__":
    cli.run(_main, ["models"])
