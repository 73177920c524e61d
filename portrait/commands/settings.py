"""Checks the flags of main.py, and sets defaults that depend on other flags."""

from collections.abc import Sequence
from pathlib import Path

from absl import flags

from portrait import cli
from portrait.commands.batches import UNUSED, size_of_batches
from portrait.errors import UserError
from portrait.models import registry

FLAGS = flags.FLAGS
# Flags that a resumed run may change; the others are fixed when it starts.
FREE_ON_RESUME = ("nb_epoch", "patience", "workers", "cache", "checkpoint", "checkpoint_path")
FREE_ON_RESUME += ("output", "refine", "tflite_name", "android", "formats")
FREE_ON_RESUME += ("allow_cpu_ops", "gpu_check", "sparsity", "clusters")
_TRAININGS = ("train", "finetune", "resume")
_TARGETS = (*_TRAININGS, "preview_data")  # compressed networks are their own teachers
# Flags of the first README are not listed: its commands give them whatever is to be done.
COMPANIONS = {
    **dict.fromkeys(("loss", "boundary_weight", "schedule", "patience", "ema"), _TRAININGS),
    **dict.fromkeys(("mixed_precision", "devices", "hosts"), _TRAININGS),
    **dict.fromkeys(("teachers", "boundary_thickness"), _TARGETS),
    **dict.fromkeys(("backgrounds", "augment_strength"), (*_TARGETS, "compress")),
    **dict.fromkeys(("teacher_share", "input_range"), ("teachers",)),
    **dict.fromkeys(("formats", "allow_cpu_ops"), ("convert", "compress")),
    **dict.fromkeys(("sparsity", "clusters"), ("compress",)),
    "gpu_check": ("convert",),
    "refine": ("evaluate", "predict"),
}
# Flags of earlier versions, which old run.json files may contain.
RETIRED = ("keep_norms", "vgg_weights", "lite0_weights", "wide_weights", "selfie_weights")


def trains() -> bool:
    """Whether the flags ask for a training."""
    return FLAGS.train or FLAGS.finetune or FLAGS.resume


def compression() -> dict:
    """The number of epochs and the learning rate of --compress.

    If the same command trains a network first, --nb_epoch and --lr belong to that training.
    """
    epochs, lr = (None, None) if trains() else (FLAGS.nb_epoch, FLAGS.lr)
    return {"epochs": epochs or 5, "lr": 1e-4 if lr is None else lr}


def settle():
    """Checks the flags, and sets defaults that depend on other flags.

    Returns:
        The run to resume; None without --resume.

    Raises:
        UserError: flags cannot be combined, or a file does not exist.
    """
    _check()
    _follow_weights()
    run = _follow_run() if FLAGS.resume else None
    _settle_input_shape()
    _check_network(run)
    if registry.find(FLAGS.model).builder:
        registry.builder(FLAGS.model, FLAGS.model_size)
    _check_effects()
    return run


def settle_training() -> None:
    """Settles the flags of a training for a program without the other verbs of main.py.

    It does not import Keras, so that the program can fork afterwards.

    Raises:
        UserError: see `settle`.
    """
    FLAGS.train = True
    _check()
    _follow_weights()
    _settle_input_shape()
    _check_network()


def _check() -> None:
    """Checks that need no imports, which would take seconds."""
    cli.refuse_empty(("data", "weight_dir", "backgrounds", "teachers", "formats", "input_shape"))
    if FLAGS.input_shape:
        registry.parse_input_shape(FLAGS.input_shape)
    if not all(text.isdecimal() and int(text) > 0 for text in FLAGS.boundary_thickness):
        raise UserError("--boundary_thickness: write widths in pixels, such as 5 or 3,7,11")
    if FLAGS.finetune and not FLAGS.weight_dir:
        raise UserError("--finetune=True needs weights to start from: --weight_dir=FILE")
    if FLAGS.finetune and not _weights().is_file():
        raise UserError(f"there is no weights file {_weights()}")
    if FLAGS.convert or FLAGS.compress:
        from portrait.export.convert import check_request

        name = FLAGS.tflite_name or "network"
        check_request(name, FLAGS.formats, FLAGS.android, FLAGS.compress)
    for path in FLAGS.predict:
        if not Path(path).exists():
            raise UserError(f"there is no {path}")


