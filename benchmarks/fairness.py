"""Compares models on groups of pictures: skin, light, contrast, framing, number of people.

python benchmarks/fairness.py --data=DIR,DIR --models=selfie_net_big_256x256,theirs.tflite \\
    --input_range=0..1

It takes the pictures of `testing` sub-folders and scores them like `main.py --evaluate`. Groups are
measured on the picture and its true matte; docs/fairness.md describes the methods and their limits.
Prints the mean person and boundary IoU of each group with standard errors, and the differences to
the first model. Writes fairness.json into --output.
"""

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import cv2
import numpy as np
from absl import flags
from tqdm import tqdm

from benchmarks.side_by_side import Model, find_datasets, open_model
from metrics import METRICS, THRESHOLD
from portrait import cli
from portrait.data.pairs import Pair, read_pairs
from portrait.errors import UserError
from portrait.io.files import check_writable, replacing
from portrait.util import aligned

FLAGS = flags.FLAGS

SHOWN = ("person_iou", "boundary_iou")
# Of a face's box: left, top, right, bottom of both cheeks.
_CHEEKS = ((0.18, 0.5, 0.38, 0.7), (0.62, 0.5, 0.82, 0.7))
_RIM = 0.04  # of the diagonal: the band on each side of the outline whose colours are compared
_PART = 0.1  # of the person's area: a separate part of at least this size counts as a person
# The limits between the groups of each criterion, and their names.
GROUPS = {
    "skin": ((10, 28), ("brown or dark, ITA < 10", "tan, 10 to 28", "light, ITA > 28")),
    "light": ((35, 65), ("dark, L* < 35", "35 to 65", "bright, L* > 65")),
    "contrast": ((15, 30), ("low, < 15 in CIELAB", "15 to 30", "over 30")),
    "framing": ((0.2, 0.5), ("far, < 20 % person", "20 to 50 %", "close, > 50 %")),
    "people": ((2,), ("one", "separate parts")),
}


def lab(image: np.ndarray) -> np.ndarray:
    """CIELAB, L* 0..100, of an image uint8 RGB (H, W, 3)."""
    return cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)


def typology_angle(image: np.ndarray, face: tuple[float, float, float, float]) -> float:
    """The individual typology angle of the cheeks, in degrees: arctan2(L* - 50, b*).

    For b* > 0, as skin has it, this is arctan((L* - 50) / b*) of the definition (Chardon et al.,
    1991). Bluish cheeks are beyond 90 if they are light, and below -90 if they are dark. Above 28
    is light skin, below 10 brown or dark skin. In photographs the light moves the angle as much as
    the skin does.

    Args:
        image: uint8 RGB (H, W, 3).
        face: (left, top, width, height) in shares of the picture.
    """
    height, width = image.shape[:2]
    left, top, w, h = face
    pixels = []
    for x0, y0, x1, y1 in _CHEEKS:
        rows = slice(int((top + y0 * h) * height), int((top + y1 * h) * height) + 1)
        columns = slice(int((left + x0 * w) * width), int((left + x1 * w) * width) + 1)
        pixels.append(lab(image[rows, columns]).reshape(-1, 3))
    lightness, _, yellow = np.median(np.concatenate(pixels), axis=0)
    return float(np.degrees(np.arctan2(lightness - 50, yellow)))


def contrast(image: np.ndarray, person: np.ndarray) -> float:
    """The distance in CIELAB between the mean colours on both sides of the outline.

    Args:
        image: uint8 RGB (H, W, 3).
        person: bool (H, W).

    Returns:
        NaN where the picture has no outline.
    """
    size = 2 * max(1, round(_RIM * np.hypot(*person.shape))) + 1
    mask = person.astype(np.uint8)
    near = cv2.dilate(mask, np.ones((size, size))) - cv2.erode(mask, np.ones((size, size))) > 0
    inside, outside = near & person, near & ~person
    if not inside.any() or not outside.any():
        return float("nan")
    colours = lab(image)
    return float(np.linalg.norm(colours[inside].mean(0) - colours[outside].mean(0)))


def parts(person: np.ndarray) -> int:
    """The number of separate parts of a mask, bool (H, W), without small ones."""
    _, _, stats, _ = cv2.connectedComponentsWithStats(person.astype(np.uint8))
    return int((stats[1:, cv2.CC_STAT_AREA] >= _PART * person.sum()).sum())


