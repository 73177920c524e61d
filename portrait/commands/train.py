"""The training of main.py as a function, `train`, with its flags as arguments."""

import contextlib
import functools
import hashlib
import inspect
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from portrait.backend import start_keras
from portrait.commands.batches import ARGUMENTS, batches, data_folders, size_of_batches
from portrait.errors import UserError, printable
from portrait.models import registry
from portrait.util import evenly

log = logging.getLogger(__name__)


def train(
    model: str = "mattingnet",
    model_size: str = registry.SIZES[0],
    input_shape: str = "",
    *,
    data: Sequence[str] = (),
    weight_dir: str = "",
    start: str = "",
    person_label: Sequence[str] = (),
    val_ratio: float = 0.8,
    augment: str = "default",
    augment_strength: float = 1.0,
    backgrounds: Sequence[str] = (),
    boundary_thickness: Sequence[str] = (),
    teachers: Sequence[str] = (),
    teacher_share: float = 0.5,
    input_range: str = "",
    workers: int = 2,
    cache: str = "auto",
    nb_epoch: int | None = None,
    batch_size: int | None = None,
    loss: str = "bce_dice",
    boundary_weight: float = 0.2,
    lr: float | None = None,
    schedule: str = "cosine",
    patience: int = 20,
    checkpoint: int = 0,
    ema: bool = True,
    mixed_precision: str = "none",
    seed: int = 0,
    checkpoint_path: str = "",
    devices: int = 1,
    hosts: Sequence[str] = (),
    host: int = 0,
    run=None,
) -> Path | None:
    """Trains a network and writes all results into a run's folder.

    All arguments but `run` are flags of main.py, which `python main.py --help` explains.

    Args:
        model: a key of `registry.SPECS`.
        run: a `training.run.Run` to continue; None starts a new one.

    Returns:
        The checkpoint of the best epoch; None on a host other than the first of `hosts`.

    Raises:
        UserError: an argument or the data cannot be used, or the loss is no longer a number.
        KeyboardInterrupt: with the command that resumes the run as its text.
    """
    given = dict(locals())
    start_keras()
    import keras

    from portrait.training.devices import Layout, started
    from portrait.training.recipe import Recipe

    spec = registry.find(model)
    given["input_shape"] = input_shape = input_shape or spec.input_shape
    layout = Layout(devices, tuple(hosts), host)
    size_of_batch = size_of_batches(batch_size, data, spec.takes_alpha)
    layout.check(size_of_batch)
    fresh = not (run and run.has_state())
    weights = _given_weights(weight_dir) if fresh else None
    random = not weights and (start == "none" or not (start or spec.imagenet))
    rate = lr if lr is not None else spec.learning_rate if random else spec.tuned_learning_rate
    keras.utils.set_random_seed(seed)
    # The loader forks its workers before the network starts the threads of TensorFlow or JAX.
    training, validation = batches(**{name: given[name] for name in ARGUMENTS})
    recipe = Recipe(
        epochs=nb_epoch or (100 if data else 24),
        loss=loss,
        boundary_weight=boundary_weight,
        lr=rate,
        schedule=schedule,
        ema=ema,
        patience=patience,
        checkpoint_every=checkpoint,
    )
    used = {"lr": rate, "batch_size": size_of_batch}
    entries = {"flags": {name: given[name] for name in FLAGS} | used}
    if fresh:
        entries["highest_val_ratio"] = _highest_val_ratio(weights, start, val_ratio)
    try:
        with started(layout) as scopes:
            if mixed_precision != "none":  # after the loader has built its teachers in float32
                keras.mixed_precision.set_global_policy(f"mixed_{mixed_precision}")
            network = _network(given, weights, fresh, training)
            best = _fit(network, (training, validation), run, recipe, entries, layout, scopes)
    finally:
        training.close()
        keras.mixed_precision.set_global_policy("float32")  # for networks that are built later
    if best and spec.takes_alpha != "coarse":
        _show_unseen(network, data_folders(data), val_ratio, best.parent)
    return best


def _network(given: dict, weights: Path | None, fresh: bool, training):
    """The network on one device, with its initial weights."""
    from portrait.models.build import build

    shape = registry.parse_input_shape(given["input_shape"])
    network = build(given["model"], shape, given["model_size"])
    if fresh:
        _fill(network, weights, given["start"], training.images)
    return network


