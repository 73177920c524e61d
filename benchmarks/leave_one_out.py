"""Trains a network without each data set in turn, and scores it on the set that it has not seen.

python benchmarks/leave_one_out.py --data=DIR,DIR,DIR --reference=FILE.tflite \\
    --input_range=0..1 --model=selfie_net --start=FILE.tflite --nb_epoch=1

All flags of a training of main.py apply. The table shows each set's held-back pictures
(`--val_ratio`) in three rows: the reference, the network that was trained on all sets, and the
network that was trained on all others. Choose a recipe by the third. Trainings that are complete in
--output are not repeated; those with other flags or sets are refused.
"""

import json
import multiprocessing
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from absl import flags

from benchmarks.examined import examined_pairs
from benchmarks.segmentation_report import SHOWN, score_cells
from metrics import METRICS
from portrait import cli
from portrait.commands import flags as training_flags
from portrait.commands import settings
from portrait.commands.train import train
from portrait.data.pairs import split
from portrait.errors import UserError
from portrait.evaluation.evaluate import score
from portrait.inference.network import Network, load
from portrait.io.files import replacing
from portrait.util import aligned

FLAGS = flags.FLAGS
ALL = "all"
# Arguments of a training that do not change its result.
_FREE = ("workers", "cache", "checkpoint", "checkpoint_path", "devices", "hosts", "host")


def trained(left_out: str, folders: list[str], output: Path) -> Path:
    """The weights trained on `folders`, from an earlier run in `output` if that was completed.

    Raises:
        UserError: the training fails, or an earlier one had other arguments.
    """
    place = output / (f"without_{left_out}" if left_out != ALL else ALL)
    done = place / "best.json"
    given = cli.arguments(train) | {"data": folders, "checkpoint_path": str(place)}
    asked = {name: value for name, value in given.items() if name not in _FREE}

    def work() -> None:
        best = os.path.relpath(train(**given), place)
        with replacing(done) as part:
            part.write_text(json.dumps({"best": best, "training": asked}))

    if not done.is_file():
        # In a process of its own, because a training keeps gigabytes until its process ends.
        context = multiprocessing.get_context("fork")
        child = context.Process(target=lambda: sys.exit(cli.execute(work, ["data"])))
        child.start()
        child.join()
        if child.exitcode:
            raise UserError(f"the training in {place} did not finish")
    found = json.loads(done.read_text())
    known = found["training"] if isinstance(found, dict) else {}  # of earlier versions
    if changed := [f"--{name}" for name, value in asked.items() if known.get(name) != value]:
        raise UserError(
            f"{place} was trained with another {', '.join(changed)}: choose another --output"
        )
    return place / found["best"]


def table(rows: list[tuple[str, str, dict]]) -> str:
    """Aligned lines of the set, the network and the means of its scores."""
    lines = [("held-back pictures of", "network", "pictures", *(METRICS[k].label for k in SHOWN))]
    lines += [(name, network, *score_cells(summary)) for name, network, summary in rows]
    return "\n".join(aligned(lines, 2))


def main() -> None:
    settings.settle_training()
    folders = {Path(folder).resolve().name: folder for folder in FLAGS.data}
    if len(folders) < 2 or len(folders) < len(FLAGS.data):
        raise UserError("--data=DIR,DIR: give at least two sets with different names")
    held_back = {
        name: split(examined_pairs([folder], "training", FLAGS.person_label), FLAGS.val_ratio)[1]
        for name, folder in folders.items()
    }
    if unknown := set(FLAGS.leave_out) - set(folders):
        raise UserError(f"--leave_out: no set of --data is named {min(unknown)}")
    output = Path(FLAGS.output)
    # All trainings come before TensorFlow starts here, which must not be forked.
    weights = {ALL: trained(ALL, list(folders.values()), output)}
    for name in FLAGS.leave_out or folders:
        others = [folder for other, folder in folders.items() if other != name]
        weights[name] = trained(name, others, output)
    networks: dict[str, Network] = {"all sets": load(weights.pop(ALL))}
    if FLAGS.reference:
        reference = load(FLAGS.reference, input_range=FLAGS.input_range)
        networks = {"reference": reference} | networks
    held_back = {name: held_back[name] for name in weights}
    known = {
        label: score(network.matte, held_back)[0]["sets"] for label, network in networks.items()
    }
    rows = []
    for name, best in weights.items():
        summary = score(load(best).matte, {name: held_back[name]})[0]["sets"][name]
        rows += [(name, label, sets[name]) for label, sets in known.items()]
        rows.append((name, "without this set", summary))
    print(table(rows))


if __name__ == "__main__":
    flags.adopt_module_key_flags(training_flags)
    flags.DEFINE_string("reference", "", "A network to compare with: a .tflite file or a name.")
    flags.DEFINE_list("leave_out", [], "The names of the sets to leave out. Default: all.")
    cli.run(main, ["data"])
