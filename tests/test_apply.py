"""Tests apply.py and its command line on a portrait of scikit-image."""

import dataclasses
import functools
import os
import signal
import subprocess
import sys
import time

import numpy as np
import processes
import pytest
import scripts
import tiny_clips
import tiny_tflite
from PIL import Image
from project import ROOT

from portrait import cli
from portrait.commands.apply import apply, make_job
from portrait.effects import catalogue
from portrait.effects.blur import APERTURES
from portrait.effects.depth import DEPTHS
from portrait.errors import UserError


def read(path):
    return np.asarray(Image.open(path))


def test_an_argument_with_the_name_of_a_setting_sets_it(red, monkeypatch):
    @dataclasses.dataclass(frozen=True)
    class Settings(catalogue.Settings):
        darkness: float = 0.5

    monkeypatch.setattr(catalogue, "Settings", Settings)
    given = {"model": red, "input_range": "0..1", "choke": 2, "darkness": 0.25}
    job = make_job(cli.defaults(apply) | given)
    for settings in (job.stills.settings, job.clips.settings):
        assert (settings.darkness, settings.choke, settings.strength) == (0.25, 2, 0.5)


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
    # The face is unchanged; in the upper left corner, only the colours remain.
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
    for number, (status, _, err) in enumerate(scripts.run("apply", *commands)):
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


def test_a_video(portrait, tmp_path):
    frames = np.stack([read(portrait)[::2, ::2]] * 4)
    clip = tiny_clips.write(tmp_path / "clip.mp4", frames)
    walls = np.stack([np.full((64, 64, 3), level, np.uint8) for level in (80, 200)])
    behind = tiny_clips.write(tmp_path / "behind.mp4", walls)
    target = tmp_path / "clip_replace.mp4"
    assert apply(clip, effect=["replace"], background=str(behind), output=tmp_path) == [target]
    pictures, times = tiny_clips.read(target)
    assert times == [0, 0.04, 0.08, 0.12]
    levels = np.array([80, 200, 80, 200])  # it plays along, and repeats
    assert np.abs(pictures[:, :15, :15] - levels[:, None, None, None]).max() < 12


def test_a_painted_person_in_one_command(red, tmp_path):
    frames = np.zeros((3, 64, 48, 3), np.uint8)
    frames[:, 20:, 10:40] = (255, 40, 0)
    clip = tiny_clips.write(tmp_path / "clip.mp4", frames, audio="aac")
    swap = tmp_path / "swap.tflite"
    swap.write_bytes(tiny_tflite.convolution((64, 64), np.eye(3)[::-1]))
    common = {"effect": ["stylize_person"], "style": str(swap), "strength": 0.5, "feather": 4.0}
    common |= {"model": str(red), "input_range": "0..1"}
    (target,) = apply(clip, output=tmp_path / "out.mp4", **common)
    pictures, times = tiny_clips.read(target)
    assert pictures.shape == frames.shape and times == [0, 0.04, 0.08]
    assert tiny_clips.packets(target) == tiny_clips.packets(clip)
    # Half of the swapped colour where the person is, and the black wall as it was.
    assert np.abs(pictures[:, 35:50, 20:30] - (128.0, 40, 128)).mean() < 6
    assert pictures[:, :10, :5].max() < 8


def test_numbered_pictures_in_and_out(red, tmp_path):
    folder = tmp_path / "shot"
    folder.mkdir()
    picture = np.zeros((56, 42, 3), np.uint8)
    picture[10:, 10:30] = (255, 40, 0)
    for number in (101, 102, 104):
        Image.fromarray(np.roll(picture, number % 4, 1)).save(folder / f"{number:04d}.png")
    common = {"model": str(red), "input_range": "0..1", "smooth": False}
    source = str(folder / "%04d.png")
    keyed, alphas = str(tmp_path / "out" / "%05d.png"), str(tmp_path / "alpha" / "%05d.png")
    common["effect"] = ["green_screen"]
    apply(source, output=keyed, output_alpha=alphas, **common)
    for made in ("out", "alpha"):
        names = sorted(path.name for path in (tmp_path / made).iterdir())
        assert names == ["00101.png", "00102.png", "00104.png"]
    assert read(tmp_path / "out/00101.png")[3, 3].tolist() == [0, 177, 64]
    assert read(tmp_path / "alpha/00101.png")[30, 20] == 255
    # A sequence takes its name from the folder, and its times from the flag.
    (clip,) = apply(source, output=tmp_path, frame_rate=10, **common)
    assert clip == tmp_path / "shot_green_screen.mp4"
    assert tiny_clips.read(clip)[1] == [0, 0.1, 0.3]


def test_foreground_and_alpha_as_two_videos(red, tmp_path):
    frames = np.zeros((3, 64, 48, 3), np.uint8)
    frames[:, 20:, 10:40] = (255, 40, 0)
    clip = tiny_clips.write(tmp_path / "clip.mp4", frames)
    targets = {"output": tmp_path / "fgr.mp4", "output_alpha": tmp_path / "pha.mp4"}
    common = {"model": str(red), "input_range": "0..1", "effect": ["foreground"]}
    assert apply(clip, **targets, **common) == list(targets.values())
    foreground, times = tiny_clips.read(tmp_path / "fgr.mp4")
    alpha, alpha_times = tiny_clips.read(tmp_path / "pha.mp4")
    assert times == alpha_times == [0, 0.04, 0.08]
    assert alpha[1, 40, 25].min() > 240 and alpha[1, 5, 5].max() < 10
    assert foreground[1, 40, 25, 0] > 230 and foreground[1, 5, 5].max() < 12


