"""Trains and scores networks on one budget, and keeps their results."""

import json
import statistics
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import keras
import numpy as np

from augmentation import DEFAULT, Augmentation
from benchmarks.examined import examined_pairs
from data_generator import make_batches, split
from portrait.data.pairs import Pair, read_pair
from portrait.data.sample.sample import sample_backgrounds
from portrait.errors import UserError
from portrait.evaluation.evaluate import score
from portrait.inference.network import MatteFunction, from_keras
from portrait.io.files import replacing
from portrait.io.images import list_images, read_image, write_png
from portrait.io.sheets import fitted, grid
from portrait.models import vgg16
from portrait.models.build import build
from portrait.models.registry import find, imported, parse_input_shape
from portrait.models.start.start import start
from portrait.training import fit
from portrait.training.fit import compile_model
from portrait.training.recipe import Recipe
from portrait.training.run import Run
from portrait.util import evenly

SHOWN = 6
_CELL = (200, 150)  # height and width of a picture of the sheet
# The four scores of Long et al. (1411.4038), as in reports on these networks, then ours.
COLUMNS = {
    "pixel_accuracy": "pixel acc.",
    "mean_accuracy": "mean acc.",
    "mean_iou": "mean IU",
    "frequency_weighted_iou": "f.w. IU",
    "person_iou": "person IoU",
    "boundary_iou": "boundary IoU",
}


@dataclass(frozen=True)
class Budget:
    """The settings that all results in one table share.

    Attributes:
        data: folders of pictures and mattes, with training and testing.
        input_shape: for `registry.parse_input_shape`.
        pictures: training pictures of each folder; 0: all.
        test_pictures: testing pictures of each folder; 0: all.
        epochs: epochs of each network.
        batch_size: pictures in a batch.
        portraits: a folder of photographs to show; none: six of the testing pictures.
        mixed_precision: none, bfloat16 or float16: the precision of the networks.
        person_label: as in `labels.examine`.
    """

    data: list[str]
    input_shape: str = "256"
    pictures: int = 200
    test_pictures: int = 0
    epochs: int = 8
    batch_size: int = 8
    portraits: str = ""
    mixed_precision: str = "none"
    person_label: list[str] = field(default_factory=list)


