"""The pictures that an export is calibrated and checked with."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from portrait.errors import UserError


@dataclass(frozen=True)
class Samples:
    """Pictures of a network's size.

    Attributes:
        calibration: uint8 RGB (N, H, W, 3); quantised formats take their ranges from these.
        pictures: uint8 RGB (M, H, W, 3); files are compared with Keras on these.
        mattes: uint8 (M, H, W), 255 = person, of `pictures`; None for a network that paints.
        source: where they come from, in words.
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
) -> Samples:
    """Reads up to `count` pairs to calibrate with and as many others to check with.

    They are spread evenly over the folders' `training` and `testing` sub-folders; of a folder
    without `testing`, over the two halves of a split by name.

    Args:
        folders: as `pairs.find_pairs` takes them; none: the built-in sample.
        size: (height, width) of the network.
        count: how many of each at most.
        person_label: as in `labels.examine`.

    Raises:
        UserError: a folder holds no pairs, or label masks that do not tell which is the person.
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
            "the built-in sample, one person only: it shows that the files equal the Keras model, "
            "not how good that is; calibrate with your own pictures (--data)"
        )
    training, testing = [], []
    for folder in folders:
        trained = find_pairs([folder], "training")
        try:
            tested = find_pairs([folder], "testing")
        except UserError:
            tested = trained
        if tested == trained and len(trained) > 1:
            trained, tested = split(trained, 0.5)
        training += trained
        testing += tested
    calibration = load(evenly(examine(training, person_label), count), size)
    checked = load(evenly(examine(testing, person_label), count), size)
    return Samples(calibration.images, checked.images, checked.mattes, source)
