"""apply.py's command line, on a portrait that scikit-image ships.

In processes of its own, because its flags are called as main.py's.
"""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import processes
import pytest
import tiny_clips
from PIL import Image
from project import ROOT
from skimage import data


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


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--input=gone.jpg"], "there is no gone.jpg"),
        (["--input=PHOTO", "--effect=sparkle"], "the effects are"),
        (["--input=PHOTO", "--effect=replace"], "needs --background"),
        (["--input=PHOTO", "--effect=replace", "--background=mud"], "write a colour"),
        (["--input=PHOTO", "--effect=replace", "--background=."], "write a colour"),
        (["--input=PHOTO", "--effect=stylize_person"], "needs --style"),
        (["--input=PHOTO", "--strength=2"], "must be 0 to 1"),
        (["--input=0", "--refine=closed_form"], "is for photos: videos take guided"),
        (["--input=PHOTO", "--model=resnet"], "there is no network"),
        (["--input=PHOTO", "--output=out.gif"], "written as one of"),
        (["--input=PHOTO", "--output=PHOTO"], "would overwrite what it is made of"),
        (["--input=PHOTO", "--effect=cutout", "--output=out.jpg"], "holds no transparency"),
        (["--input=PHOTO", "--model=gone.weights.h5"], "there is no gone.weights.h5"),
    ],
)
def test_what_cannot_be_done(portrait, tmp_path, monkeypatch, flags, message):
    monkeypatch.chdir(tmp_path)
    status, _, err = run(*(flag.replace("PHOTO", str(portrait)) for flag in flags))
    assert status == 1
    assert message in err and err.startswith("error: ") and err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_the_background_is_not_overwritten(portrait, tmp_path):
    beach = tmp_path / "beach.png"
    Image.new("RGB", (40, 30), "blue").save(beach)
    before = beach.read_bytes()
    flags = [f"--input={portrait}", "--effect=replace", f"--background={beach}"]
    status, _, err = run(*flags, f"--output={beach}")
    assert status == 1 and "would overwrite what it is made of" in err
    assert beach.read_bytes() == before


def test_a_photo_needs_no_tensorflow(portrait, tmp_path):
    script = (
        "import sys, apply, cli\n"
        f"cli.parse_flags(['apply.py', '--input={portrait}', '--output={tmp_path / 'a.png'}'])\n"
        "assert cli.execute(apply.dispatch, apply.VERBS) == 0\n"
        "assert not {'tensorflow', 'keras'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT, timeout=300)


FLAGS_SCRIPT = """
import json, sys
from absl.testing import flagsaver
import apply, cli
from effects import networks, photos, video

def note(**given):
    noted.update(given)

networks.load = lambda *given: note(network=given)
def of_photos(source, target, effects, network, refine):
    note(refine=refine, settings=effects.settings)
    return []
photos.apply_to_photo = photos.apply_to_folder = of_photos
def of_video(source, target, effects, network, smooth):
    note(smooth=smooth, settings=effects.settings)
    return video.Outcome(frames=1, broken=0, empty=0, complete=False)
video.apply_to_video = of_video
for line in sys.argv[1:]:
    noted = {}
    with flagsaver.flagsaver():
        cli.parse_flags(["apply.py", *line.split()])
        note(status=cli.execute(apply.dispatch, apply.VERBS))
    settings = noted.pop("settings")
    note(settings=(settings.strength, settings.linear, settings.estimate.__name__))
    print(json.dumps(noted), file=sys.stderr)
"""


def test_flags_reach_what_they_are_of(tmp_path):
    expected = {
        "--input=a.jpg --strength=0.25 --linear=True --refine=closed_form": {
            "network": ["lite_unet_big_288x224", "tflite", 1, ""],
            "refine": "closed_form",
            "settings": [0.25, True, "multilevel"],
            "status": 0,
        },
        "--input=folder --engine=keras --threads=2 --refine=none": {
            "network": ["lite_unet_big_288x224", "keras", 2, ""],
            "refine": "none",
            "settings": [0.5, False, "multilevel"],
            "status": 0,
        },
        # Ctrl-C came: what is done is kept, and the status says it.
        "--input=a.mp4 --smooth=False --model=x.tflite --input_range=0..1": {
            "network": ["x.tflite", "tflite", 1, "0..1"],
            "smooth": False,
            "settings": [0.5, False, "blur_fusion"],
            "status": 130,
        },
    }
    for name in "a.jpg", "a.mp4":
        (tmp_path / name).touch()
    (tmp_path / "folder").mkdir()
    ended = processes.python("-c", FLAGS_SCRIPT, *expected, folder=tmp_path)
    assert ended.returncode == 0, ended.stderr
    found = [json.loads(line) for line in ended.stderr.splitlines() if line.startswith("{")]
    assert found == list(expected.values())


def test_without_flags_there_is_help():
    shown = subprocess.run(
        [sys.executable, "apply.py"], capture_output=True, check=True, cwd=ROOT, text=True
    )
    assert "Applies a trained network" in shown.stdout and "--background" in shown.stdout
