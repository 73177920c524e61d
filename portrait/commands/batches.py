"""The batches of a training as a function, with flags of main.py as its arguments."""

import functools
import inspect
from collections.abc import Sequence

from portrait.errors import UserError
from portrait.models import registry


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
    cache: str = "auto",
    devices: int = 1,
    hosts: Sequence[str] = (),
    host: int = 0,
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
        scenes = (
            load_backgrounds(backgrounds, size, without=[pair.image for pair in validate])
            if backgrounds
            else sample_backgrounds()
        )
    parts = {"multiple": devices * max(1, len(hosts)), "share": (host, max(1, len(hosts)))}
    takes = registry.find(model).takes_alpha
    size_of_batch = size_of_batches(batch_size, data, takes)
    if takes == "coarse":
        from portrait.training import refining

        return refining.make_batches(
            train, validate, size, size_of_batch, bool(names), seed, workers, **parts
        )
    taught = None
    if teachers:
        from portrait.training.teachers import Teachers

        taught = Teachers(teachers, teacher_share, input_range)
    if takes == "previous":
        from portrait.training.previous import make_batches
    else:
        parts["cache"] = cache
    return make_batches(
        train,
        validate,
        size,
        size_of_batch,
        Augmentation(names, augment_strength, scenes),
        boundary=functools.partial(boundary_target, thickness=thickness),
        teachers=taught,
        seed=seed,
        workers=workers,
        **parts,
    )


def size_of_batches(asked: int | None, data: Sequence[str], takes_alpha: str) -> int:
    """--batch_size, or its default for a network with this `Spec.takes_alpha`."""
    return asked or (32 if data or takes_alpha == "coarse" else 8)


UNUSED = {
    "": (),
    "previous": ("cache",),
    "coarse": (
        *("augment_strength", "backgrounds", "boundary_thickness"),
        *("teachers", "teacher_share", "input_range", "cache"),
    ),
}
"""The arguments of `batches` without effect on a network, by its `Spec.takes_alpha`."""

ARGUMENTS = tuple(inspect.signature(batches).parameters)
