"""Tests that damaged files are used or refused in one line, without a stack trace."""

import os
import random

import pytest
from PIL import Image

from benchmarks import fuzz_mutants
from benchmarks.fuzz_subjects import Subject, subjects
from benchmarks.fuzz_worker import FINE, mutant, outcome
from portrait.errors import UserError

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # messages of libraries
# Others take longer, or may end the process; `benchmarks/fuzz.py` has them.
SLOW = ("tflite", "weights", "state.npz", "style run.json", "run.json", "webp animated")
EACH = 8
# Damaged files that `benchmarks/fuzz.py` has found: (seed, number).
FOUND = {
    "matte palette": [(0, 123), (0, 178)],
    "mat": [(0, 161), (1, 93)],
    "mat 4": [(0, 187), (1, 216)],
    "mpg": [(0, 124), (0, 171), (0, 216)],
}


def original(subject: Subject, folder) -> bytes:
    (folder / "in").mkdir()
    (folder / "out").mkdir()
    subject.make(folder / "in" / subject.file)
    return (folder / "in" / subject.file).read_bytes()


@pytest.mark.parametrize("kind", [kind for kind in subjects() if kind not in SLOW])
def test_damaged_files(tmp_path, kind):
    subject = subjects()[kind]
    data = original(subject, tmp_path)
    path, output = tmp_path / "in" / subject.file, tmp_path / "out"
    subject.use(path, output)  # undamaged, it can be used
    for seed, number in (*((0, number) for number in range(EACH)), *FOUND.get(kind, ())):
        for left in output.iterdir():
            left.unlink()
        path.write_bytes(mutant(subject, data, kind, seed, number))
        found, text = outcome(subject, path, output)
        assert found in FINE, (seed, number, found, text)


@pytest.mark.parametrize("kind", ["png", "npz", "run.json"])
def test_a_seed_damages_alike(tmp_path, kind):
    subject = subjects()[kind]
    data = original(subject, tmp_path)
    made = [mutant(subject, data, kind, 0, number) for number in range(20)]
    assert made == [mutant(subject, data, kind, 0, number) for number in range(20)]
    assert len(set(made)) > 15 and made[0] != mutant(subject, data, kind, 1, 0)


def test_checksums_of_a_png_are_right_again(tmp_path):
    Image.new("L", (9, 9)).save(tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    sizes = set()
    for seed in range(60):
        (tmp_path / "a.png").write_bytes(fuzz_mutants.in_png(data, random.Random(seed)))
        try:
            with Image.open(tmp_path / "a.png") as picture:
                sizes.add(picture.size)
        except Exception:
            continue
    assert len(sizes) > 2  # Pillow checks the checksum of the header before it uses the size


def spoil(path, output):
    (output / ".a.part.png").write_bytes(b"")


def boast(path, output):
    os.write(2, b"a library's line")


def swell(path, output):
    bytearray(2_200_000_000)[::4096] = bytes(537110)


def refuse(text):
    def use(path, output):
        raise UserError(text)

    return use


@pytest.mark.parametrize(
    ("use", "expected"),
    [
        (lambda path, output: None, "read"),
        (refuse("one line"), "refused"),
        (refuse("two\nlines"), "lines"),
        (lambda path, output: 1 / 0, "trace"),
        (spoil, "half"),
        (boast, "lines"),
    ],
)
def test_what_is_counted(tmp_path, use, expected):
    assert outcome(Subject("a", lambda path: None, use), tmp_path / "a", tmp_path)[0] == expected


@pytest.mark.slow
def test_memory_is_counted(tmp_path):
    subject = Subject("a", lambda path: None, swell)
    assert outcome(subject, tmp_path / "a", tmp_path)[0] == "memory"
