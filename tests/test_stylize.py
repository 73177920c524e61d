"""stylize.py's command line, in a process of its own: its flags are called as main.py's."""

import json
import subprocess
import sys

import numpy as np
import processes
import pytest
from project import ROOT
from style_networks import picture, random_vgg

from portrait.effects.styles import shipped_names
from portrait.io.images import read_image, write_png


def run(*arguments, folder):
    return processes.python(ROOT / "stylize.py", *arguments, folder=folder)


@pytest.mark.parametrize("arguments", [["--help"], []])
def test_help_needs_no_tensorflow(arguments, tmp_path):
    command = [sys.executable, "-X", "importtime", ROOT / "stylize.py", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=60)
    assert done.returncode == 0 and "--style_image" in done.stdout
    assert "absl" in done.stderr and "tensorflow" not in done.stderr and "keras" not in done.stderr


GATYS = ("--method=gatys", "--style_image=a.png")


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--strength=2", "--content=a.jpg"], 2, "strength"),
        (["--method=gatys", "--content=a.jpg"], 1, "needs --content=PHOTO and one painting"),
        (["--method=gatys", "--train=True"], 1, "nothing to train"),
        (["--train=True", "--style_image=a.jpg"], 1, "--style_image=FILE --data=FOLDER"),
        (["--content=a.jpg"], 1, "there is no a.jpg"),
        (["--convert=True", "--weight_dir=gone"], 1, "there is no gone"),
        (["--content=a.png", "--style_image=a.png"], 1, "in the styles that it has learned"),
        (["--content=a.png", "--save_every=5"], 1, "--save_every is for --method=gatys"),
        (["--content=a.png", "--lr=0.1"], 1, "--lr is for --train and --resume"),
        (["--content=a.png", "--style_weight=3"], 1, "--style_weight is for --train, --resume and"),
        (["--convert=True", "--strength=0.5"], 1, "--strength is for --content"),
        (["--resume=True", "--weight_dir=a.png"], 1, "a training starts from fresh weights"),
        (["--convert=True", "--input_shape=100"], 1, "multiples of 32"),
        ([*GATYS, "--content=a.png", "--style=udnie"], 1, "--style is of trained networks"),
        ([*GATYS, "--content=a.mp4"], 1, "a.mp4: --method=gatys paints photographs"),
    ],
)
def test_what_a_user_can_get_wrong_is_one_line(arguments, status, message, tmp_path):
    write_png(tmp_path / "a.png", picture(32, 32))
    (tmp_path / "a.mp4").touch()
    done = run(*arguments, folder=tmp_path)
    assert done.returncode == status
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("error: ") and message in line


