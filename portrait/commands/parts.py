"""What the flags of main.py stand for: the network, its batches, and the recipe that trains it."""

from pathlib import Path

from absl import flags

from portrait.errors import UserError

FLAGS = flags.FLAGS


def model():
    """The network, with fresh weights."""
    from portrait.models.build import build
    from portrait.models.registry import parse_input_shape

    return build(FLAGS.model, parse_input_shape(FLAGS.input_shape), FLAGS.model_size)


def start_weights() -> Path | None:
    """The weights that training starts from; None: it starts from scratch.

    Raises:
        UserError: they are not there, and --finetune needs them.
    """
    if not FLAGS.weight_dir:
        return None
    from portrait.models.weights import weights_file

    start = weights_file(FLAGS.weight_dir)
    if start.is_file():
        return start
    if FLAGS.finetune:
        raise UserError(f"there is no weights file {start}")
    return None


def batches(data: list[str], taught: bool = True):
    """The training and validation batches of the folders `data` (`batches.make_batches`).

    Args:
        data: the folders.
        taught: by --teachers, too.

    Raises:
        UserError: there are not two pictures, or an augmentation is unknown.
    """
    import functools

    from augmentation import Augmentation, parse
    from data_generator import find_pairs, make_batches, split
    from portrait.data.backgrounds import load_backgrounds
    from portrait.data.sample.sample import sample_backgrounds
    from portrait.data.targets import boundary_target
    from portrait.models import registry

    size = registry.parse_input_shape(FLAGS.input_shape)
    names = parse(FLAGS.augment)
    thickness = tuple(int(text) for text in FLAGS.boundary_thickness)
    train, validate = split(find_pairs(data, "training"), FLAGS.val_ratio)
    if not validate:
        raise UserError(f"{', '.join(data)}: two pictures are needed, to train and to validate")
    backgrounds = ()
    if "background" in names:
        backgrounds = (
            load_backgrounds(FLAGS.backgrounds, size) if FLAGS.backgrounds else sample_backgrounds()
        )
    return make_batches(
        train,
        validate,
        size,
        FLAGS.batch_size or (32 if FLAGS.data else 8),
        Augmentation(names, FLAGS.augment_strength, backgrounds),
        boundary=functools.partial(boundary_target, thickness=thickness),
        teachers=teachers() if taught else None,
        seed=FLAGS.seed,
        workers=FLAGS.workers,
    )


def teachers():
    """The `teachers.Teachers`; None: there are none."""
    if not FLAGS.teachers:
        return None
    from portrait.training.teachers import Teachers

    return Teachers(FLAGS.teachers, FLAGS.teacher_share, FLAGS.input_range)


def learning_rate() -> float:
    """The highest learning rate of a training."""
    if FLAGS.lr is not None:
        return FLAGS.lr

    from portrait.models import registry

    spec = registry.find(FLAGS.model)
    random = start_weights() is None and (not spec.imagenet or FLAGS.vgg_weights == "none")
    return spec.learning_rate if random else spec.tuned_learning_rate


def recipe():
    """The `recipe.Recipe` of a training."""
    from portrait.training.recipe import Recipe

    return Recipe(
        epochs=FLAGS.nb_epoch or (100 if FLAGS.data else 24),
        loss=FLAGS.loss,
        boundary_weight=FLAGS.boundary_weight,
        lr=learning_rate(),
        schedule=FLAGS.schedule,
        ema=FLAGS.ema,
        patience=FLAGS.patience,
        checkpoint_every=FLAGS.checkpoint,
    )
