"""What apply.py does, on a portrait that scikit-image ships; and its command line."""

import functools
import os
import signal
import subprocess
import sys
import time

import doors
import numpy as np
import processes
import pytest
import tiny_clips
import tiny_tflite
from PIL import Image
from project import ROOT
from skimage import data

from portrait.commands.apply import apply
from portrait.errors import UserError


@pytest.fixture(scope="module")
def portrait(tmp_path_factory):
    path = tmp_path_factory.mktemp("photos") / "me.jpg"
    Image.fromarray(data.astronaut()[:448, 40:376]).save(path, quality=95)
    return path


@pytest.fixture(scope="module")
def red(tmp_path_factory):
    """A network that takes the red channel for the alpha, and does not say so."""
    path = tmp_path_factory.mktemp("networks") / "red.tflite"
    path.write_bytes(tiny_tflite.convolution((56, 42), (1, 0, 0), stated=False))
    return path


def read(path):
    return np.asarray(Image.open(path))


def test_the_default_is_a_blurred_background_without_tensorflow(portrait, tmp_path):
    ended = processes.python(
        *("-X", "importtime", ROOT / "apply.py", f"--input={portrait}"), folder=tmp_path
    )
    assert (ended.returncode, ended.stdout) == (0, "output/me_blur.png\n")
    imported = {line.rpartition("|")[2].strip() for line in ended.stderr.splitlines()}
    assert "portrait.inference.network" in imported
    assert not imported & {"tensorflow", "keras"}
    before, after = read(portrait).astype(int), read(tmp_path / "output/me_blur.png")
    assert after.shape == before.shape
    # The face stays as it is; in the upper left corner, what one sees is gone but for its colours.
    assert np.abs(after[90:120, 160:190] - before[90:120, 160:190]).mean() < 2
    corners = (each[:40, :40].astype(int) for each in (before, after))
    grain = [np.abs(np.diff(corner, 2, axis=1)).mean() for corner in corners]
    assert grain[1] < grain[0] / 4


def test_flags_are_the_arguments(red, portrait, tmp_path):
    Image.fromarray(read(portrait)[::4, ::4]).save(tmp_path / "a.png")
    common = {"model": red, "input_range": "0..1", "threads": 2}
    commands, expected = [], []
    for number, options in enumerate(
        (
            {"refine": "none", "strength": 0.25, "linear": True},
            {"refine": "guided", "effect": ["grayscale_background", "blur"]},
            {"effect": ["replace"], "background": "#00c800"},
        )
    ):
        options |= common
        target = tmp_path / f"{number}.png"
        flags = {k: ",".join(v) if isinstance(v, list) else v for k, v in options.items()}
        commands.append([f"--{name}={value}" for name, value in flags.items()])
        commands[-1] += [f"--input={tmp_path / 'a.png'}", f"--output={target}"]
        apply(tmp_path / "a.png", output=target, **(options | {"model": str(red)}))
        expected.append(read(target))
        target.unlink()
    for number, (status, _, err) in enumerate(doors.run("apply", *commands)):
        assert status == 0, err
        assert np.array_equal(read(tmp_path / f"{number}.png"), expected[number])
    assert len({picture.tobytes() for picture in expected}) == len(expected)


def test_a_cutout_and_a_new_background(portrait, tmp_path):
    apply(portrait, effect=["cutout"], output=tmp_path / "cut.png")
    cutout = read(tmp_path / "cut.png")
    assert cutout.shape == (448, 336, 4)
    assert cutout[100, 180, 3] == 255 and cutout[20, 20, 3] == 0
    target = tmp_path / "green.jpg"
    effect = ["replace", "side_by_side"]
    apply(portrait, effect=effect, background="#00c800", linear=True, output=target)
    both = read(target)
    assert both.shape == (448, 672, 3)
    assert np.abs(both[20, 356].astype(int) - (0, 200, 0)).max() < 8  # JPEG


def test_a_photo_without_a_suffix(portrait, tmp_path):
    (tmp_path / "IMG").write_bytes(portrait.read_bytes())
    target = tmp_path / "out" / "IMG_alpha.png"
    assert apply(tmp_path / "IMG", effect=["alpha"], output=tmp_path / "out") == [target]
    assert target.is_file()


