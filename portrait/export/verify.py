"""Compares the outputs of an exported file with its Keras model on real pictures."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from metrics import THRESHOLD, boundary_iou, person_iou
from portrait.export.formats import Runtime, Tolerance

_BATCH = 8
_ERRORS, _CEILING = 2, 3  # see `Score.exceeds`


class Difference(NamedTuple):
    """The errors |output - Keras's output| of one picture."""

    max_error: float
    mean_error: float


class Score(NamedTuple):
    """A mean IoU of a file and of its Keras model over the same pictures.

    Attributes:
        file: the file's mean.
        keras: the Keras model's mean.
        standard_error: of `change`, from the differences picture by picture; infinite for one
            picture.
    """

    file: float
    keras: float
    standard_error: float

    @property
    def change(self) -> float:
        """The file's mean minus the Keras model's."""
        return self.file - self.keras

    def exceeds(self, limit: float, gains: bool = True) -> bool:
        """Whether the mean changed by more than `limit`, and not by chance.

        A change counts if it is beyond the limit by more than two standard errors, because the mean
        over few pictures varies. A change of more than three times the limit always counts, so that
        few pictures cannot let a bad file through.

        Args:
            limit: see `formats.Tolerance`.
            gains: whether a rise counts, too.
        """
        change = abs(self.change) if gains else -self.change
        return change > min(limit + _ERRORS * self.standard_error, _CEILING * limit)


class Parity(NamedTuple):
    """The comparison of a file with its Keras model.

    Attributes:
        max_error: the largest |output - Keras's output| at any pixel: 0..1 for alphas, levels of
            0..255 for pictures; NaN if an output is NaN.
        mean_error: the mean |output - Keras's output|.
        agreement: the IoU of the person masks with Keras's masks, which is 1 for Keras; None if the
            outputs are pictures.
        iou: the person IoU with the mattes; None if no matte has a person.
        boundary_iou: the boundary IoU with the mattes; None if `iou` is None.
        worst: the index of the picture with the largest mean error.
        pictures: the errors of each picture.
    """

    max_error: float
    mean_error: float
    agreement: Score | None
    iou: Score | None
    boundary_iou: Score | None
    worst: int
    pictures: list[Difference]


def as_input(picture: np.ndarray, channels: int, opacity: int = 255) -> np.ndarray:
    """Converts a uint8 picture to float32 (1, H, W, channels).

    An RGB picture (H, W, 3) gets `opacity` as its fourth channel. A picture with more channels, as
    the refiner takes it, stays as it is.
    """
    batch = np.full((1, *picture.shape[:2], channels), opacity, np.float32)
    batch[0, ..., : picture.shape[2]] = picture
    return batch


def keras_outputs(model: Any, pictures: np.ndarray) -> np.ndarray:
    """The outputs that a file is compared with.

    A model with 4 channels gets transparent pictures, although files get opaque ones, because the
    alpha of the input must not matter.

    Args:
        model: a `keras.Model`, see `formats.Source`.
        pictures: uint8 RGB (N, H, W, 3).

    Returns:
        float32: alphas (N, H, W) in 0..1, or pictures (N, H, W, 3) in 0..255.
    """
    channels = model.input_shape[3]
    batches = (pictures[i : i + _BATCH] for i in range(0, len(pictures), _BATCH))
    outputs = [
        np.asarray(model(np.concatenate([as_input(each, channels, 0) for each in batch])))
        for batch in batches
    ]
    return without_single_channel(np.concatenate(outputs))


def without_single_channel(outputs: np.ndarray) -> np.ndarray:
    """Removes the last axis of alphas (..., 1); leaves pictures (..., 3) unchanged."""
    return outputs[..., 0] if outputs.shape[-1] == 1 else outputs


def rounding_error(model: Any, pictures: np.ndarray) -> float:
    """The largest difference between the model's outputs in float32 and in float64.

    Deep networks with steep outlines amplify the rounding of float32 to more than 1e-5. Two correct
    programs can therefore differ by as much.

    Args:
        model: see `keras_outputs`.
        pictures: uint8 RGB (N, H, W, 3).
    """
    import keras

    def precise(layer):
        # A function of keras.ops has the type of its arguments.
        dtype = {"dtype": "float64"} if isinstance(layer, keras.layers.Layer) else {}
        return type(layer).from_config({**layer.get_config(), **dtype})

    # Recursive, because the network for RGBA contains the network for RGB as a layer.
    exact = keras.models.clone_model(model, clone_function=precise, recursive=True)
    exact.set_weights(model.get_weights())
    return float(np.abs(keras_outputs(exact, pictures) - keras_outputs(model, pictures)).max())