def test_ctrl_c_in_a_video_ends_it_all(tmp_path):
    """The next video is not painted and nothing is exported."""
    for name in "one.mp4", "two.mp4":
        (tmp_path / name).touch()
    script = (
        "import cli, stylize\n"
        "from style_transfer import video\n"
        "painted = []\n"
        "def paint_video(painter, path, target, size):\n"
        "    painted.append(path)\n"
        "    return 5, False\n"
        "video.paint_video = paint_video\n"
        "stylize._convert = None\n"
        "cli.parse_flags(['stylize.py', '--content=one.mp4,two.mp4', '--convert=True'])\n"
        "assert cli.execute(stylize.dispatch, stylize.VERBS) == 130\n"
        "assert painted == ['one.mp4']\n"
    )
    done = processes.python("-c", script, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"output/one_{shipped_names()[0]}.mp4: 5 frames\n"


@pytest.mark.slow
def test_train_resume_and_paint(tmp_path):
    for index in range(4):
        write_png(tmp_path / "photos" / f"{index}.png", picture(80, 70, index))
    write_png(tmp_path / "one.png", picture(64, 64, 8))
    write_png(tmp_path / "two.png", 255 - picture(64, 64, 9))
    np.savez(tmp_path / "vgg.npz", **random_vgg())
    flags = ["--vgg_weights=vgg.npz", "--checkpoint_path=runs"]
    done = run(
        *("--train=True", "--style_image=one.png,two.png", "--data=photos", "--crop=64"),
        *("--steps=2", "--nb_epoch=1", *flags),
        folder=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    (folder,) = (tmp_path / "runs").iterdir()
    begun = json.loads((folder / "run.json").read_text())
    done = run("--resume=True", "--nb_epoch=2", *flags, folder=tmp_path)
    assert done.returncode == 0 and "best checkpoint" in done.stdout, done.stderr
    resumed = json.loads((folder / "run.json").read_text())
    assert resumed == begun | {"flags": begun["flags"] | {"nb_epoch": 2}}
    refused = run("--resume=True", "--nb_epoch=3", "--lr=0.5", *flags, folder=tmp_path)
    assert refused.returncode == 1 and "--lr=0.002" in refused.stderr
    refused = run("--resume=True", "--nb_epoch=3", "--style_image=two.png", *flags, folder=tmp_path)
    assert refused.returncode == 1 and refused.stderr.splitlines()[-1] == (
        f"error: {folder.relative_to(tmp_path)} was started with the styles one, two: it cannot go "
        "on with two"
    )
    assert json.loads((folder / "run.json").read_text()) == resumed
    done = run(
        *("--content=photos/0.png", f"--weight_dir={folder}", "--style=two:1,one:3"),
        *("--strength=0", "--output=out"),
        folder=tmp_path,
    )
    assert done.stdout.strip() == "out/0_two-1-one-3.png", done.stderr
    painted = read_image(tmp_path / "out" / "0_two-1-one-3.png")
    np.testing.assert_array_equal(painted, picture(80, 70, 0))


@pytest.mark.slow
def test_gatys_leaves_pictures_on_the_way(tmp_path):
    write_png(tmp_path / "photo.png", picture(40, 32, 1))
    write_png(tmp_path / "wave.png", picture(40, 32, 2))
    np.savez(tmp_path / "vgg.npz", **random_vgg())
    done = run(
        *("--method=gatys", "--content=photo.png", "--style_image=wave.png", "--iterations=4"),
        *("--save_every=2", "--style_size=32", "--vgg_weights=vgg.npz", "--output=out"),
        folder=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    out = tmp_path / "out"
    names = sorted(str(path.relative_to(out)) for path in out.rglob("*.png"))
    assert names == ["photo_wave_gatys.png", *(f"photo_wave_gatys/000{n}.png" for n in (2, 4))]


INTERRUPTED = """
import sys
import cli, stylize
from style_transfer import gatys

STEPS = int(sys.argv[1])
def minimize(loss, start, settings, after_step):
    for step in range(1, STEPS + 1):
        after_step(step, {}, start * 0 + step)
    raise KeyboardInterrupt
gatys._minimize_lbfgs = minimize
flags = "--method=gatys --content=photo.png --style_image=wave.png --vgg_weights=vgg.npz"
cli.parse_flags(["stylize.py", *flags.split()])
sys.exit(cli.execute(stylize.dispatch, stylize.VERBS))
"""


@pytest.mark.parametrize("steps", [0, 3])
def test_ctrl_c_in_gatys_leaves_the_picture_as_far_as_it_came(tmp_path, steps):
    write_png(tmp_path / "photo.png", picture(40, 32, 1))
    write_png(tmp_path / "wave.png", picture(40, 32, 2))
    np.savez(tmp_path / "vgg.npz", **random_vgg())
    done = processes.python("-c", INTERRUPTED, steps, folder=tmp_path)
    assert done.returncode == 130
    error = done.stderr.splitlines()[-1]
    target = tmp_path / "output" / "photo_wave_gatys.png"
    if steps:
        assert (
            error == f"error: interrupted; {target.relative_to(tmp_path)} is as far as it had come"
        )
        assert (read_image(target) == steps).all()
    else:
        assert error == "error: interrupted" and not target.exists()


def test_a_wrong_style_is_not_said_after_the_training(tmp_path):
    write_png(tmp_path / "photos" / "a.png", picture(80, 70))
    write_png(tmp_path / "wave.png", picture(64, 64, 8))
    done = run(
        *("--train=True", "--style_image=wave.png", "--data=photos", "--content=photos/a.png"),
        *("--style=waves", "--vgg_weights=gone.npz"),
        folder=tmp_path,
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "error: there is no style 'waves'; the styles are wave"
    assert not (tmp_path / "trained_models").exists()


def flags_reach(check, *arguments, folder):
    """Runs `dispatch` with all that would load TensorFlow replaced by mocks, then `check`."""
    script = f"""
import sys
from unittest import mock
import numpy as np
picture = np.zeros((30, 40, 3), np.uint8)
names = "apply gatys perceptual phones photos training transform_net video".split()
for name in ("keras", "vgg16", "sample_data", *(f"style_transfer.{{name}}" for name in names)):
    sys.modules[name] = mock.MagicMock()
import keras, vgg16, sample_data
from style_transfer import apply, gatys, perceptual, phones, photos, training, transform_net, video
keras.__version__ = "3"
sample_data.sample_portrait.return_value = [picture]
apply.load_network.return_value, apply.parse_mix.return_value = ("network", ["one"]), "mix"
apply.style_label.return_value, apply.blend.return_value = "wave", picture
photos.hold_out.return_value = ["learned"], ["held out"]
video.paint_videos.return_value = [("b_wave.mp4", 5)]
phones.export_style.return_value = {{"files": []}}
import cli, stylize
stylize.start_keras = lambda: None
cli.parse_flags(["stylize.py", *sys.argv[1:]])
assert cli.execute(stylize.dispatch, stylize.VERBS) == 0
{check}
"""
    write_png(folder / "a.png", picture(30, 40))
    (folder / "b.mp4").touch()
    done = processes.python("-c", script, *arguments, folder=folder)
    assert done.returncode == 0, done.stderr


def test_what_paints_and_exports_has_the_flags(tmp_path):
    flags_reach(
        """
apply.load_network.assert_called_with("a.png")
apply.parse_mix.assert_called_with("udnie:2,one", ["one"])
apply.Painter.assert_called_with("network", "mix", 0.25, "luminance")
painter = apply.Painter.return_value
apply.paint_photos.assert_called_with(painter, ["a.png"], "out", "wave", 99)
video.paint_videos.assert_called_with(painter, ["b.mp4"], "out", "wave", 99)
transform_net.fix_style.assert_called_with("network", "mix", (64, 96))
(model, *where, pictures), _ = phones.export_style.call_args
assert where == ["out", "wave"] and pictures[0].shape == (64, 96, 3)
""",
        *("--content=a.png,b.mp4", "--weight_dir=a.png", "--style=udnie:2,one", "--size=99"),
        *("--strength=0.25", "--colours=luminance", "--output=out", "--convert=True"),
        "--input_shape=64x96",
        folder=tmp_path,
    )


def test_what_trains_has_the_flags(tmp_path):
    flags_reach(
        """
keras.utils.set_random_seed.assert_called_with(7)
vgg16.conv_weights.assert_called_with("vgg.npz")
transform_net.build.assert_called_with(size="big", styles=1)
assert perceptual.fit_painting.call_args.args[1] == 48
perceptual.Weights.assert_called_with(content=3.0, style=8.0, variation=5.0)
photos.find_photos.assert_called_with(["x", "y"])
photos.PhotoCrops.assert_called_with(["learned"], 96, 3, 6, 1, 7)
_, _, _, held_out, names, run, recipe, resume = training.train.call_args.args
assert held_out == ["held out"] and names == ["a"] and not resume
assert run.folder.parent.name == "runs"
assert (recipe.epochs, recipe.lr, recipe.patience) == (9, 0.5, 0)
""",
        *("--train=True", "--style_image=a.png", "--data=x,y", "--vgg_weights=vgg.npz"),
        *(
            "--crop=96",
            "--model_size=big",
            "--style_size=48",
            "--content_weight=3",
            "--tv_weight=5",
        ),
        *("--lr=0.5", "--nb_epoch=9", "--steps=6", "--batch_size=3", "--seed=7"),
        "--checkpoint_path=runs",
        folder=tmp_path,
    )


def test_gatys_has_the_flags(tmp_path):
    flags_reach(
        """
gatys.Settings.assert_called_with(content_weight=1.0, style_weight=4.0, iterations=5,
    optimizer="adam", start="noise", colours="histogram", seed=7)
photo, painting, weights, settings, _ = gatys.paint.call_args.args
assert photo.shape == (15, 20, 3) and perceptual.fit_painting.call_args.args[1] == 48
assert apply.blend.call_args.args[1:] == (gatys.paint.return_value, 0.5)
""",
        *(*GATYS, "--content=a.png", "--style_weight=4", "--iterations=5", "--optimizer=adam"),
        *("--start=noise", "--colours=histogram", "--seed=7", "--size=20", "--strength=0.5"),
        "--style_size=48",
        folder=tmp_path,
    )
