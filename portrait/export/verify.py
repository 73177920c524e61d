"""How far a written file's outputs are from those of its Keras model, on real pictures."""

from typing import Any, NamedTuple

import numpy as np

from metrics import THRESHOLD, person_iou
from portrait.export.formats import Runtime, Tolerance

_BATCH = 8


class Difference(NamedTuple):
    """One picture: errors are |output - Keras's output|; IoUs are against the matte."""

    max_error: float
    mean_error: float
    iou: float | None
    keras_iou: float | None


class Parity(NamedTuple):
    """A file against its Keras model.

    Attributes:
        max_error: the largest |output - Keras's output| at any pixel: 0..1 for alphas, levels of
            0..255 for pictures; NaN if an output is.
        mean_error: the mean of the same.
        agreement: mean over pictures of the IoU of the file's and Keras's person masks; None if the
            output is a picture.
        iou: the mean person IoU with the mattes; None where there are none with a person.
        keras_iou: the same of the Keras model.
        worst: which picture has the largest mean error.
        pictures: the figures of each picture.
    """

    max_error: float
    mean_error: float
    agreement: float | None
    iou: float | None
    keras_iou: float | None
    worst: int
    pictures: list[Difference]

    @property
    def iou_change(self) -> float | None:
        """The file's mean person IoU less that of the Keras model."""
        return None if self.iou is None else self.iou - self.keras_iou


def as_input(picture: np.ndarray, channels: int, opacity: int = 255) -> np.ndarray:
    """A uint8 RGB picture (H, W, 3) as float32 (1, H, W, channels), the fourth being `opacity`."""
    batch = np.full((1, *picture.shape[:2], channels), opacity, np.float32)
    batch[0, ..., :3] = picture
    return batch


def keras_outputs(model: Any, pictures: np.ndarray) -> np.ndarray:
    """The outputs that a file must give.

    A model of RGBA sees transparent pictures, where files see opaque ones: it must not matter.

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
    """Alphas (..., 1) as (...); pictures (..., 3) as they are."""
    return outputs[..., 0] if outputs.shape[-1] == 1 else outputs


def rounding_error(model: Any, pictures: np.ndarray) -> float:
    """The largest difference between the model's outputs in float32 and in float64.

    Deep networks with steep outlines amplify the last bit of float32 to more than 1e-5, and two
    correct programs then differ by as much.

    Args:
        model: as for `keras_outputs`.
        pictures: uint8 RGB (N, H, W, 3).
    """
    import keras

    def precise(layer):
        return type(layer).from_config({**layer.get_config(), "dtype": "float64"})

    # Recursive: the network that takes RGBA has the one that takes RGB as a layer.
    exact = keras.models.clone_model(model, clone_function=precise, recursive=True)
    exact.set_weights(model.get_weights())
    return float(np.abs(keras_outputs(exact, pictures) - keras_outputs(model, pictures)).max())


def compare(
    runtime: Runtime,
    pictures: np.ndarray,
    expected: np.ndarray,
    mattes: np.ndarray | None = None,
) -> tuple[Parity, np.ndarray]:
    """Runs a file on pictures.

    Args:
        runtime: runs the file.
        pictures: uint8 RGB (N, H, W, 3).
        expected: `keras_outputs` of them.
        mattes: uint8 (N, H, W), 255 = person; those without a person have no IoU. None: there are
            none.

    Returns:
        The figures, and the file's outputs, float32 of the shape of `expected`.
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
        worst=int(np.argmax(mean_errors)),
        pictures=differences,
    )
    return parity, outputs


def person_ious(alphas: np.ndarray, mattes: np.ndarray | None) -> list[float | None]:
    """The person IoU of each picture; None where the matte shows no person.

    Args:
        alphas: float32 (N, H, W), 0..1.
        mattes: uint8 (N, H, W), 255 = person; None: there are none.
    """
    if mattes is None:
        return [None] * len(alphas)
    pairs = zip(alphas, mattes / np.float32(255), strict=True)
    return [person_iou(*pair) if (pair[1] >= THRESHOLD).any() else None for pair in pairs]


def mean_iou(ious: list[float | None]) -> float | None:
    """The mean over the pictures with a person; None where there are none."""
    present = [iou for iou in ious if iou is not None]
    return float(np.mean(present)) if present else None


def problem(parity: Parity, tolerance: Tolerance) -> str | None:
    """What is beyond the tolerance; None where nothing is.

    Where no matte shows a person, the IoU's tolerance holds for the masks' disagreement.
    """
    if not np.isfinite(parity.max_error):
        return "the output is not a number (NaN)"
    if tolerance.largest is not None and parity.max_error > tolerance.largest:
        largest, limit = f"{parity.max_error:.2g}", f"{tolerance.largest:.2g}"
        return f"the output differs from Keras's by up to {largest}, over {limit}"
    if tolerance.mean is not None and parity.mean_error > tolerance.mean:
        mean = f"{parity.mean_error:.2g}"
        return f"the output differs from Keras's by {mean} on average, over {tolerance.mean}"
    if tolerance.iou is None or parity.agreement is None:
        return None
    if parity.iou_change is None:
        lost, what = 1 - parity.agreement, "masks differ from Keras's: an IoU less than 1 by"
    else:
        lost, what = -parity.iou_change, "the mean person IoU changed by"
        lost = abs(lost) if tolerance.gains else lost
    return f"{what} {lost:.4f}, over {tolerance.iou}" if lost > tolerance.iou else None