def compare(
    runtime: Runtime,
    pictures: np.ndarray,
    expected: np.ndarray,
    mattes: np.ndarray | None = None,
) -> tuple[Parity, np.ndarray]:
    """Runs a file on pictures, and compares its outputs with Keras's.

    Args:
        runtime: runs the file.
        pictures: uint8 RGB (N, H, W, 3).
        expected: the result of `keras_outputs`.
        mattes: uint8 (N, H, W), 255 = person, or None. Mattes without a person have no IoU.

    Returns:
        The comparison, and the file's outputs, float32 of the shape of `expected`.
    """
    outputs = np.stack([runtime(picture) for picture in pictures])
    errors = np.abs(outputs - expected)
    differences = [Difference(float(error.max()), float(error.mean())) for error in errors]
    agreement = None
    if expected.ndim == 3:
        masks = [person_iou(*pair) for pair in zip(outputs, expected, strict=True)]
        agreement = _score(masks, [1.0] * len(masks))

    def against_mattes(score):
        return _score(*(person_ious(alphas, mattes, score) for alphas in (outputs, expected)))

    mean_errors = [each.mean_error for each in differences]
    parity = Parity(
        max_error=float(np.max([each.max_error for each in differences])),
        mean_error=float(np.mean(mean_errors)),
        agreement=agreement,
        iou=against_mattes(person_iou),
        boundary_iou=against_mattes(boundary_iou),
        worst=int(np.argmax(mean_errors)),
        pictures=differences,
    )
    return parity, outputs


def person_ious(
    alphas: np.ndarray,
    mattes: np.ndarray | None,
    score: Callable[[np.ndarray, np.ndarray], float] = person_iou,
) -> list[float | None]:
    """The person IoU of each picture; None if its matte has no person.

    Args:
        alphas: float32 (N, H, W), 0..1.
        mattes: uint8 (N, H, W), 255 = person, or None.
        score: another metric of an alpha and a matte.
    """
    if mattes is None:
        return [None] * len(alphas)
    pairs = zip(alphas, mattes / np.float32(255), strict=True)
    return [score(*pair) if (pair[1] >= THRESHOLD).any() else None for pair in pairs]


def mean_iou(ious: list[float | None]) -> float | None:
    """The mean over the pictures with a person; None if there are none."""
    present = [iou for iou in ious if iou is not None]
    return float(np.mean(present)) if present else None


def _score(file: list[float | None], keras: list[float | None]) -> Score | None:
    """Compares the IoUs of each picture; None if no picture has any."""
    pairs = [pair for pair in zip(file, keras, strict=True) if None not in pair]
    if not pairs:
        return None
    changes = np.subtract(*np.transpose(pairs))
    error = changes.std(ddof=1) / np.sqrt(len(pairs)) if len(pairs) > 1 else np.inf
    return Score(*(float(mean) for mean in np.mean(pairs, axis=0)), float(error))


def problem(parity: Parity, tolerance: Tolerance) -> str | None:
    """The first violation of the tolerance as text, or None.

    `Score.exceeds` decides on the IoUs. If no matte has a person, the tolerance of the person IoU
    is applied to the IoU of the file's masks with Keras's masks.
    """
    if not np.isfinite(parity.max_error):
        return "the output contains NaN"
    if tolerance.largest is not None and parity.max_error > tolerance.largest:
        largest, limit = f"{parity.max_error:.2g}", f"{tolerance.largest:.2g}"
        return f"the output differs from Keras's by up to {largest}, over {limit}"
    if tolerance.mean is not None and parity.mean_error > tolerance.mean:
        mean = f"{parity.mean_error:.2g}"
        return f"the output differs from Keras's by {mean} on average, over {tolerance.mean}"
    person = ("person IoU", parity.iou)
    if parity.iou is None:
        person = ("IoU with Keras's masks", parity.agreement)
    limits = (("boundary IoU", parity.boundary_iou), tolerance.boundary), (person, tolerance.iou)
    for (what, score), limit in limits:
        if score and limit is not None and score.exceeds(limit, tolerance.gains):
            change = f"{score.change:+.4f}, with a standard error of {score.standard_error:.4f}"
            return f"the mean {what} changed by {change}: the limit is {limit}"
    return None
