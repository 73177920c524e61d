"""A trained network on photographs: alphas and cut-outs to keep.

Nothing here knows how a matte is made: a `MatteFunction` is Keras, TFLite or anything else.
"""

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from files import UserError
from photographs import work_through
from pictures import read_image, write_png
from preprocess import resize

MatteFunction = Callable[[np.ndarray], np.ndarray]
"""From a photograph, uint8 RGB (H, W, 3), to its alpha, float32 (H, W), 0..1."""


def model_matte_fn(
    predict_batch: Callable[[np.ndarray], np.ndarray], input_shape: tuple[int, int]
) -> MatteFunction:
    """Makes a network of fixed input size work on photographs of any size.

    The photograph is squeezed to the network's shape exactly as in training, and the alpha is
    stretched back (bilinear where it grows).

    Args:
        predict_batch: float32 (1, h, w, 3), RGB 0..255, to float32 (1, h, w, 1), 0..1.
        input_shape: (h, w) of the network.
    """

    def matte_fn(image: np.ndarray) -> np.ndarray:
        batch = resize(image, input_shape)[np.newaxis].astype(np.float32)
        alpha = np.asarray(predict_batch(batch), np.float32)[0, :, :, 0]
        return resize(alpha, image.shape[:2]).clip(0, 1)

    return matte_fn


def predict(
    matte_fn: MatteFunction, inputs: Iterable[str | Path], output: str | Path
) -> list[Path]:
    """Writes `NAME_alpha.png` (grey) and `NAME_cutout.png` (RGBA, the photograph's colours).

    NAME is the photograph's name without its suffix; with it where two would have the same. A
    photograph that is given is never overwritten, whatever the folder `output`.

    Args:
        matte_fn: makes the mattes.
        inputs: picture files, and folders, of which every picture is taken but mattes and earlier
            results: see `photographs.find_photographs`.
        output: the folder to write into; made if missing.

    Returns:
        The files written, the alpha before the cut-out of each photograph.

    Raises:
        UserError: no picture could be found or used, the network yields NaN, `output` cannot be
            written.
    """

    def cut_out(photo: Path, alpha_path: Path, cutout_path: Path) -> None:
        image = read_image(photo)
        levels = np.rint(checked_alpha(matte_fn, image, photo) * 255).astype(np.uint8)
        write_png(alpha_path, levels)
        write_png(cutout_path, np.dstack([image, levels]))

    return work_through(cut_out, inputs, output, ("alpha", "cutout"), "predict")


def checked_alpha(matte_fn: MatteFunction, image: np.ndarray, path: Path) -> np.ndarray:
    """The alpha of the photograph `image`, read from `path`.

    Raises:
        UserError: it holds NaN or infinity.
    """
    alpha = matte_fn(image)
    if not np.isfinite(alpha).all():
        raise UserError(f"the network gives NaN for {path}: its weights are damaged")
    return alpha
