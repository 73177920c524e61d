"""Pictures of a training: the input of a network, its mattes, and the curves of the run."""

from collections.abc import Sequence

import numpy as np

from portrait.io.sheets import before_green, grid


def data_sheet(images: np.ndarray, targets: dict[str, np.ndarray]) -> np.ndarray:
    """Draws training pictures: image, matte, boundary, and the matte over the image.

    Args:
        images: (N, H, W, 3), 0..255.
        targets: `output` and `boundary_attention`, (N, H, W, 1), 0..1.
    """
    rows = []
    for i, image in enumerate(images[..., :3].astype(np.uint8)):
        matte = targets["output"][i, ..., 0]
        boundary = targets["boundary_attention"][i, ..., 0]
        rows.append((image, matte, boundary, before_green(image, matte)))
    return grid(rows, ("image", "matte", "boundary", "over green"), repeat=3)


def sequence_sheet(batches: Sequence, count: int) -> np.ndarray:
    """The `data_sheet` of the first `count` pictures of batches `(images, targets)`."""
    images, targets = batches[0]
    for index in range(1, len(batches)):
        if len(images) >= count:
            break
        more, more_targets = batches[index]
        images = np.concatenate([images, more])
        targets = {k: np.concatenate([v, more_targets[k]]) for k, v in targets.items()}
    return data_sheet(images[:count], {name: target[:count] for name, target in targets.items()})


def matte_sheet(images: np.ndarray, targets: dict, outputs: dict) -> np.ndarray:
    """Pictures with the outputs of the network; the arguments are as in `data_sheet`."""
    rows = []
    for i, image in enumerate(images[..., :3].astype(np.uint8)):
        alpha = np.asarray(outputs["output"][i, ..., 0], np.float32)
        rows.append(
            (
                image,
                targets["output"][i, ..., 0],
                alpha,
                targets["boundary_attention"][i, ..., 0],
                np.asarray(outputs["boundary_attention"][i, ..., 0], np.float32),
                before_green(image, alpha),
            )
        )
    titles = ("image", "matte", "alpha", "boundary target", "boundary", "cut-out")
    return grid(rows, titles, repeat=2)


def curves(history: Sequence[dict[str, float]], best_epoch: int) -> np.ndarray:
    """Loss, person IoU and mean absolute error against the epoch, training beside validation.

    Args:
        history: one row for each epoch, with the names in Keras's logs.
        best_epoch: the epoch to mark.

    Returns:
        uint8 (h, w, 3) RGB.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import ScalarFormatter

    figure = Figure(figsize=(13, 4), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    epochs = [row["epoch"] for row in history]
    shown = (("loss", "loss"), ("output_person_iou", "person IoU"), ("output_mad", "MAD"))
    for axes, (key, label) in zip(figure.subplots(1, 3), shown, strict=True):
        for prefix, name in (("", "training"), ("val_", "validation")):
            values = [row.get(prefix + key, np.nan) for row in history]
            axes.plot(epochs, values, marker="o" if len(history) < 3 else None, label=name)
        axes.axvline(best_epoch, color="grey", linewidth=0.8, linestyle=":", label="best")
        axes.set(xlabel="epoch", title=label, xlim=(0.5, max(epochs[-1], 2) + 0.5))
        axes.xaxis.get_major_locator().set_params(integer=True)
        if key == "loss":
            axes.set_yscale("log")
            # Without it, 0.602 is written as 6.02 x 10^-1.
            axes.yaxis.set_major_formatter(ScalarFormatter())
            axes.yaxis.set_minor_formatter(ScalarFormatter())
        axes.grid(alpha=0.3, which="both")
        axes.legend()
    canvas.draw()
    return np.ascontiguousarray(np.asarray(canvas.buffer_rgba())[..., :3])