def test_a_plate_removes_who_is_on_it(red, tmp_path):
    wall = np.full((96, 72, 3), 60, np.uint8)
    wall[20:60, 50:66] = (255, 40, 0)  # a poster of somebody
    picture = wall.copy()
    picture[30:, 10:36] = (255, 90, 30)
    Image.fromarray(wall).save(tmp_path / "wall.png")
    Image.fromarray(picture).save(tmp_path / "me.png")
    common = {"effect": ["alpha"], "model": str(red), "input_range": "0..1"}
    without, with_plate = (
        read(apply(tmp_path / "me.png", output=tmp_path / name, plate=plate, **common)[0])
        for name, plate in (("a.png", ""), ("b.png", str(tmp_path / "wall.png")))
    )
    assert without[40, 58] > 200 and with_plate[:, 46:].max() == 0
    assert with_plate[60, 22] == 255


def test_ctrl_c_keeps_what_is_done_and_the_status_says_it(red, tmp_path):
    # With noise, the file grows while the clip is written.
    frames = np.random.default_rng(0).integers(0, 256, (1500, 96, 64, 3), np.uint8)
    clip = tiny_clips.write(tmp_path / "clip.mp4", frames)
    flags = [f"--input={clip}", f"--model={red}", "--input_range=0..1", "--smooth=False"]
    command = [sys.executable, ROOT / "apply.py", *flags, f"--output={tmp_path / 'out.mp4'}"]
    running = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        # Background jobs of a shell ignore SIGINT, also tests that run in one.
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
        ("me.jpg", {"model": "resnet"}, "resnet"),
        ("me.jpg", {"input_range": "0..1"}, "--input_range has no effect"),
        ("me.jpg", {"model": "gone.weights.h5"}, r"gone\.weights\.h5"),
        ("me.jpg", {"output": "out.gif"}, r"out\.gif"),
        ("me.jpg", {"output": "me.jpg"}, r"me\.jpg"),
        ("me.jpg", {"output": "%03d.png"}, r"--output=%03d\.png"),
        ("me.jpg", {"output_alpha": "%03d.png"}, r"--output_alpha=%03d\.png"),
        ("me.jpg", {"effect": ["cutout"], "output": "out.jpg"}, r"out\.jpg"),
        ("me.jpg", {"output_alpha": "out.mp4"}, r"out\.mp4"),
        ("me.jpg", {"output": "a.png", "output_alpha": "a.png"}, r"a\.png"),
        ("me.jpg", {"effect": ["alpha"], "output_alpha": "a.png"}, "--output_alpha"),
        ("me.jpg", {"virtual_camera": "/dev/video2"}, "--virtual_camera"),
        ("me.jpg", {"plate": "gone.png"}, r"gone\.png"),
        ("frames/%05d.png", {}, r"frames"),
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


@pytest.mark.parametrize("flag", ["output", "output_alpha"])
def test_backgrounds_and_plates_are_not_overwritten(portrait, tmp_path, flag):
    behind = tmp_path / "behind.png"
    behind.write_bytes(portrait.read_bytes())
    before = behind.read_bytes()
    files = {"output": tmp_path / "made.png"} | {flag: behind}
    for options in ({"effect": ["replace"], "background": str(behind)}, {"plate": str(behind)}):
        with pytest.raises(UserError, match="overwrite"):
            apply(portrait, **options, **files)
    assert behind.read_bytes() == before


@pytest.mark.parametrize("flag", ["background", "plate"])
def test_numbered_pictures_do_not_overwrite_a_background(red, tmp_path, flag):
    folder, behind = tmp_path / "keyed", tmp_path / "keyed" / "00001.png"
    folder.mkdir()
    for path in (behind, tmp_path / "1.png"):
        Image.new("RGB", (42, 56)).save(path)
    before = behind.read_bytes()
    options = {"effect": ["replace"], "background": "white", "model": str(red)}
    options |= {flag: str(behind), "input_range": "0..1"}
    for targets in ({}, {"output": "a.mp4", "output_alpha": folder / "%05d.png"}):
        with pytest.raises(UserError, match="overwrite"):
            apply(tmp_path / "%d.png", **{"output": folder / "%05d.png"} | targets, **options)
    assert behind.read_bytes() == before


def test_the_flags_know_all_apertures_and_depths():
    """The help must be quick, so it must not import them."""
    flags = (ROOT / "portrait" / "commands" / "apply_flags.py").read_text()
    for names in (APERTURES, DEPTHS):
        assert "(" + ", ".join(f'"{name}"' for name in names) + ")" in flags


def test_without_flags_there_is_help():
    ended = processes.python(ROOT / "apply.py")
    assert ended.returncode == 0
    assert "--background" in ended.stdout
