"""Pictures to look at: what a network is fed, what it makes of it, and how a run went."""

from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from preprocess import resize

PAPER = (238, 238, 238)  # not white: mattes are
INK = (40, 40, 40)
GREEN = (0, 177, 64)  # what is cut out is easiest to judge before the green of a film studio
_GAP = 4
_HEAD = 24


def grid(
    rows: Sequence[Sequence[np.ndarray]], titles: Sequence[str], repeat: int = 1
) -> np.ndarray:
    """A sheet of pictures of one size, with a title over each column.

    Args:
        rows: pictures uint8 (H, W, 3), or float (H, W) 0..1, each row as long as `titles`.
        titles: a word a column.
        repeat: how many rows stand side by side, to make a sheet of many rows wide, not long.

    Returns:
        uint8 (h, w, 3) RGB.
    """
    height, width = rows[0][0].shape[:2]
    columns = len(titles) * repeat
    lines = -(-len(rows) // repeat)
    sheet = Image.new(
        "RGB",
        (columns * (width + _GAP) + _GAP, lines * (height + _GAP) + _GAP + _HEAD),
        PAPER,
    )
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    for column in range(columns):
        title = shortened(titles[column % len(titles)], width, font)
        draw.text((_GAP + column * (width + _GAP), 4), title, INK, font)
    for index, row in enumerate(rows):
        for place, picture in enumerate(row):
            column = (index % repeat) * len(titles) + place
            corner = (_GAP + column * (width + _GAP), _HEAD + (index // repeat) * (height + _GAP))
            sheet.paste(Image.fromarray(as_rgb(picture)), corner)
    return np.asarray(sheet)


def before_green(image: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """The person of a uint8 picture (H, W, 3) before green, by alpha (H, W) 0..1."""
    alpha = alpha[..., None].astype(np.float32)
    return np.rint(image * alpha + np.float32(GREEN) * (1 - alpha)).astype(np.uint8)


def data_sheet(images: np.ndarray, targets: dict[str, np.ndarray]) -> np.ndarray:
    """What the network sees: image, matte, boundary, and the matte over the image.

    Args:
        images: (N, H, W, 3), 0..255.
        targets: `output` and `boundary_attention`, (N, H, W, 1), 0..1.
    """
    rows = []
    for i, image in enumerate(images.astype(np.uint8)):
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
    """What the network makes of pictures; arguments as those of `data_sheet`."""
    rows = []
    for i, image in enumerate(images.astype(np.uint8)):
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
    titles = ("image", "matte", "alpha", "boundary", "its prediction", "cut out")
    return grid(rows, titles, repeat=2)


def curves(history: Sequence[dict[str, float]], best_epoch: int) -> np.ndarray:
    """Loss, person IoU and mean absolute error against the epoch, training beside validation.

    Args:
        history: a row an epoch, with the names of Keras's logs.
        best_epoch: is marked.

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
            # Else 0.602 is written as 6.02 x 10^-1.
            axes.yaxis.set_major_formatter(ScalarFormatter())
            axes.yaxis.set_minor_formatter(ScalarFormatter())
        axes.grid(alpha=0.3, which="both")
        axes.legend()
    canvas.draw()
    return np.ascontiguousarray(np.asarray(canvas.buffer_rgba())[..., :3])


def drawable(name: str) -> str:
    """A file name, which may hold bytes that are no text: Pillow refuses to draw those."""
    return name.encode("utf-8", "replace").decode("utf-8")


def shortened(text: str, width: float, font: ImageFont.FreeTypeFont) -> str:
    """A text that is drawn on at most `width` pixels, its end cut off where it would not fit."""
    text = shown = drawable(text)
    while font.getlength(shown) > width and text:
        text = text[:-1]
        shown = f"{text}..."
    return shown


def fitted(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A picture, or a matte, scaled to fit into a cell and never stretched, at the cell's top.

    Args:
        picture: as those of `grid`.
        size: height and width of the cell.

    Returns:
        uint8 (height, width, 3) RGB.
    """
    picture, (height, width) = as_rgb(picture), size
    scale = min(height / picture.shape[0], width / picture.shape[1])
    inner = [max(1, round(side * scale)) for side in picture.shape[:2]]
    left = (width - inner[1]) // 2
    cell = np.full((height, width, 3), PAPER, np.uint8)
    cell[: inner[0], left : left + inner[1]] = resize(picture, inner)
    return cell


def as_rgb(picture: np.ndarray) -> np.ndarray:
    """A picture, or a matte, as those of `grid`, as uint8 (H, W, 3) RGB."""
    if picture.dtype != np.uint8:
        picture = np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8)
    return cv2.cvtColor(picture, cv2.COLOR_GRAY2RGB) if picture.ndim == 2 else picture
