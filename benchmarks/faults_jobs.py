"""The small commands that `faults.py` kills, and the conditions that their results must meet."""

import csv
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np
from PIL import Image

_SIZE = 32
_PERSON = (_SIZE // 2, 3 * _SIZE // 4)


@dataclass(frozen=True)
class Job:
    """A command that can be killed and started again.

    Attributes:
        script: the name of the script without ".py".
        arguments: returns the arguments, given the folder to write into.
        result: given that folder, returns a value that must be the same for an uninterrupted run.
        again: returns the arguments of the next attempt, given the folder; None: the same ones.
    """

    script: str
    arguments: Callable[[Path], list]
    result: Callable[[Path], object]
    again: Callable[[Path], list] | None = None

    def next(self, output: Path) -> list[str]:
        """Returns the arguments of the next attempt."""
        made = self.again and self.again(output)
        return list(map(str, made or self.arguments(output)))


def jobs(inputs: Path) -> dict[str, Job]:
    """Returns all jobs by name, and writes their inputs into a folder."""
    _write_inputs(inputs)
    tiny = ["--model=mattingnet", "--model_size=small", "--input_shape=32x32"]
    training = [*tiny, f"--data={inputs / 'data'}", "--batch_size=4", "--nb_epoch=6"]
    training += ["--augment=flip_horizontal,add", "--workers=1", "--lr=0.003", "--checkpoint=4"]
    weights = f"--weight_dir={inputs / 'weights'}"
    return {
        "train": Job(
            "main",
            lambda output: ["--train=True", f"--checkpoint_path={output}", *training],
            _history,
            lambda output: (
                ["--resume=True", f"--checkpoint_path={output}", "--workers=1"]
                if list(output.glob("*/run.json"))
                else []
            ),
        ),
        "convert": Job(
            "main",
            lambda output: [
                *("--convert=True", weights, *tiny, f"--data={inputs / 'data'}"),
                *(f"--output={output}", "--formats=float32", "--allow_cpu_ops=True"),
            ],
            lambda output: _bytes(output, "*.tflite"),
        ),
        "prepare": Job(
            "prepare_data",
            lambda output: [f"--data={inputs / 'data'}", f"--output={output}", "--soft=True"],
            _bytes,
        ),
        "stylize": Job(
            "stylize",
            lambda output: [f"--content={inputs / 'photos'}", f"--output={output}", "--size=64"],
            _bytes,
        ),
        "folder": Job(
            "apply",
            lambda output: [f"--input={inputs / 'photos'}", f"--output={output}", _NETWORK],
            _bytes,
        ),
        "clip": Job(
            "apply",
            lambda output: [f"--input={inputs / 'clip.mp4'}", f"--output={output}", _NETWORK],
            _frames,
        ),
    }


_NETWORK = "--model=mattingnet_small"


def _write_inputs(folder: Path) -> None:
    random = np.random.default_rng(0)
    for part, kind in (("data", "_matte"), ("photos", "")):
        (folder / part).mkdir(parents=True)
        for number in range(16):
            matte = np.zeros((_SIZE, _SIZE), np.uint8)
            cv2.circle(matte, (_PERSON[0] + number % 5 - 2, _PERSON[1]), 9, 255, -1)
            noise = random.integers(0, 99, (_SIZE, _SIZE, 3), np.uint8) + matte[..., None] // 2
            photo = Image.fromarray(noise).resize((4 * _SIZE, 4 * _SIZE))
            photo.save(folder / part / f"{number:02}.png")
            if kind:
                Image.fromarray(matte).resize(photo.size).save(
                    folder / part / f"{number:02}{kind}.png"
                )
    with av.open(str(folder / "clip.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        for step in range(60):
            picture = np.roll(random.integers(0, 255, (96, 128, 3), np.uint8), step, 1)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def _history(output: Path) -> object:
    """Returns the rows of the history of a training, without times, and its checkpoints."""
    (run,) = output.glob("*/run.json")
    with open(run.parent / "history.csv", newline="") as file:
        rows = [dict(row) for row in csv.DictReader(file)]
    numbers = [{k: round(float(v), 5) for k, v in row.items() if k != "seconds"} for row in rows]
    return numbers, sorted(path.name[:4] for path in run.parent.glob("*.weights.h5"))


def _bytes(output: Path, pattern: str = "*") -> object:
    """Returns the contents of all files below a folder, except hidden ones."""
    return {
        str(path.relative_to(output)): path.read_bytes()
        for path in sorted(output.rglob(pattern))
        if path.is_file() and not path.name.startswith(".")
    }


def _frames(output: Path) -> object:
    return {path.name: _decoded(path) for path in output.glob("[!.]*")}


def _decoded(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def half_files(output: Path) -> list[str]:
    """Lists the files below a folder that have final names but incomplete contents.

    TensorBoard's event files are not checked, because they grow during a training.
    """
    found = []
    for path in output.rglob("*"):
        parts = path.relative_to(output).parts
        if not path.is_file() or any(part.startswith(".") for part in parts) or "logs" in parts:
            continue
        try:
            _read(path)
        except Exception as error:
            found.append(f"{path.relative_to(output)}: {type(error).__name__}: {error}")
    return found


def _read(path: Path) -> None:
    data = path.read_bytes()
    if path.suffix == ".json":
        json.loads(data)
    elif path.suffix == ".csv":
        rows = list(csv.reader(io.StringIO(data.decode())))
        assert data.endswith(b"\n") and len({len(row) for row in rows}) == 1, "a row is cut off"
    elif path.suffix == ".npz":
        with np.load(path) as arrays:
            dict(arrays)
    elif path.suffix == ".h5":
        import h5py

        with h5py.File(path) as file:
            file.visititems(lambda name, item: item[()] if isinstance(item, h5py.Dataset) else None)
    elif path.suffix == ".tflite":
        from portrait.tflite.runtime import TfliteModel

        TfliteModel(path, path.name)
    elif path.suffix == ".mp4":
        assert _decoded(path), "no frame"
    else:
        # Pillow may be set to read pictures that are cut off.
        assert path.suffix != ".png" or b"IEND" in data[-8:-4], "the end is missing"
        Image.open(io.BytesIO(data)).load()