def _fit(network, parts: tuple, run, recipe, entries: dict, layout, scopes) -> Path | None:
    """Trains on the devices of `layout`; `network` ends with the best weights.

    `entries` are for run.json, which also gets others.
    """
    from portrait.models.build import build
    from portrait.training import devices, fit

    training, validation = parts
    counts = len(training.images), len(validation.images)
    flags, resumes, changes = entries["flags"], run is not None, {}
    with contextlib.ExitStack() as stack:
        if layout.leads:
            run, changes = _open_run(run, entries, *counts)
            print(
                f"{network.name} at {flags['input_shape']}: {counts[0]} pictures for training, "
                f"{counts[1]} for validation; run folder {run.folder}"
            )
        else:
            run = stack.enter_context(devices.temporary_run(run))
            print(f"host {layout.host} trains; the run is kept by host 0, {layout.hosts[0]}")
        devices.agree(layout, *_facts(flags, parts, network, run) if layout.hosts else ())
        model = network
        if layout.total > 1:
            shape = network.input_shape[1:3]
            another = functools.partial(build, flags["model"], shape, flags["model_size"])
            model = devices.replicated(network, another, scopes)
        options = {"changes": changes, "scopes": scopes, "single": network}
        options["quiet"] = not layout.leads
        try:
            best = fit.train(model, training, validation, run, recipe, resumes, **options)
        except KeyboardInterrupt:
            command = f"main.py --resume=True --checkpoint_path={run.folder}"
            raise KeyboardInterrupt(f"{command} continues the training") from None
    return best if layout.leads else None


def _facts(flags: dict, parts: tuple, network, run) -> tuple:
    """The facts that must be equal on all hosts: flags (not paths), weights, and a few pictures."""
    paths = ("data", "backgrounds", "weight_dir", "start", "teachers", "checkpoint_path")
    digest = hashlib.sha256()
    for weight in network.get_weights():
        digest.update(weight.tobytes())
    for part in parts:
        digest.update(part.images[evenly(range(len(part.images)), 8)].tobytes())
    common = {name: value for name, value in flags.items() if name not in paths}
    return common, [len(part.images) for part in parts], digest.hexdigest(), run.saved_epoch()


_OF_THE_MACHINES = ("devices", "hosts", "host")
FLAGS = tuple(
    name for name in inspect.signature(train).parameters if name not in (*_OF_THE_MACHINES, "run")
)
"""The arguments of `train` that are stored in run.json. A run may move to other machines."""


def _given_weights(weight_dir: str) -> Path | None:
    """The weights file that `weight_dir` names, if it exists."""
    if not weight_dir:
        return None
    from portrait.models.weights import weights_file

    path = weights_file(weight_dir)
    if path.is_file():
        return path
    print(f"there is no {path}: the training starts without it")
    return None


def _fill(network, weights: Path | None, start: str, pictures) -> None:
    """Loads the initial weights of a training into the network."""
    from portrait.models.rescale import balance
    from portrait.models.start.start import start as start_from
    from portrait.models.weights import load_weights

    if weights is None:
        start_from(network, start, pictures)
        return
    load_weights(network, weights)
    balance(network)
    print(f"starting from {weights}")


def _highest_val_ratio(weights: Path | None, start: str, val_ratio: float) -> float:
    """The highest --val_ratio of this training and those that led to its initial weights.

    Warns if theirs is higher. Weights without a run.json that states it are not known.
    """
    from portrait.models.weights import read_settings

    source = weights or Path(start)
    folder = source if source.is_dir() else source.parent
    unknown = not weights and start in ("", "none", "imagenet")
    if unknown or not (folder / "run.json").is_file():
        return val_ratio
    settings = read_settings(folder)
    ratio = settings.get("highest_val_ratio", settings.get("flags", {}).get("val_ratio"))
    if not isinstance(ratio, int | float) or ratio <= val_ratio:
        return val_ratio
    log.warning(
        "%s was trained with --val_ratio=%s: with %s some of the validation pictures may have "
        "been used for training, and validation scores may be too high",
        *(source, ratio, val_ratio),
    )
    return ratio


def _open_run(run, entries: dict, training: int, validation: int):
    """A new run, or `run` and the entries that its run.json gets when it continues.

    `entries` contains the flags.

    Raises:
        UserError: `run` was trained with other numbers of pictures.
    """
    import keras

    from portrait.models.registry import full_name
    from portrait.training.run import Run

    counts = {"training_pictures": training, "validation_pictures": validation}
    if run:
        settings = run.settings()
        began = settings.get("data", counts)
        # The learning rate depends on the step, and the number of steps per epoch would change.
        if run.has_state() and began != counts:
            numbers = " and ".join(f"{n}" for n in began.values())
            raise UserError(
                f"{run.folder} was trained and validated with {numbers} pictures, but there are "
                f"{training} and {validation} now (--cache=disk and none count unreadable "
                "pictures, memory does not): continue with --finetune=True "
                f"--weight_dir={run.folder}"
            )
        return run, entries | {"data": counts}
    flags = entries["flags"]
    settings = {"command": sys.argv, **entries, "data": counts, "keras": keras.__version__}
    name = full_name(flags["model"], flags["model_size"])
    return Run.create(flags["checkpoint_path"] or Path("trained_models") / name, settings), {}


def _show_unseen(network, data: list[str], val_ratio: float, folder: Path) -> None:
    """Writes the matte of a photograph that was not used for training."""
    from portrait.data.pairs import unseen
    from portrait.inference.network import from_keras
    from portrait.inference.predict import predict

    photo = unseen(data, val_ratio).image
    for path in predict(from_keras(network).matte, [photo], folder / "unseen"):
        print(f"a photo that was not used for training: {printable(path)}")