def _check_network(run=None) -> None:
    """Raises UserError if the network does not support the flags. `run` is resumed."""
    spec = registry.find(FLAGS.model)
    if not spec.builder:
        if trains() or FLAGS.convert or FLAGS.compress:
            raise UserError(
                f"{spec.name} has no weights to train or convert: use --evaluate or --predict"
            )
        _refuse(("weight_dir", "start", "model_size"), spec.name)
        if not FLAGS.preview_data:
            _refuse(("input_shape",), spec.name)
        return
    if spec.takes_alpha == "coarse" and (FLAGS.evaluate or FLAGS.predict or FLAGS.compress):
        raise UserError(
            f"{spec.name} refines the alphas of other networks: train and convert it; the shipped "
            "one works with --refine=learned"
        )
    _refuse(UNUSED[spec.takes_alpha], spec.name)
    if not spec.sizes:
        _refuse(("model_size",), spec.name)
    other = FLAGS["augment"].present and FLAGS.augment not in ("default", "none")
    if spec.takes_alpha == "coarse" and other:
        raise UserError(f"{spec.name} varies tiles in its own way: use --augment=default or none")
    if spec.takes_alpha and FLAGS.compress:
        raise UserError(f"{spec.name} cannot be compressed: --compress trains on pictures alone")
    if spec.takes_alpha and FLAGS.android:
        raise UserError(f"{spec.name} has four input channels anyway: leave out --android")
    if not (run and run.has_state()):  # otherwise the initial weights are not read again
        from portrait.models.start.start import check_source

        check_source(spec.name, FLAGS.start)
    if FLAGS.convert or FLAGS.compress:
        registry.check_exportable(FLAGS.model)


def _refuse(unused: Sequence[str], network: str) -> None:
    """Raises UserError if one of these flags, which have no effect on a network, is given."""
    if given := [name for name in unused if FLAGS[name].present]:
        raise UserError(f"--{given[0]} has no effect on {network}: leave it out")


def _check_effects() -> None:
    """Raises UserError if a flag is given that would have no effect."""
    cli.check_companions(COMPANIONS)
    for name, method in (("sparsity", "prune"), ("clusters", "cluster")):
        if FLAGS[name].present and FLAGS.compress != method:
            raise UserError(f"--{name} is for --compress={method}")
    if FLAGS["start"].present and FLAGS.weight_dir and _weights().is_file():
        raise UserError("--start and --weight_dir name two initial weights: leave one of them out")
    if FLAGS["checkpoint_path"].present and not (trains() or FLAGS.weight_dir):
        raise UserError("--checkpoint_path is for trainings: name a run with --weight_dir=RUN")
    if FLAGS["augment"].present:
        from augmentation import parse

        names = parse(FLAGS.augment)
        if FLAGS["backgrounds"].present and "background" not in names:
            raise UserError("--backgrounds is for the augmentation background: add it to --augment")
        if FLAGS["augment_strength"].present and not names:
            raise UserError(f"--augment_strength has no effect with --augment={FLAGS.augment}")


def _weights() -> Path:
    from portrait.models.weights import weights_file

    return weights_file(FLAGS.weight_dir)


def _follow_weights() -> None:
    """Sets the network flags that are not given to the values of --weight_dir."""
    from portrait.models.weights import network_of

    if not FLAGS.weight_dir or not _weights().is_file():
        return
    found = network_of(_weights())
    cli.take_settings(found, list(found), _weights().parent)


def _follow_run():
    """Finds the run to resume, and sets the flags to its values."""
    from portrait.training.run import Run

    name = registry.full_name(FLAGS.model, FLAGS.model_size)
    run = Run.latest(FLAGS.checkpoint_path or Path("trained_models") / name)
    kept = {name: value for name, value in run.flags().items() if name not in RETIRED}
    size = kept.pop("batch_size", None)
    cli.take_settings(kept, FREE_ON_RESUME, run.folder)
    # Earlier versions did not store the default, which depends on the other flags.
    size = size or size_of_batches(None, FLAGS.data, registry.find(FLAGS.model).takes_alpha)
    cli.take_settings({"batch_size": size}, FREE_ON_RESUME, run.folder)
    return run


def _settle_input_shape() -> None:
    """Sets --input_shape to its default, which depends on the weights or the network."""
    from portrait.models.weights import network_of, shipped_weights

    if FLAGS.input_shape:
        return
    FLAGS.input_shape = registry.find(FLAGS.model).input_shape
    shipped = shipped_weights(registry.full_name(FLAGS.model, FLAGS.model_size))
    if not (trains() or FLAGS.weight_dir or FLAGS.preview_data) and shipped.is_file():
        FLAGS.input_shape = network_of(shipped)["input_shape"]
