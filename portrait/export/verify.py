"""Compares the outputs of an exported file with its Keras model on real pictures."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from metrics import THRESHOLD, boundary_iou, person_iou
from portrait.export.formats import Runtime, Tolerance

_BATCH = 8


class Difference(NamedTuple):
    """The errors |output - Keras's output| of one picture, and the IoUs with its matte."""

    max_error: float
    mean_error: float
    iou: float | None
    keras_iou: float | None


class Parity(NamedTuple):
    """The comparison of a file with its Keras model.

    Attributes:
        max_error: the largest |output - Keras's output| at any pixel: 0..1 for alphas, levels of
            0..255 for pictures; NaN if an output is NaN.
        mean_error: the mean |output - Keras's output|.
        agreement: the mean IoU of the file's and Keras's person masks; None if the outputs are
            pictures.
        iou: the mean person IoU of the file with the mattes; None if no matte has a person.
        keras_iou: the mean person IoU of the Keras model with the mattes.
        boundary_iou: the mean boundary IoU of the file with the mattes; None if `iou` is None.
        keras_boundary_iou: the mean boundary IoU of the Keras model with the mattes.
        worst: the index of the picture with the largest mean error.
        pictures: the figures of each picture.
    """

    max_error: float
    mean_error: float
    agreement: float | None
    iou: float | None
    keras_iou: float | None
    boundary_iou: float | None
    keras_boundary_iou: float | None
    worst: int
    pictures: list[Difference]

    @property
    def iou_change(self) -> float | None:
        """The file's mean person IoU minus the Keras model's."""
        return None if self.iou is None else self.iou - self.keras_iou

    @property
    def boundary_change(self) -> float | None:
        """The file's mean boundary IoU minus the Keras model's."""
        return None if self.boundary_iou is None else self.boundary_iou - self.keras_boundary_iou


def as_input(picture: np.ndarray, channels: int, opacity: int = 255) -> np.ndarray:
    """Converts a uint8 picture to float32 (1, H, W, channels).

    An RGB picture (H, W, 3) gets `opacity` as its fourth channel. A picture with four channels, as
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
        return type(layer).from_config({**layer.get_config(), "dtype": "float64"})

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
    ious, keras_ious = person_ious(outputs, mattes), person_ious(expected, mattes)
    differences = [
        Difference(float(error.max()), float(error.mean()), iou, keras_iou)
        for error, iou, keras_iou in zip(errors, ious, keras_ious, strict=True)
    ]
    agreement = None
    if expected.ndim == 3:
        agreement = np.mean([person_iou(*pair) for pair in zip(outputs, expected, strict=True)])
    mean_errors = [each.mean_error for each in differences]
    parity = Parity(
        max_error=float(np.max([each.max_error for each in differences])),
        mean_error=float(np.mean(mean_errors)),
        agreement=None if agreement is None else float(agreement),
        iou=mean_iou(ious),
        keras_iou=mean_iou(keras_ious),
        boundary_iou=mean_iou(person_ious(outputs, mattes, boundary_iou)),
        keras_boundary_iou=mean_iou(person_ious(expected, mattes, boundary_iou)),
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


def problem(parity: Parity, tolerance: Tolerance) -> str | None:
    """The first violation of the tolerance as text, or None.

    If no matte has a person, the tolerance of the IoU is applied to the IoU of the file's masks
    with Keras's masks.
    """
    if not np.isfinite(parity.max_error):
        return "the output contains NaN"
    if tolerance.largest is not None and parity.max_error > tolerance.largest:
        largest, limit = f"{parity.max_error:.2g}", f"{tolerance.largest:.2g}"
        return f"the output differs from Keras's by up to {largest}, over {limit}"
    if tolerance.mean is not None and parity.mean_error > tolerance.mean:
        mean = f"{parity.mean_error:.2g}"
        return f"the output differs from Keras's by {mean} on average, over {tolerance.mean}"
    if parity.agreement is None:
        return None
    change = parity.boundary_change
    if tolerance.boundary is not None and change is not None and abs(change) > tolerance.boundary:
        return f"the mean boundary IoU changed by {abs(change):.4f}, over {tolerance.boundary}"
    if tolerance.iou is None:
        return None
    if parity.iou_change is None:
        lost, what = 1 - parity.agreement, "masks differ from Keras's: an IoU less than 1 by"
    else:
        lost, what = -parity.iou_change, "the mean person IoU changed by"
        lost = abs(lost) if tolerance.gains else lost
    return f"{what} {lost:.4f}, over {tolerance.iou}" if lost > tolerance.iou else None
