"""Makes soft training targets from labels and teachers.

Networks that are trained on binary labels learn hard edges, and the labels of different data sets
follow different conventions. Teachers give soft alphas with one convention, but fail on some
pictures. There are three cases:

- The teachers are certain, and the label agrees: the target is a mixture of both.
- The teachers are uncertain: the target is the label, slightly blurred.
- The teachers are certain, and the label differs: one of them is wrong, so the picture is left out
  and shown on a sheet.
"""

import csv
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from metrics import person_iou
from portrait.data.labels import examine
from portrait.data.pairs import Pair, is_dim, read_pair, warn_dim
from portrait.errors import UserError, warn_skipped
from portrait.evaluation.cases import Case, draw_cases
from portrait.inference.network import MatteFunction, load
from portrait.io.files import replacing
from portrait.io.images import list_images, resize, write_png
from portrait.io.mattes import read_matte
from portrait.io.photos import leaving_out
from portrait.prepare.datasets import claim, copy, release

COLUMNS = ("name", "kind", "agreement", "softness", "iou")
LEFT_OUT = "left out"
_BLUR = 1 / 400  # sigma as a share of the longer side
_LEAST_BLUR = 0.5  # the smallest sigma in pixels
_SHARPENING = 2.0  # because a mean of alphas has softer edges than each alpha


@dataclass(frozen=True)
class Rule:
    """The thresholds of the three cases.

    Teachers are certain if both `agreement` and `softness` are fulfilled.

    Attributes:
        share: the share of the teachers in a mixture, 0..1; the rest is the label.
        agreement: the smallest person IoU of each teacher with the teachers' mean.
        softness: the largest sum of min(alpha, 1 - alpha), as a share of the person's area.
        agree: the smallest person IoU of teachers and label for a mixture.
        differ: the person IoU below which certain teachers contradict a label.
    """

    share: float = 0.65
    agreement: float = 0.94
    softness: float = 0.03
    agree: float = 0.93
    differ: float = 0.90


@dataclass(frozen=True)
class Opinion:
    """The common result of the teachers for a picture.

    Attributes:
        alpha: the sharpened mean of their alphas, float32 (H, W), 0..1.
        agreement: the smallest person IoU of a teacher with the mean.
        softness: see `Rule`; infinite if the mean has no person.
    """

    alpha: np.ndarray
    agreement: float
    softness: float


@dataclass(frozen=True)
class Target:
    """A training target.

    Attributes:
        kind: "mixed", "label" or "left out".
        matte: uint8 (H, W); the unchanged label if `kind` is "left out".
        agreement: see `Opinion`.
        softness: see `Opinion`.
        iou: the person IoU of teachers and label.
    """

    kind: str
    matte: np.ndarray
    agreement: float
    softness: float
    iou: float


class Teachers:
    """Networks and folders of mattes that label pictures together.

    Args:
        sources: networks, see `inference.network.load`, or folders of mattes. A matte is called
            NAME.* or NAME_matte.*, where NAME is the picture's name, and is in the folder or in a
            sub-folder with the name of the data set.
        input_range: see `inference.network.load`.

    Raises:
        UserError: a source is neither a network nor a folder of mattes.
    """

    def __init__(self, sources: Sequence[str], input_range: str = ""):
        if not sources:
            raise UserError("no teachers: name networks or folders of mattes")
        self._networks: list[MatteFunction] = []
        self._folders: list[dict[str, Path]] = []
        self._readings: dict[Path, Mapping] = {}
        for source in sources:
            mattes = _mattes_in(Path(source))
            if mattes:
                self._folders.append(mattes)
            else:
                self._networks.append(load(source, input_range=input_range).matte)

    def __call__(self, pair: Pair, image: np.ndarray) -> Opinion:
        """The opinion on the image, uint8 (H, W, 3), of a pair.

        Folders without a matte of the picture are left out.

        Raises:
            PictureError: a matte cannot be read.
            UserError: there is no teacher left.
        """
        alphas = [_of_both_sides(matte_fn, image) for matte_fn in self._networks]
        for mattes in self._folders:
            path = mattes.get(pair.name) or mattes.get(pair.name.rpartition("/")[2])
            if path:
                matte = self._read(path, mattes)
                alphas.append(resize(matte, image.shape[:2]).astype(np.float32) / 255)
        if not alphas:
            raise UserError(f"no teacher has a matte of {pair.name}")
        return opinion(alphas)

    def _read(self, path: Path, mattes: dict[str, Path]) -> np.ndarray:
        """Reads one of the mattes; all in its folder determine what its values mean."""
        if path.parent not in self._readings:
            beside = [Pair(each, each) for each in mattes.values() if each.parent == path.parent]
            self._readings[path.parent] = examine(beside)[0].readings
        return read_matte(path, self._readings[path.parent])


def opinion(alphas: Sequence[np.ndarray]) -> Opinion:
    """Combines the alphas of several teachers, float32 (H, W), 0..1."""
    mean = np.mean(alphas, axis=0, dtype=np.float32)
    sharp = (0.5 + _SHARPENING * (mean - 0.5)).clip(0, 1) if len(alphas) > 1 else mean
    person = float((sharp >= 0.5).sum())
    unsure = float(np.minimum(sharp, 1 - sharp).sum())
    return Opinion(
        sharp,
        min(person_iou(alpha, mean) for alpha in alphas),
        unsure / person if person else float("inf"),
    )


