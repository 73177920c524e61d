"""Trains, evaluates and applies portrait segmentation networks.

  python main.py --model=mattingnet --train=True              on a small built-in sample
  python main.py --model=fast_scnn --train=True --data=DIR    on your own pictures
  python main.py --resume=True --checkpoint_path=DIR          go on after an interruption
  python main.py --evaluate=True --weight_dir=RUN --data=DIR  scores and worst cases
  python main.py --model=lite_unet --predict=photo.jpg        alpha and cut-out, by what we ship
  python main.py --convert=True --weight_dir=RUN --data=DIR   files for phones
  python main.py --compress=qat --weight_dir=RUN --data=DIR   smaller files, by training a little

--train, --finetune, --evaluate, --predict, --convert, --compress and --preview_data may be
combined; what is trained is then what is evaluated, applied and converted.
"""

import logging
import sys
from pathlib import Path

from absl import flags

from portrait import cli
from portrait.backend import start_keras
from portrait.commands import flags as main_flags
from portrait.commands import parts
from portrait.commands.flags import VERBS
from portrait.errors import UserError

FLAGS = flags.FLAGS
log = logging.getLogger(__name__)
flags.adopt_module_key_flags(main_flags)


def dispatch() -> None:
    """Does what the flags say."""
    trains = _trains()
    if FLAGS.model == "kmeans" and (trains or FLAGS.convert or FLAGS.compress):
        raise UserError(
            "K-means has nothing to train and no weights to convert, it starts anew on every "
            "photograph: use --evaluate or --predict"
        )
    main_flags.check()
    start_keras()
    run = None
    main_flags.follow_weights(trains)
    if FLAGS.resume:
        from portrait.training.run import Run

        run = Run.latest(main_flags.checkpoint_path())
        cli.take_settings(run.settings()["flags"], main_flags.FREE_ON_RESUME, run.folder)
    main_flags.settle_input_shape(trains)
    main_flags.check_network()
    reads = trains or FLAGS.evaluate or FLAGS.compress or FLAGS.preview_data
    data = _data_folders() if reads else []
    if FLAGS.preview_data:
        _preview_data(data)
    # Before a training, so that what is missing is not said after it.
    testing = _testing_sets(data) if FLAGS.evaluate else {}
    weights = _train(data, run) if trains else None
    if FLAGS.evaluate or FLAGS.predict or FLAGS.convert or FLAGS.compress:
        _use(weights, data, testing)


def _trains() -> bool:
    return FLAGS.train or FLAGS.finetune or FLAGS.resume


def _data_folders() -> list[str]:
    if FLAGS.data:
        return FLAGS.data
    from portrait.data.sample.sample import ensure_sample

    return [str(ensure_sample())]


def _testing_sets(data: list[str]) -> dict:
    from data_generator import find_pairs

    return {folder: find_pairs([folder], "testing") for folder in data}


def _preview_data(data: list[str]) -> None:
    from portrait.io.images import write_png
    from portrait.training.previews import sequence_sheet

    training, _ = parts.batches(data)
    try:
        write_png(FLAGS.preview_data, sequence_sheet(training, 24))
    finally:
        training.close()
    print(f"what the network sees: {FLAGS.preview_data}")


def _train(data: list[str], run) -> Path:
    """Trains as the flags say, in a new run or in `run`.

    Returns:
        The best checkpoint.
    """
    import keras

    from portrait.models.layers import keep_statistics
    from portrait.models.start import start as start_module
    from portrait.models.weights import load_weights, weights_file
    from portrait.training.fit import train

    resuming = run is not None
    fresh = not (resuming and run.has_state())
    start = parts.start_weights() if fresh else None
    if fresh and FLAGS.weight_dir and not start:
        print(f"there is no {FLAGS.weight_dir}: starting from fresh weights")
    keras.utils.set_random_seed(FLAGS.seed)
    # The loader forks its workers: before the network gives TensorFlow's threads work.
    training, validation = parts.batches(data)
    if FLAGS.mixed_precision != "none":  # not for teachers, which the loader has
        keras.mixed_precision.set_global_policy(f"mixed_{FLAGS.mixed_precision}")
    model = parts.model()
    if start:
        load_weights(model, start)
        print(f"starting from {start}")
        _warn_of_known_pictures(start)
    elif fresh:
        wide = weights_file(FLAGS.wide_weights) if FLAGS.wide_weights else ""
        start_module.start(
            model,
            training.images,
            FLAGS.lite0_weights,
            FLAGS.vgg_weights,
            wide,
            FLAGS.selfie_weights,
        )
    if FLAGS.keep_norms:
        keep_statistics(model)
    counts = len(training.images), len(validation.images)
    run = _open_run(run, *counts)
    print(
        f"{model.name} at {FLAGS.input_shape}: {counts[0]} pictures train, {counts[1]} validate; "
        f"run folder {run.folder}"
    )
    try:
        best = train(model, training, validation, run, parts.recipe(), resuming)
    except KeyboardInterrupt:
        command = f"main.py --resume=True --checkpoint_path={run.folder}"
        raise KeyboardInterrupt(f"{command} goes on with the training") from None
    finally:
        training.close()
    keras.mixed_precision.set_global_policy("float32")  # for what is built from now on
    _show_unseen(model, data, run.folder)
    return best


def _warn_of_known_pictures(start: Path) -> None:
    """Says so where pictures that validate have trained the weights: their scores are too good."""
    from portrait.training.run import Run

    if not (start.parent / "run.json").is_file():
        return
    ratio = Run(start.parent).settings().get("flags", {}).get("val_ratio", 0)
    if ratio > FLAGS.val_ratio:
        log.warning(
            "%s was trained with --val_ratio=%s: with %s some of the pictures that validate now "
            "may have trained it",
            *(start, ratio, FLAGS.val_ratio),
        )


