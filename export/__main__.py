"""Converts weights of a segmentation network to files for phones.

  python -m export --weights=best.weights.h5 --model=fast_scnn --data=DIR
  python -m export --weights=best.weights.h5 --model=mattingnet --model_size=small --android

--data names folders of pictures with mattes, as for training: 8-bit files take their ranges from
some of them, and every file is compared with the network on others. Without --data the built-in
sample does both.
"""

from pathlib import Path

from absl import flags

import cli
from export import FORMATS, convert_all, load_samples
from quiet import start_keras

FLAGS = flags.FLAGS

flags.DEFINE_string("weights", "", "Weights (.weights.h5), or the folder of a training run.")
flags.DEFINE_enum("model", "mattingnet", ("mattingnet", "fast_scnn"), "The network.")
flags.DEFINE_enum("model_size", "big", ("big", "small"), "The size of MattingNet.")
flags.DEFINE_string("input_shape", "256", "HEIGHT (with a width of 3/4 of it) or HEIGHTxWIDTH.")
flags.DEFINE_list("data", [], "Folders of pictures and mattes to calibrate and check with.")
flags.DEFINE_string("output", "output", "The folder to write into.")
flags.DEFINE_string("name", "", "What file names begin with. Default: the network's name.")
flags.DEFINE_boolean("android", False, "Export for Android: 4 channels, RGBA.")
flags.DEFINE_list("formats", None, f"Some of {', '.join(FORMATS)}. Default: all.")
flags.DEFINE_boolean("allow_cpu_ops", False, "Keep files with ops that phone GPUs do not take.")


def _export() -> None:
    start_keras()
    import models
    from preprocess import parse_input_shape
    from runs import best_checkpoint

    size = parse_input_shape(FLAGS.input_shape)
    weights = Path(FLAGS.weights)
    if weights.is_dir():
        weights = best_checkpoint(weights)
    model = models.build(FLAGS.model, size, FLAGS.model_size)
    models.load_weights(model, weights)
    print(f"exporting {weights}")
    samples = load_samples(FLAGS.data, size)
    convert_all(
        model,
        FLAGS.output,
        FLAGS.name or model.name,
        samples,
        android=FLAGS.android,
        formats=FLAGS.formats,
        allow_cpu_ops=FLAGS.allow_cpu_ops,
    )


if __name__ == "__main__":
    cli.run(_export, ["weights"])