def target(label: np.ndarray, teachers: Opinion, rule: Rule = Rule()) -> Target:
    """The training target of a picture.

    Args:
        label: uint8 (H, W), 255 = person.
        teachers: the teachers' result for the same picture.
        rule: the thresholds.
    """
    blurred = blur(label)
    iou = person_iou(teachers.alpha, label.astype(np.float32) / 255)
    sure = teachers.agreement >= rule.agreement and teachers.softness <= rule.softness
    kind, matte = "label", blurred
    if sure and iou < rule.differ:
        kind, matte = LEFT_OUT, label
    elif sure and iou >= rule.agree:
        mixed = rule.share * 255 * teachers.alpha + (1 - rule.share) * blurred
        kind, matte = "mixed", np.rint(mixed).astype(np.uint8)
    return Target(kind, matte, teachers.agreement, teachers.softness, iou)


def write(
    pairs: Sequence[Pair], output: Path, teachers: Teachers, rule: Rule, settings: dict
) -> list[Path]:
    """Writes pairs with targets from teachers and labels, in the layout of PFCN+.

    `teachers.csv` in the folder `output` has one row for each picture. A picture that is left out
    has a row, but no files. An interrupted run can be repeated and then continues.

    Args:
        pairs: the pairs to write.
        output: a new folder, or the folder of an interrupted run with the same settings.
        teachers: the teachers.
        rule: the thresholds.
        settings: the settings by which an interrupted run is recognised, see `datasets.claim`.

    Returns:
        The photographs in `output`; none if all pictures are left out.

    Raises:
        UserError: `output` holds something else or cannot be written; no picture can be read.
    """
    claim(output, pairs, settings)
    table = output / "teachers.csv"
    done = {row["name"]: row["kind"] for row in read_table(table)}
    written, unreadable, dim = [], [], []
    with _Table(table) as writer:
        for pair in tqdm(pairs, "teachers", unit=" pictures", disable=None):
            set_name, _, stem = pair.name.rpartition("/")
            photo = output / set_name / "training" / (stem + pair.image.suffix)
            if pair.name not in done:
                made = None
                with leaving_out(pair.image, unreadable):
                    image, label = read_pair(pair)
                    made = target(label, teachers(pair, image), rule)
                if made is None:
                    continue
                if is_dim(label):
                    dim.append(str(pair.matte))
                if made.kind != LEFT_OUT:
                    # Before the photograph, which must never be without its matte.
                    write_png(photo.with_name(f"{stem}_matte.png"), made.matte)
                    copy(pair.image, photo)
                done[pair.name] = made.kind
                writer.row(pair.name, made)
            if done[pair.name] != LEFT_OUT:
                written.append(photo)
    warn_skipped(unreadable, "{count} left out: {names}")
    warn_dim(dim)
    if not done:
        table.unlink()
        release(output)
        raise UserError("no picture could be prepared")
    return written


def sheet(pairs: Sequence[Pair], teachers: Teachers) -> np.ndarray:
    """Draws pictures, labels and the teachers' alphas in three columns; uint8 RGB."""
    cases = []
    for pair in pairs:
        image, label = read_pair(pair)
        alpha, matte = teachers(pair, image).alpha, label.astype(np.float32) / 255
        cases.append(Case(image, matte, alpha, pair.name, f"IoU {person_iou(alpha, matte):.3f}"))
    rows = -(-len(cases) // 3)
    columns = {
        f"from {start + 1}": cases[start : start + rows] for start in range(0, len(cases), rows)
    }
    return draw_cases(columns)


def read_table(path: Path) -> list[dict[str, str]]:
    """Reads the rows of a `teachers.csv`, without an incomplete last row of a killed run."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        return [row for row in csv.DictReader(file) if row.get(COLUMNS[-1])]


class _Table:
    """Appends complete rows to a `teachers.csv`."""

    def __init__(self, path: Path):
        self._path = path

    def __enter__(self):
        rows = read_table(self._path)
        with replacing(self._path) as path, _open(path, "w") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(rows)
        self._file = _open(self._path, "a")
        return self

    def __exit__(self, *_):
        self._file.close()

    def row(self, name: str, made: Target) -> None:
        figures = (f"{each:.4f}" for each in (made.agreement, made.softness, made.iou))
        csv.writer(self._file).writerow([name, made.kind, *figures])
        self._file.flush()


def _open(path: Path, mode: str):
    return path.open(mode, newline="", encoding="utf-8", errors="surrogateescape")


def blur(label: np.ndarray) -> np.ndarray:
    """Blurs a label, uint8 (H, W), so that its edges are as soft as in a sharp photograph."""
    sigma = _BLUR * max(label.shape) + _LEAST_BLUR
    return cv2.GaussianBlur(label, (0, 0), sigma)


def _of_both_sides(matte_fn: MatteFunction, image: np.ndarray) -> np.ndarray:
    """The mean alpha of a picture and its mirror image."""
    mirrored = np.ascontiguousarray(image[:, ::-1])
    return (matte_fn(image) + matte_fn(mirrored)[:, ::-1]) / 2


def _name_of(matte: Path) -> str:
    """The name of a matte's picture, in composed Unicode as in `Pair.name`."""
    return unicodedata.normalize("NFC", matte.stem.removesuffix("_matte"))


def _mattes_in(folder: Path) -> dict[str, Path]:
    """The mattes of a folder and its sub-folders, by NAME or SET/NAME; empty for a run's folder."""
    if not folder.is_dir() or (folder / "run.json").is_file():
        return {}
    folders = [folder, *sorted(path for path in folder.iterdir() if path.is_dir())]
    return {
        ("" if each is folder else f"{each.name}/") + _name_of(path): path
        for each in folders
        for path in list_images(each)
    }
