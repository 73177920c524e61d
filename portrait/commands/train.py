"""The training of main.py as a function, `train`, with its flags as arguments."""

import functools
import inspect
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from portrait.backend import start_keras
from portrait.errors import UserError
from portrait.models import registry

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
    run=None,
) -> Path:
    """Trains a network and writes all results into a run's folder.

    All arguments but `run` are flags of main.py, which `python main.py --help` explains.

    Args:
        model: a key of `registry.SPECS`.
        run: a `training.run.Run` to continue; None starts a new one.

    Returns:
        The checkpoint of the best epoch.

    Raises:
        UserError: an argument or the data cannot be used, or the loss is no longer a number.
        KeyboardInterrupt: with the command that resumes the run as its text.
    """
    given = dict(locals())
    start_keras()
    import keras

    from portrait.models.build import build
    from portrait.training import fit
    from portrait.training.recipe import Recipe

    spec = registry.find(model)
    input_shape = input_shape or spec.input_shape
    resumes = run is not None
    fresh = not (resumes and run.has_state())
    weights = _given_weights(weight_dir) if fresh else None
    random = not weights and (start == "none" or not (start or spec.imagenet))
    rate = lr if lr is not None else spec.learning_rate if random else spec.tuned_learning_rate
    keras.utils.set_random_seed(seed)
    # The loader forks its workers before the network starts TensorFlow's threads.
    training, validation = batches(**{name: given[name] for name in _BATCHES})
    if mixed_precision != "none":  # after the loader has built its teachers in float32
        keras.mixed_precision.set_global_policy(f"mixed_{mixed_precision}")
    network = build(model, registry.parse_input_shape(input_shape), model_size)
    if fresh:
        _fill(network, weights, start, training.images, val_ratio)
    counts = len(training.images), len(validation.images)
    flags = {name: given[name] for name in FLAGS} | {"input_shape": input_shape, "lr": rate}
    run = _open_run(run, flags, *counts)
    print(
        f"{network.name} at {input_shape}: {counts[0]} pictures for training, {counts[1]} for "
        f"validation; run folder {run.folder}"
    )
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
    try:
        best = fit.train(network, training, validation, run, recipe, resumes)
    except KeyboardInterrupt:
        command = f"main.py --resume=True --checkpoint_path={run.folder}"
        raise KeyboardInterrupt(f"{command} continues the training") from None
    finally:
        training.close()
        keras.mixed_precision.set_global_policy("float32")  # for networks that are built later
    if not spec.takes_alpha:
        _show_unseen(network, data_folders(data), val_ratio, run.folder)
    return best


FLAGS = tuple(name for name in inspect.signature(train).parameters if name != "run")
"""The arguments of `train` that are stored in run.json."""


def data_folders(data: Sequence[str]) -> list[str]:
    """The folders `data`, or the folder of the built-in sample, which is made if it is missing."""
    if data:
        return [str(folder) for folder in data]
    from portrait.data.sample.sample import ensure_sample

    return [str(ensure_sample())]


def batches(
    model: str = "mattingnet",
    input_shape: str = "",
    *,
    data: Sequence[str] = (),
    person_label: Sequence[str] = (),
    val_ratio: float = 0.8,
    augment: str = "default",
    augment_strength: float = 1.0,
    backgrounds: Sequence[str] = (),
    boundary_thickness: Sequence[str] = (),
    teachers: Sequence[str] = (),
    teacher_share: float = 0.5,
    input_range: str = "",
    batch_size: int | None = None,
    seed: int = 0,
    workers: int = 2,
):
    """The training and the validation batches of the folders `data`, or of the built-in sample.

    Returns:
        Two `data_generator.PortraitSequence`; see `data_generator.make_batches`.

    Raises:
        UserError: there are not two pictures, or an augmentation is unknown.
    """
    from augmentation import Augmentation, parse
    from data_generator import find_pairs, make_batches, split
    from portrait.data.backgrounds import load_backgrounds
    from portrait.data.labels import examine
    from portrait.data.sample.sample import sample_backgrounds
    from portrait.data.targets import boundary_target

    size = registry.parse_input_shape(input_shape or registry.find(model).input_shape)
    names = parse(augment)
    thickness = tuple(int(text) for text in boundary_thickness)
    folders = data_folders(data)
    train, validate = split(examine(find_pairs(folders, "training"), person_label), val_ratio)
    if not validate:
        raise UserError(f"{', '.join(folders)}: two pictures are needed, to train and to validate")
    scenes = ()
    if "background" in names:
        scenes = load_backgrounds(backgrounds, size) if backgrounds else sample_backgrounds()
    if registry.find(model).takes_alpha:
        from portrait.training import refining

        return refining.make_batches(
            train, validate, size, batch_size or 32, bool(names), seed, workers
        )
    taught = None
    if teachers:
        from portrait.training.teachers import Teachers

        taught = Teachers(teachers, teacher_share, input_range)
    return make_batches(
        train,
        validate,
        size,
        batch_size or (32 if data else 8),
        Augmentation(names, augment_strength, scenes),
        boundary=functools.partial(boundary_target, thickness=thickness),
        teachers=taught,
        seed=seed,
        workers=workers,
    )


_BATCHES = tuple(inspect.signature(batches).parameters)


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


def _fill(network, weights: Path | None, start: str, pictures, val_ratio: float) -> None:
    """Loads the initial weights of a training into the network."""
    from portrait.models.rescale import balance
    from portrait.models.start.start import start as start_from
    from portrait.models.weights import load_weights, read_settings

    if weights is None:
        start_from(network, start, pictures)
        return
    load_weights(network, weights)
    balance(network)
    print(f"starting from {weights}")
    if not (weights.parent / "run.json").is_file():
        return
    ratio = read_settings(weights.parent).get("flags", {}).get("val_ratio", 0)
    if ratio > val_ratio:
        log.warning(
            "%s was trained with --val_ratio=%s: with %s some of the validation pictures may have "
            "been used for training, and validation scores may be too high",
            *(weights, ratio, val_ratio),
        )


def _open_run(run, flags: dict, training: int, validation: int):
    """A new run, or `run`; its run.json keeps the flags and the numbers of pictures.

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
                f"{training} and {validation} now: continue with --finetune=True "
                f"--weight_dir={run.folder}"
            )
        with run.lock():
            run.write_settings(settings | {"flags": flags, "data": counts})
        return run
    settings = {"command": sys.argv, "flags": flags, "data": counts, "keras": keras.__version__}
    name = full_name(flags["model"], flags["model_size"])
    return Run.create(flags["checkpoint_path"] or Path("trained_models") / name, settings)


def _show_unseen(network, data: list[str], val_ratio: float, folder: Path) -> None:
    """Writes the matte of a photograph that was not used for training."""
    from portrait.data.pairs import unseen
    from portrait.inference.network import from_keras
    from portrait.inference.predict import predict

    photo = unseen(data, val_ratio).image
    for path in predict(from_keras(network).matte, [photo], folder / "unseen"):
        print(f"a photo that was not used for training: {path}")