def _open_run(run, training: int, validation: int):
    """A new run, or `run`; it keeps the flags and how many pictures train and validate.

    Raises:
        UserError: `run` has trained with another number of them.
    """
    import keras

    from portrait.training.run import Run

    # The default of --lr depends on --finetune, which a run that is resumed does not know of.
    flags = cli.run_flags(main_flags, VERBS) | {"lr": parts.learning_rate()}
    counts = {"training_pictures": training, "validation_pictures": validation}
    if run:
        settings = run.settings()
        began = settings.get("data", counts)
        # The learning rate is a function of the steps done, of which an epoch would have others.
        if run.has_state() and began != counts:
            numbers = " and ".join(f"{n}" for n in began.values())
            raise UserError(
                f"{run.folder} has trained and validated with {numbers} pictures, not with the "
                f"{training} and {validation} that there are now: go on with --finetune=True "
                f"--weight_dir={run.folder}"
            )
        with run.held():
            run.write_settings(settings | {"flags": flags, "data": counts})
        return run
    settings = {
        "command": sys.argv,
        "flags": flags,
        "data": counts,
        "keras": keras.__version__,
    }
    return Run.create(main_flags.checkpoint_path(), settings)


def _show_unseen(model, data: list[str], folder: Path) -> None:
    """Leaves the matte of a photo that the network was not trained on."""
    from portrait.data.pairs import unseen
    from portrait.inference.network import from_keras
    from portrait.inference.predict import predict

    photo = unseen(data, FLAGS.val_ratio).image
    for path in predict(from_keras(model).matte, [photo], folder / "unseen"):
        print(f"a photo it was not trained on: {path}")


def _use(weights: Path | None, data: list[str], testing: dict) -> None:
    """Evaluates, applies and converts: what was just trained, --weight_dir, or what we ship."""
    from portrait.evaluation.evaluate import evaluate
    from portrait.inference.network import from_keras
    from portrait.inference.predict import predict

    # Before the network works, unless it has just trained: see `_train`. It is its own teacher.
    sequences = parts.batches(data, taught=False) if FLAGS.compress else ()
    if FLAGS.model == "kmeans":
        from portrait.models.baselines.kmeans import matte as matte_fn
    else:
        model, weights = _trained(weights)
        matte_fn = from_keras(model).matte
    if FLAGS.refine != "none":
        from portrait.matting.refine import refined

        matte_fn = refined(matte_fn, FLAGS.refine)
    if FLAGS.evaluate:
        evaluate(matte_fn, testing, FLAGS.output)
    if FLAGS.predict:
        for path in predict(matte_fn, FLAGS.predict, FLAGS.output):
            print(path)
    if FLAGS.convert or FLAGS.compress:
        _export(model, weights, *sequences)


def _trained(weights: Path | None):
    """The network with these weights, or else --weight_dir's or those we ship; and their file.

    Or with MediaPipe's, just as they are.
    """
    import numpy as np

    from portrait.models.start import start as start_module
    from portrait.models.weights import load_weights, weights_file

    model = parts.model()
    if weights is None and FLAGS.selfie_weights and not FLAGS.weight_dir:
        # What it gives does not depend on the pictures of which it has its statistics.
        pictures = np.zeros((1, *model.input_shape[1:]), np.uint8)
        start_module.start(model, pictures, selfie_weights=FLAGS.selfie_weights, exactly=True)
        return model, Path(FLAGS.selfie_weights)
    if weights is None:
        shipped = main_flags.shipped_weights()
        if not FLAGS.weight_dir and not shipped.is_file():
            name = main_flags.network_name()
            raise UserError(f"no weights of {name}: train it, or give --weight_dir=FILE")
        weights = weights_file(FLAGS.weight_dir) if FLAGS.weight_dir else shipped
    load_weights(model, weights)
    return model, weights


def _export(model, weights: Path, training=None, validation=None) -> None:
    """Converts, and compresses, into --output; a run's weights, unless it is given, into theirs."""
    import functools

    from portrait import export
    from portrait.models.build import builder
    from portrait.models.weights import CHECKPOINT_NAME

    in_run, asked = CHECKPOINT_NAME.fullmatch(weights.name), FLAGS["output"].present
    size = model.input_shape[1:3]
    options = {
        "output": weights.parent / "export" if in_run and not asked else Path(FLAGS.output),
        "name": FLAGS.tflite_name or model.name,
        "samples": export.load_samples(FLAGS.data, size),
        "android": FLAGS.android,
        "formats": FLAGS.formats,
        "allow_cpu_ops": FLAGS.allow_cpu_ops,
    }
    print(f"exporting {weights}")
    jobs = [functools.partial(export.convert_all, model, **options)] if FLAGS.convert else []
    if FLAGS.compress:
        from portrait.export.compress.compress import Plan, compress

        build = functools.partial(builder(FLAGS.model, FLAGS.model_size), size)
        plan = Plan(
            FLAGS.compress,
            # A training that comes first is what these flags are of.
            epochs=5 if _trains() else FLAGS.nb_epoch or 5,
            lr=1e-4 if _trains() or FLAGS.lr is None else FLAGS.lr,
            sparsity=FLAGS.sparsity,
            clusters=FLAGS.clusters,
        )
        jobs.append(
            functools.partial(compress, model, build, training, validation, plan, **options)
        )
    refusals = []
    try:
        for job in jobs:
            try:
                job()
            except export.FilesRefused as error:  # what else is to be done is done first
                refusals.append(str(error))
    finally:
        if training is not None:
            training.close()
    if refusals:
        raise UserError("; ".join(refusals))


if __name__ == "__main__":
    cli.run(dispatch, VERBS)
