"""Writes the alphas and cut-outs of photographs.

A `MatteFunction` can be a Keras model, a `.tflite` file or any other method.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from portrait.errors import UserError
from portrait.inference.network import MatteFunction
from portrait.io.images import read_image, write_png
from portrait.io.photos import work_through


def predict(
    matte_fn: MatteFunction, inputs: Iterable[str | Path], output: str | Path
) -> list[Path]:
    """Writes `NAME_alpha.png` (grey) and `NAME_cutout.png` (RGBA, the photograph's colours).

    NAME is the photograph's name without its suffix, or with it if two results would have the same
    name. Input photographs are never overwritten.

    Args:
        matte_fn: from a photograph to its alpha.
        inputs: picture files, and folders; mattes and earlier results in folders are skipped, see
            `photos.find_photographs`.
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
    """Computes the alpha of the photograph `image`, which was read from `path`.

    Raises:
        UserError: the alpha contains NaN or infinity.
    """
    alpha = matte_fn(image)
    if not np.isfinite(alpha).all():
        raise UserError(f"the network's output for {path} is NaN: its weights are damaged")
    return alpha
