"""apply.py with workers gives what it gives without; its flags and its messages."""

import shutil
from importlib.util import find_spec

import av
import numpy as np
import pytest
import scripts
import tiny_clips
import tiny_tflite
from folders import tree
from PIL import Image
from skimage import data

from portrait.commands.bulk import absolute_if_file, bulk, is_bulk
from portrait.effects import bulk as engine


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    """A folder of two photographs, a clip and a damaged file, and what some commands said."""
    folder = tmp_path_factory.mktemp("bulk")
    (folder / "in").mkdir()
    for number in range(2):
        picture = data.astronaut()[8 * number : 120 + 8 * number, 150:270].copy()
        picture[40:, 30 + 8 * number : 80] = (255, 60, 40)
        Image.fromarray(picture).save(folder / "in" / f"{number}.png")
    (folder / "in" / "damaged.jpg").write_bytes(b"\xff\xd8\xff\xe0 no picture")
    tiny_clips.write(folder / "in" / "clip.mp4", np.full((4, 32, 32, 3), 120, np.uint8))
    shutil.copy(folder / "in" / "0.png", folder / "plate.png")
    (folder / "moving").mkdir()
    Image.open(folder / "in" / "0.png").save(
        folder / "moving" / "a.gif", save_all=True, append_images=[Image.open(folder / "plate.png")]
    )
    red = folder / "red.tflite"
    red.write_bytes(tiny_tflite.convolution((56, 42), (1, 0, 0), stated=False))
    command = [
        "--input=in",
        f"--model={red}",
        "--input_range=0..1",
        "--effect=alpha",
    ]
    (folder / "bad.txt").write_text("in/damaged.jpg\n")
    return folder, scripts.run(
        "apply",
        [*command, "--output=plain"],
        [*command, "--output=bulk", "--workers=2"],
        [*command, "--output=bulk", "--workers=2"],
        [*command, "--output=elsewhere", f"--input={(folder / 'moving').as_uri()}"],
        [*command, "--output=plain_plate", "--plate=plate.png"],
        [*command, "--output=bulk_plate", "--plate=plate.png", "--workers=2"],
        [*command, "--output=bad", "--input=bad.txt"],
        [*command, "--output=bulk", "--workers=2", "--output_alpha=alphas"],
        [*command, "--output=bulk", "--input=in/0.png", "--workers=2"],
        folder=folder,
    )


def frames(path) -> np.ndarray:
    with av.open(str(path)) as clip:
        return np.stack([each.to_ndarray(format="gray") for each in clip.decode(video=0)]).astype(
            int
        )


def test_workers_give_the_files_of_a_plain_run(ended):
    folder, (plain, bulk, again, *_) = ended
    assert [each[0] for each in (plain, bulk, again)] == [0, 0, 0]
    files, expected = tree(folder / "bulk"), tree(folder / "plain")
    assert b"damaged.jpg" in files.pop("left_out.jsonl")
    assert files.keys() == expected.keys() and len(files) == 3
    photos = {"0_alpha.png", "1_alpha.png"}
    assert all(files[name] == expected[name] for name in photos)
    # The encoder works with another number of threads.
    ours, theirs = (frames(folder / name / "clip_alpha.mp4") for name in ("bulk", "plain"))
    assert ours.shape == theirs.shape == (4, 32, 32) and np.abs(ours - theirs).max() <= 2
    assert "3 made, 0 existed, 1 left out" in bulk[1]
    assert "0 made, 3 existed, 1 left out" in again[1]


def test_of_an_animated_picture_elsewhere_the_first_frame_is_used(ended):
    folder, (_, _, _, (status, _, err), *_) = ended
    assert status == 0, err
    assert list(tree(folder / "elsewhere")) == ["a_alpha.png"]


def test_workers_take_a_plate(ended):
    folder, (*_, plain, bulk, _, _, _, _) = ended
    assert plain[0] == bulk[0] == 0
    files, expected = tree(folder / "bulk_plate"), tree(folder / "plain_plate")
    assert all(files[name] == expected[name] for name in ("0_alpha.png", "1_alpha.png"))
    # What is part of the plate is no person.
    first, alone = (Image.open(folder / name / "0_alpha.png") for name in ("bulk_plate", "bulk"))
    assert not np.any(first) and np.any(alone)


@pytest.mark.slow
@pytest.mark.skipif(
    find_spec("ray") is None, reason="no Ray: pip install -r requirements-cluster.txt"
)
def test_a_ray_cluster_gives_the_files_of_a_plain_run(ended, monkeypatch):
    folder = ended[0]
    monkeypatch.setenv("RAY_TMPDIR", "/tmp")  # names of sockets have at most 107 characters
    command = ["--input=in", f"--model={folder / 'red.tflite'}", "--input_range=0..1"]
    command += ["--effect=alpha", "--output=ray", "--workers=2", "--cluster=local"]
    first, again = scripts.run("apply", command, command, folder=folder)
    files, expected = tree(folder / "ray"), tree(folder / "plain")
    assert b"damaged.jpg" in files.pop("left_out.jsonl")
    assert files.keys() == expected.keys()
    assert all(files[name] == expected[name] for name in ("0_alpha.png", "1_alpha.png"))
    assert first[0] == 0 and "3 made, 0 existed, 1 left out" in first[1], first
    assert again[0] == 0 and "0 made, 3 existed, 1 left out" in again[1], again


def test_what_cannot_be_done_is_one_line(ended):
    _, (*_, nothing, alpha, photo) = ended
    named = ("bad/left_out.jsonl", "--output_alpha", "in/0.png")
    for (status, _, err), name in zip((nothing, alpha, photo), named, strict=True):
        assert status == 1 and name in err.splitlines()[-1]


def test_what_is_worked_on_in_bulk():
    assert is_bulk("photos", 2, "") and is_bulk("photos", 0, "auto")
    assert is_bulk("photos.txt", 0, "") and is_bulk("s3://bucket/photos", 0, "")
    assert not is_bulk("photos", 0, "") and not is_bulk("clip.mp4", 0, "")


def test_workers_of_a_cluster_get_absolute_paths(tmp_path, monkeypatch, red):
    """They run in other folders."""
    monkeypatch.chdir(tmp_path)
    for path in ("in/a.png", "plate.png"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        Image.new("RGB", (42, 56)).save(tmp_path / path)
    shutil.copy(red, tmp_path / "red.tflite")
    seen = []

    def run(tasks, make, *rest):
        seen.extend([tasks, make.args[0]])
        return engine.Outcome(1, 0, 0)

    monkeypatch.setattr(engine, "run", run)
    settings = {"background": "white", "plate": "plate.png", "model": "red.tflite"}
    settings |= {"effect": ["replace"], "input_range": "0..1"}
    bulk("in", output="out", cluster="auto", **settings)
    tasks, sent = seen
    assert tasks == [(str(tmp_path / "in/a.png"), str(tmp_path / "out/a_replace.png"))]
    assert [sent[name] for name in ("background", "plate", "model", "style")] == [
        *("white", str(tmp_path / "plate.png"), str(tmp_path / "red.tflite"), "")
    ]
    (tmp_path / "RUN").mkdir()
    assert absolute_if_file("RUN:udnie:2") == f"{tmp_path / 'RUN'}:udnie:2"
    assert absolute_if_file("udnie:2,great_wave:1") == "udnie:2,great_wave:1"