def test_a_folder(portrait, tmp_path, caplog, capsys):
    folder = tmp_path / "in"
    folder.mkdir()
    for name in "a.png", "b.png", "b.jpg":
        Image.fromarray(read(portrait)[::2, ::2]).save(folder / name)
    Image.new("L", (168, 224)).save(folder / "a_matte.png")
    (folder / "bad.jpg").write_bytes(b"no picture")
    written = apply(folder, effect=["alpha"], output=tmp_path / "out")
    assert [path.name for path in written] == ["a_alpha.png", "b_alpha.png", "b.png_alpha.png"]
    assert capsys.readouterr().out.split() == list(map(str, written))
    assert "bad.jpg" in caplog.text
    assert read(tmp_path / "out" / "a_alpha.png").shape == (224, 168)


def test_a_video(portrait, tmp_path):
    frames = np.stack([read(portrait)[::2, ::2]] * 4)
    clip = tiny_clips.write(tmp_path / "clip.mp4", frames)
    walls = np.stack([np.full((64, 64, 3), level, np.uint8) for level in (80, 200)])
    behind = tiny_clips.write(tmp_path / "behind.mp4", walls)
    target = tmp_path / "clip_replace.mp4"
    assert apply(clip, effect=["replace"], background=str(behind), output=tmp_path) == [target]
    pictures, times = tiny_clips.read(target)
    assert times == [0, 0.04, 0.08, 0.12]
    levels = np.array([80, 200, 80, 200])  # it runs along, and over again
    assert np.abs(pictures[:, :15, :15] - levels[:, None, None, None]).max() < 12


def test_ctrl_c_keeps_what_is_done_and_the_status_says_it(red, tmp_path):
    # Noise, so that the file grows while the clip is being written.
    frames = np.random.default_rng(0).integers(0, 256, (1500, 96, 64, 3), np.uint8)
    clip = tiny_clips.write(tmp_path / "clip.mp4", frames)
    flags = [f"--input={clip}", f"--model={red}", "--input_range=0..1", "--smooth=False"]
    command = [sys.executable, ROOT / "apply.py", *flags, f"--output={tmp_path / 'out.mp4'}"]
    running = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        # A shell's background jobs, and so tests that run in one, ignore SIGINT.
        preexec_fn=functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    while running.poll() is None and not any(
        path.stat().st_size for path in tmp_path.glob(".*out*.mp4")
    ):
        time.sleep(0.02)
    os.kill(running.pid, signal.SIGINT)
    _, err = running.communicate(timeout=120)
    assert running.returncode == 130, err
    pictures, _ = tiny_clips.read(tmp_path / "out.mp4")
    assert 0 < len(pictures) < len(frames)


def test_nobody_is_noted(tmp_path, caplog):
    Image.new("RGB", (90, 120), "grey").save(tmp_path / "wall.png")
    apply(tmp_path / "wall.png", effect=["alpha"], output=tmp_path / "out.png")
    assert "wall.png" in caplog.text
    assert not read(tmp_path / "out.png").any()


@pytest.mark.parametrize(
    ("source", "options", "named"),
    [
        ("gone.jpg", {}, r"gone\.jpg"),
        ("me.jpg", {"effect": ["sparkle"]}, "side_by_side"),
        ("me.jpg", {"effect": ["replace"]}, "--background"),
        ("me.jpg", {"effect": ["replace"], "background": "mud"}, "mud"),
        ("me.jpg", {"effect": ["replace"], "background": "."}, "background"),
        ("me.jpg", {"effect": ["stylize_person"]}, "--style"),
        ("me.jpg", {"strength": 2}, "--strength"),
        ("0", {"refine": "closed_form"}, "--refine=closed_form"),
        ("me.jpg", {"model": "resnet"}, "resnet"),
        ("me.jpg", {"model": "gone.weights.h5"}, r"gone\.weights\.h5"),
        ("me.jpg", {"output": "out.gif"}, r"out\.gif"),
        ("me.jpg", {"output": "me.jpg"}, r"me\.jpg"),
        ("me.jpg", {"effect": ["cutout"], "output": "out.jpg"}, r"out\.jpg"),
        ("me.jpg", {"effect": ["replace"], "background": "me.jpg", "output": "me.jpg"}, r"me\.jpg"),
    ],
)
def test_what_cannot_be_done(portrait, tmp_path, monkeypatch, source, options, named):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "me.jpg").write_bytes(portrait.read_bytes())
    with pytest.raises(UserError, match=named) as error:
        apply(source, **options)
    assert "\n" not in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["me.jpg"]
    assert (tmp_path / "me.jpg").read_bytes() == portrait.read_bytes()


def test_without_flags_there_is_help():
    ended = processes.python(ROOT / "apply.py")
    assert ended.returncode == 0
    assert "--background" in ended.stdout
