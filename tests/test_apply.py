"""apply.py's command line, on a portrait that scikit-image ships.

In processes of its own, because its flags are called as main.py's.
"""

import subprocess
import sys
from pathlib import Path

import doors
import numpy as np
import processes
import pytest
import tiny_clips
import tiny_tflite
from PIL import Image
from project import ROOT
from skimage import data

from portrait.effects.catalogue import Settings, render
from portrait.effects.matting import matte
from portrait.inference.network import load


def run(*arguments) -> tuple[int, str, str]:
    """Runs `python apply.py ARGUMENTS`: exit status, stdout, stderr."""
    ended = processes.python(ROOT / "apply.py", *arguments)
    return ended.returncode, ended.stdout, ended.stderr


@pytest.fixture(scope="module")
def portrait(tmp_path_factory):
    path = tmp_path_factory.mktemp("photos") / "me.jpg"
    Image.fromarray(data.astronaut()[:448, 40:376]).save(path, quality=95)
    return path


def read(path):
    return np.asarray(Image.open(path))


def test_the_default_is_a_blurred_background(portrait, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(f"--input={portrait}")[:2] == (0, "output/me_blur.png\n")
    before, after = read(portrait).astype(int), read("output/me_blur.png")
    assert after.shape == before.shape
    # The face stays as it is; in the upper left corner, what one sees is gone but for its colours.
    assert np.abs(after[90:120, 160:190] - before[90:120, 160:190]).mean() < 2
    corners = (each[:40, :40].astype(int) for each in (before, after))
    grain = [np.abs(np.diff(corner, 2, axis=1)).mean() for corner in corners]
    assert grain[1] < grain[0] / 4


def test_a_cutout_and_a_new_background(portrait, tmp_path):
    target = tmp_path / "cut.png"
    assert run(f"--input={portrait}", "--effect=cutout", f"--output={target}")[0] == 0
    cutout = read(target)
    assert cutout.shape == (448, 336, 4)
    assert cutout[100, 180, 3] == 255 and cutout[20, 20, 3] == 0
    target = tmp_path / "green.jpg"
    flags = ["--effect=replace,side_by_side", "--background=#00c800", "--linear=True"]
    assert run(f"--input={portrait}", *flags, f"--output={target}")[0] == 0
    both = read(target)
    assert both.shape == (448, 672, 3)
    assert np.abs(both[20, 356].astype(int) - (0, 200, 0)).max() < 8  # JPEG


def test_a_photo_without_a_suffix(portrait, tmp_path):
    (tmp_path / "IMG").write_bytes(portrait.read_bytes())
    target = tmp_path / "out" / "IMG_alpha.png"
    flags = [f"--input={tmp_path / 'IMG'}", "--effect=alpha", f"--output={tmp_path / 'out'}"]
    assert run(*flags)[:2] == (0, f"{target}\n")
    assert target.is_file()


def test_a_folder(portrait, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for name in "a.png", "b.png", "b.jpg":
        Image.fromarray(read(portrait)[::2, ::2]).save(folder / name)
    Image.new("L", (168, 224)).save(folder / "a_matte.png")
    (folder / "bad.jpg").write_bytes(b"no picture")
    status, out, err = run(f"--input={folder}", "--effect=alpha", f"--output={tmp_path / 'out'}")
    assert status == 0
    names = [Path(line).name for line in out.split()]
    assert names == ["a_alpha.png", "b_alpha.png", "b.png_alpha.png"]
    assert "photographs left out (1)" in err
    assert read(tmp_path / "out" / "a_alpha.png").shape == (224, 168)


def test_a_video(portrait, tmp_path):
    frames = np.stack([read(portrait)[::2, ::2]] * 4)
    clip = tiny_clips.write(tmp_path / "clip.mp4", frames)
    walls = np.stack([np.full((64, 64, 3), level, np.uint8) for level in (80, 200)])
    behind = tiny_clips.write(tmp_path / "behind.mp4", walls)
    status, out, _ = run(
        f"--input={clip}", "--effect=replace", f"--background={behind}", f"--output={tmp_path}"
    )
    assert (status, out) == (0, f"{tmp_path / 'clip_replace.mp4'}\n")
    pictures, times = tiny_clips.read(tmp_path / "clip_replace.mp4")
    assert times == [0, 0.04, 0.08, 0.12]
    levels = np.array([80, 200, 80, 200])  # it runs along, and over again
    assert np.abs(pictures[:, :15, :15] - levels[:, None, None, None]).max() < 12


def test_nobody_is_noted(tmp_path):
    Image.new("RGB", (90, 120), "grey").save(tmp_path / "wall.png")
    target = tmp_path / "out.png"
    status, _, err = run(f"--input={tmp_path / 'wall.png'}", "--effect=alpha", f"--output={target}")
    assert status == 0 and "nobody was found" in err and not read(target).any()


# What cannot be done, and what the message must name.
MISTAKES = [
    (["--input=gone.jpg"], "gone.jpg"),
    (["--input=PHOTO", "--effect=sparkle"], "sparkle"),
    (["--input=PHOTO", "--effect=replace"], "--background"),
    (["--input=PHOTO", "--effect=replace", "--background=mud"], "mud"),
    (["--input=PHOTO", "--effect=replace", "--background=."], "--background=."),
    (["--input=PHOTO", "--effect=stylize_person"], "--style"),
    (["--input=PHOTO", "--strength=2"], "--strength=2"),
    (["--input=0", "--refine=closed_form"], "--refine=closed_form"),
    (["--input=PHOTO", "--model=resnet"], "resnet"),
    (["--input=PHOTO", "--model=gone.weights.h5"], "gone.weights.h5"),
    (["--input=PHOTO", "--output=out.gif"], "out.gif"),
    (["--input=PHOTO", "--output=PHOTO"], "me.jpg"),
    (["--input=PHOTO", "--effect=cutout", "--output=out.jpg"], "out.jpg"),
]


def test_what_cannot_be_done_is_one_line(portrait, tmp_path):
    commands = [[flag.replace("PHOTO", str(portrait)) for flag in flags] for flags, _ in MISTAKES]
    before = portrait.read_bytes()
    for (flags, named), (status, _, err) in zip(
        MISTAKES, doors.run("apply", *commands, folder=tmp_path), strict=True
    ):
        assert status == 1, flags
        assert named in err and err.startswith("error: ") and err.count("\n") == 1, flags
    assert list(tmp_path.iterdir()) == [] and portrait.read_bytes() == before


def test_the_background_is_not_overwritten(portrait, tmp_path):
    beach = tmp_path / "beach.png"
    Image.new("RGB", (40, 30), "blue").save(beach)
    before = beach.read_bytes()
    flags = [f"--input={portrait}", "--effect=replace", f"--background={beach}"]
    status, _, err = run(*flags, f"--output={beach}")
    assert status == 1 and "would overwrite what it is made of" in err
    assert beach.read_bytes() == before


def test_a_photo_needs_no_tensorflow(portrait, tmp_path):
    ended = processes.python(
        *("-X", "importtime", ROOT / "apply.py"),
        *(f"--input={portrait}", f"--output={tmp_path / 'a.png'}"),
    )
    assert ended.returncode == 0, ended.stderr
    imported = {line.rpartition("|")[2].strip() for line in ended.stderr.splitlines()}
    assert "portrait.inference.network" in imported
    assert not imported & {"tensorflow", "keras"}


def test_flags_reach_what_they_are_of(portrait, tmp_path):
    """Each changes what is written, as the same call in Python does."""
    (tmp_path / "red.tflite").write_bytes(
        tiny_tflite.convolution((56, 42), (1, 0, 0), stated=False)
    )
    image = read(portrait)[::4, ::4]
    Image.fromarray(image).save(tmp_path / "a.png")
    flags = [f"--input={tmp_path / 'a.png'}", f"--model={tmp_path / 'red.tflite'}", "--threads=2"]
    flags += ["--input_range=0..1"]
    expected = {}
    network = load(tmp_path / "red.tflite", input_range="0..1")
    for refine in "guided", "closed_form", "none":
        alpha = matte(image, network, refine)
        for strength, linear in (0.5, False), (0.25, True):
            settings = Settings(strength=strength, linear=linear)
            expected[refine, strength, linear] = render(image, alpha, ["blur"], settings)
    commands = [
        [
            *(*flags, f"--refine={refine}", f"--strength={strength}", f"--linear={linear}"),
            f"--output={tmp_path / f'{number}.png'}",
        ]
        for number, (refine, strength, linear) in enumerate(expected)
    ]
    for number, (status, _, err) in enumerate(doors.run("apply", *commands)):
        assert status == 0, err
        picture = list(expected.values())[number]
        assert np.array_equal(read(tmp_path / f"{number}.png"), picture)
    assert len({picture.tobytes() for picture in expected.values()}) == len(expected)


def test_without_flags_there_is_help():
    shown = subprocess.run(
        [sys.executable, "apply.py"], capture_output=True, check=True, cwd=ROOT, text=True
    )
    assert "Applies a trained network" in shown.stdout and "--background" in shown.stdout
