"""Loads the pictures for calibrating and checking exported files."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Samples:
    """Pictures of a network's size.

    Attributes:
        calibration: uint8 RGB (N, H, W, 3), for the ranges of quantised formats; (N, H, W, 4) for
            networks with an alpha as the fourth channel.
        pictures: uint8 RGB (M, H, W, 3) or (M, H, W, 4), on which files are compared with Keras.
        mattes: uint8 (M, H, W), 255 = person, of `pictures`; None for a style network.
        source: a description of the pictures' origin.
    """

    calibration: np.ndarray
    pictures: np.ndarray
    mattes: np.ndarray | None
    source: str


def load_samples(
    folders: Sequence[str],
    size: tuple[int, int],
    count: int = 100,
    person_label: Sequence[str] = (),
    takes_alpha: str = "",
) -> Samples:
    """Reads up to `count` pairs for calibration and up to `count` other pairs for checks.

    They are taken at equal intervals from the `training` and `testing` sub-folders, or, if there is
    no `testing` sub-folder, from two halves that are split by name.

    Args:
        folders: see `pairs.find_pairs`; empty: the built-in sample.
        size: (height, width) of the network.
        count: the largest number of pairs of each kind.
        person_label: see `labels.examine`.
        takes_alpha: see `registry.Spec`: "coarse" for tiles with coarse alphas, "previous" for
            pictures with alphas of the frame before.

    Raises:
        UserError: a folder contains no pairs, or label masks whose label of the person is unknown.
    """
    from data_generator import find_pairs, split
    from portrait.data.labels import examine
    from portrait.data.loading import load
    from portrait.data.sample.sample import ensure_sample
    from portrait.util import evenly

    source = ", ".join(map(str, folders))
    if not folders:
        folders = [str(ensure_sample())]
        source = (
            "the built-in sample, which shows one person: it is enough to compare the files with "
            "the Keras model, but calibrate with your own pictures (--data)"
        )
    training, testing = [], []
    for folder in folders:
        tested = trained = find_pairs([folder], "training")
        if Path(folder, "testing").is_dir():
            tested = find_pairs([folder], "testing")
        if tested == trained and len(trained) > 1:
            trained, tested = split(trained, 0.5)
        training += trained
        testing += tested
    if takes_alpha == "coarse":
        from portrait.training.refining import tiles_of as load
    elif takes_alpha == "previous":
        from portrait.training.previous import load
    calibration = load(evenly(examine(training, person_label), count), size)
    checked = load(evenly(examine(testing, person_label), count), size)
    return Samples(calibration.images, checked.images, checked.mattes, source)
