"""Trains and scores every network of the registry on one budget, in one table.

python benchmarks/baselines.py --data=DIR,DIR --vgg_weights=FILE --output=RUN

Every network is trained on the same pictures for the same number of epochs, with the same loss and
augmentations, and the registry's learning rate for trained weights. It is scored on the `testing`
sub-folders. RUN has a folder for each network. Networks with a result there are not trained again,
and an interrupted training continues. The table goes to RUN/table.md, the alphas of six portraits
(or of the photographs in --portraits) to RUN/portraits.png.

--networks=NAME,... selects networks; the table shows all that have a result. --pictures, --epochs
and --input_shape set the budget. With the default budget and four data sets, expect one to two
hours for each network of VGG16's size on two idle cores.
"""

import sys
from dataclasses import fields
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from absl import flags

from portrait import cli
from portrait.backend import start_keras
from portrait.errors import UserError
from portrait.models.registry import SPECS

FLAGS = flags.FLAGS
flags.DEFINE_list(
    "data", [], "Folders of pictures and mattes, with training and testing sub-folders."
)
flags.DEFINE_list("person_label", [], "The person's labels in label masks, as in main.py.")
flags.DEFINE_string("output", "output", "The folder of the results, with earlier ones.")
_WHOLE = [name for name, spec in SPECS.items() if not spec.takes_alpha]
flags.DEFINE_list("networks", _WHOLE, "The networks to train and score.")
flags.DEFINE_string("vgg_weights", "", "VGG16's weights (.npz). Default: from keras.applications.")
flags.DEFINE_string(
    "portraits", "", "A folder of photographs to show. Default: six testing pictures."
)
flags.DEFINE_string("input_shape", "256", "HEIGHT or HEIGHTxWIDTH.")
flags.DEFINE_integer("pictures", 200, "Training pictures of each data set; 0: all.", 0)
flags.DEFINE_integer("test_pictures", 0, "Testing pictures of each data set; 0: all.", 0)
flags.DEFINE_integer("epochs", 8, "Epochs of each network.", 1)
flags.DEFINE_integer("batch_size", 8, "Pictures in a batch.", 1)
flags.DEFINE_enum(
    "mixed_precision", "none", ("none", "bfloat16", "float16"), "Half precision, as in main.py."
)
flags.DEFINE_integer("workers", 2, "Processes that read and augment pictures.", 0)


def main() -> None:
    """Trains the networks without a result, one by one, and shows all results."""
    if unknown := set(FLAGS.networks) - set(SPECS):
        raise UserError(f"no network {', '.join(unknown)}; there are {', '.join(SPECS)}")
    start_keras()
    from benchmarks.baselines_bench import Bench, Budget

    names = [field.name for field in fields(Budget)]
    budget = Budget(**{name: FLAGS[name].value for name in names})
    bench = Bench(FLAGS.output, budget, FLAGS.vgg_weights, FLAGS.workers)
    for name in FLAGS.networks:
        if not bench.result(name):
            print(f"\n{name}", flush=True)
            bench.do(name)
    print(f"\n{bench.show(tuple(SPECS))}\n{FLAGS.output}/table.md, {FLAGS.output}/portraits.png")


if __name__ == "__main__":
    cli.run(main, ["data"])