class Bench:
    """A folder of results, with a folder for each network.

    Args:
        output: the folder.
        budget: the budget of all networks.
        vgg_weights: for `vgg16.conv_weights`.
        workers: processes that read and augment pictures.
    """

    def __init__(self, output: str | Path, budget: Budget, vgg_weights: str = "", workers: int = 0):
        self.output = Path(output)
        self.budget = budget
        self.vgg_weights = vgg_weights
        self.workers = workers
        self.testing = {
            folder: some(found, budget.test_pictures) for folder, found in self._pairs("testing")
        }

    def result(self, name: str) -> dict | None:
        """The result of a network, if there is one.

        Raises:
            UserError: the result is of another budget.
        """
        path = self.output / name / "result.json"
        if not path.is_file():
            return None
        result = json.loads(path.read_text())
        self._check_budget(result, path)
        return result

    def do(self, name: str) -> None:
        """Trains and scores a network, and writes its `alphas.npz` and `result.json`."""
        folder = self.output / name
        result = {"budget": asdict(self.budget), "parameters": 0, "macs": 0}
        if find(name).matte:
            matte_fn = imported(find(name).matte)
        else:
            model = self._train(name, folder)
            matte_fn = from_keras(model).matte
            result |= {"parameters": model.count_params(), "macs": count_macs(model)}
        report, _ = score(matte_fn, self.testing)
        images = [image for image, _ in self._tested()]
        result |= {
            "mean": report["all"]["mean"],
            "sets": {key: each["mean"] for key, each in report["sets"].items()},
            "milliseconds": milliseconds(matte_fn, images),
        }
        shown = self._shown()["photo"]
        levels = [np.rint(matte_fn(image) * 255).astype(np.uint8) for image in shown]
        with replacing(folder / "alphas.npz") as path:
            np.savez_compressed(path, *levels)
        with replacing(folder / "result.json") as path:
            path.write_text(json.dumps(result, indent=1))
        keras.backend.clear_session()

    def show(self, names: tuple[str, ...]) -> str:
        """Writes `table.md` and `portraits.png` of all results; returns the table."""
        results = {name: found for name in names if (found := self.result(name))}
        table = format_table(results)
        with replacing(self.output / "table.md") as path:
            path.write_text(table)
        columns = self._shown()
        for name in results:
            with np.load(self.output / name / "alphas.npz") as alphas:
                columns[name] = [alphas[each] for each in alphas.files]
        rows = [
            [fitted(each, _CELL) for each in row] for row in zip(*columns.values(), strict=True)
        ]
        write_png(self.output / "portraits.png", grid(rows, tuple(columns)))
        return table

    def _check_budget(self, settings: dict, where: Path) -> None:
        if Budget(**settings["budget"]) != self.budget:  # older ones lack fields
            raise UserError(
                f"{where} is of another budget, {settings['budget']}: choose another --output"
            )

    def _train(self, name: str, folder: Path) -> keras.Model:
        """Trains a network; continues the run in `folder` if there is one."""
        if self.budget.mixed_precision != "none":
            keras.mixed_precision.set_global_policy(f"mixed_{self.budget.mixed_precision}")
        keras.utils.set_random_seed(0)
        size = parse_input_shape(self.budget.input_shape)
        # The loader forks its workers before the network starts TensorFlow's threads.
        train, val = self.sequences(size)
        try:
            model = build(name, size)
            rate = find(name).tuned_learning_rate
            recipe = Recipe(self.budget.epochs, lr=rate, patience=0)
            started = any(folder.glob("*/run.json"))
            if not any(folder.glob("*/state.npz")):
                source = self.vgg_weights if vgg16.uses_vgg16(model) else ""
                start(model, source, train.images)
            settings = {"budget": asdict(self.budget)}
            run = Run.latest(folder) if started else Run.create(folder, settings)
            self._check_budget(run.settings(), run.folder)
            compile_model(model, recipe, len(train))
            progress = run.load_state(model)
            if progress.finished:
                run.load_checkpoint(model, progress.best_epoch)
            else:
                fit.train(model, train, val, run, recipe, resume=run.has_state())
        finally:
            train.close()
        return model

    def sequences(self, size: tuple[int, int]) -> tuple:
        """The training and the validation batches of all networks."""
        pairs = [
            pair
            for _, found in self._pairs("training")
            for pair in some(found, self.budget.pictures)
        ]
        parts = split(pairs, 0.9)
        augmentation = Augmentation(DEFAULT, backgrounds=sample_backgrounds())
        return make_batches(
            *parts, size, self.budget.batch_size, augmentation, workers=self.workers
        )

    def _pairs(self, subset: str) -> list[tuple[str, list[Pair]]]:
        """The pairs of each folder."""
        label = self.budget.person_label
        return [(folder, examined_pairs([folder], subset, label)) for folder in self.budget.data]

    def _shown(self) -> dict[str, list[np.ndarray]]:
        """The first columns of the sheet."""
        if self.budget.portraits:
            return {"photo": [read_image(path) for path in list_images(self.budget.portraits)]}
        images, mattes = zip(*self._tested(), strict=True)
        return {"photo": list(images), "matte": list(mattes)}

    def _tested(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Six testing pictures with their mattes, spread evenly over the data sets."""
        pairs: list[Pair] = [pair for found in self.testing.values() for pair in found]
        return [read_pair(pair) for pair in evenly(pairs, SHOWN)]


def count_macs(model: keras.Model) -> int:
    """Multiply-accumulates of the convolutions for one picture, as papers count them."""
    macs = 0
    for layer in model.layers:
        transposed = isinstance(layer, keras.layers.Conv2DTranspose)
        place = layer.input if transposed else layer.output
        # Each weight of a kernel is used once per output pixel, or per input pixel if transposed.
        if "Conv" in type(layer).__name__:
            kernels = [weight for weight in layer.weights if len(weight.shape) == 4]
            macs += sum(int(np.prod(each.shape)) for each in kernels) * int(
                np.prod(place.shape[1:3])
            )
    return macs


def format_table(results: dict[str, dict]) -> str:
    """A Markdown table with one row for each network; shares in per cent."""
    head = ["network", *COLUMNS.values(), "parameters", "GMACs", "ms a photo"]
    rows = [head, ["---", *["---:"] * (len(head) - 1)]]
    for name, result in results.items():
        shares = [f"{100 * result['mean'][key]:.2f}" for key in COLUMNS]
        costs = [f"{result['parameters']:,}", f"{result['macs'] / 1e9:.2f}"]
        rows.append([name, *shares, *costs, f"{result['milliseconds']:.0f}"])
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def some(pairs: list[Pair], count: int) -> list[Pair]:
    """`count` pairs, spread evenly over all; all of them for 0."""
    return evenly(pairs, count) if count else pairs


def milliseconds(matte_fn: MatteFunction, images: list[np.ndarray]) -> float:
    """The median time from a photograph to its alpha, after one warm-up."""
    matte_fn(images[0])
    times = []
    for image in images * 3:
        start = time.perf_counter()
        matte_fn(image)
        times.append((time.perf_counter() - start) * 1e3)
    return statistics.median(times)