def groups(
    image: np.ndarray,
    matte: np.ndarray,
    find_face: Callable[[np.ndarray], tuple[float, float, float, float] | None],
) -> dict[str, str]:
    """The group of a picture for each criterion; a criterion that cannot be measured is missing.

    Args:
        image: uint8 RGB (H, W, 3).
        matte: float32 (H, W), 0..1.
        find_face: from the image to the box of its face in shares of the picture, or None.
    """
    person = matte >= THRESHOLD
    values = {
        "light": lab(image)[..., 0].mean(),
        "contrast": contrast(image, person),
        "framing": person.mean(),
        "people": parts(person),
    }
    if face := find_face(image):
        values["skin"] = typology_angle(image, face)
    found = {}
    for criterion, (limits, names) in GROUPS.items():
        value = values.get(criterion, np.nan)
        if not np.isnan(value):
            found[criterion] = names[int(np.searchsorted(limits, value, side="right"))]
    return found


def table(members: dict[str, dict[str, list[str]]], scores: dict[str, dict[str, dict]]) -> str:
    """Aligned lines: for each criterion, group and model, means with standard errors.

    Args:
        members: the pictures of each group, by criterion and group.
        scores: by model and picture, a row of metrics.
    """
    head = ("criterion", "group", "pictures", "model")
    rows = [(*head, *SHOWN, *(f"{key} minus {next(iter(scores))}" for key in SHOWN))]
    for criterion in filter(members.get, GROUPS):
        found = members[criterion]
        for group in filter(found.get, GROUPS[criterion][1]):
            pictures = found[group]
            for model, by_picture in scores.items():
                values = [[by_picture[name][key] for name in pictures] for key in SHOWN]
                base = [[_first(scores)[name][key] for name in pictures] for key in SHOWN]
                cells = [_mean(each) for each in values]
                cells += [_mean(np.subtract(*both), "+") for both in zip(values, base, strict=True)]
                rows.append((criterion, group, str(len(pictures)), model, *cells))
    return "\n".join(aligned(rows, 2))


def _first(scores: dict[str, dict]) -> dict:
    return next(iter(scores.values()))


def _mean(values: Sequence[float], sign: str = "") -> str:
    """Mean and standard error."""
    if len(values) < 2:
        return "-"
    error = np.std(values, ddof=1) / np.sqrt(len(values))
    return f"{np.mean(values):{sign}.4f} ± {error:.4f}"


def measure(models: Sequence[Model], pairs: Sequence[Pair]) -> tuple[dict, dict]:
    """The arguments of `table`, for the pictures of `pairs` that show a person."""
    from portrait.models.baselines.faces import find_face

    members: dict[str, dict[str, list[str]]] = {}
    scores: dict[str, dict[str, dict]] = {model.name: {} for model in models}
    for pair, image, matte in read_pairs(tqdm(pairs, unit=" pictures", disable=None)):
        if not (matte >= THRESHOLD).any():
            continue
        name = str(pair.image)
        for criterion, group in groups(image, matte, find_face).items():
            members.setdefault(criterion, {}).setdefault(group, []).append(name)
        for model in models:
            alpha = model.matte(image)
            scores[model.name][name] = {key: METRICS[key].function(alpha, matte) for key in SHOWN}
    return members, scores


def _main() -> None:
    if not FLAGS.data:
        raise UserError("--data=DIR: give folders of pictures with mattes")
    check_writable(FLAGS.output)
    datasets = find_datasets(FLAGS.data, FLAGS.person_label)
    pairs = [pair for each in datasets.values() for pair in each]
    models = [open_model(text, FLAGS.input_range) for text in FLAGS.models]
    members, scores = measure(models, pairs)
    print(table(members, scores))
    with replacing(Path(FLAGS.output) / "fairness.json") as path:
        path.write_text(json.dumps({"groups": members, "scores": scores}, indent=1))


if __name__ == "__main__":
    flags.DEFINE_list("models", [], "Models, as benchmarks/segmentation.py takes them.")
    flags.DEFINE_list("data", [], "Folders of pictures with mattes.")
    flags.DEFINE_list("person_label", [], "The person's labels in label masks, as in main.py.")
    flags.DEFINE_string(
        "input_range",
        "",
        "0..1, -1..1 or 0..255: the pixel values that .tflite files take, where their metadata "
        "does not say.",
    )
    flags.DEFINE_string("output", "output", "The folder to write into.")
    cli.run(_main, ["models"])
