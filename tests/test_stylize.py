"""Tests the command line of stylize.py in a process of its own; main.py has the same flags."""

import inspect
import json
import subprocess
import sys
from xml.etree import ElementTree

import numpy as np
import processes
import pytest
import scripts
from project import ROOT
from style_networks import picture, random_vgg

from portrait.io.images import read_image, write_png
from portrait.style_transfer.export import export_style
from portrait.style_transfer.gatys import paint_by_gatys
from portrait.style_transfer.painter import paint
from portrait.style_transfer.training import train_style

FUNCTIONS = (paint, paint_by_gatys, train_style, export_style)


def run(*arguments, folder):
    return processes.python(ROOT / "stylize.py", *arguments, folder=folder)


@pytest.mark.parametrize("arguments", [["--help"], []])
def test_help_needs_no_tensorflow(arguments, tmp_path):
    command = [sys.executable, "-X", "importtime", ROOT / "stylize.py", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=60)
    assert done.returncode == 0 and "--style_image" in done.stdout
    assert "absl" in done.stderr and "tensorflow" not in done.stderr and "keras" not in done.stderr


@pytest.fixture(scope="module")
def defaults(tmp_path_factory):
    """Returns the default of every flag of stylize.py as text, or an empty text."""
    done = run("--helpxml", folder=tmp_path_factory.getbasetemp())
    flags = ElementTree.fromstring(done.stdout).iter("flag")
    ours = [flag for flag in flags if flag.findtext("file").endswith("style_flags")]
    return {flag.findtext("name"): flag.findtext("default") for flag in ours}


def test_every_flag_is_an_argument_of_a_function(defaults):
    arguments = {name for each in FUNCTIONS for name in inspect.signature(each).parameters}
    assert defaults.keys() - arguments == {"train", "resume", "convert", "method"}
    assert arguments - defaults.keys() == {"run"}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_flags_have_the_defaults_of_the_functions(defaults, function):
    for name, argument in inspect.signature(function).parameters.items():
        if argument.default is not argument.empty and defaults.get(name):
            assert defaults[name].title() == str(argument.default).title(), name  # false, False


GATYS = ("--method=gatys", "--style_image=a.png")
STYLE = ("--content=a.png", "--style=waves")


WRONG = [
    (["--strength=2", "--content=a.jpg"], 2, "strength"),
    (["--method=gatys", "--content=a.jpg"], 1, "--style_image=FILE"),
    (["--method=gatys", "--train=True"], 1, "--method=gatys"),
    (["--train=True", "--style_image=a.jpg"], 1, "--style_image=FILE --data=FOLDER"),
    (["--content=a.jpg"], 1, "a.jpg"),
    (["--content="], 1, "--content= is empty"),
    (["--content=a.png", "--output="], 1, "--output= is empty"),
    (["--convert=True", "--weight_dir=gone"], 1, "gone"),
    (["--content=a.png", "--style_image=a.png"], 1, "--style_image"),
    (["--content=a.png", "--save_every=5"], 1, "--save_every"),
    (["--content=a.png", "--size=15"], 2, "--size=15"),
    (["--content=a.png", "--lr=0.1"], 1, "--lr"),
    (["--content=a.png", "--style_weight=3"], 1, "--style_weight"),
    (["--content=a.png", "--seed=3"], 1, "--seed"),
    (["--convert=True", "--vgg_weights=a.npz"], 1, "--vgg_weights"),
    (["--convert=True", "--strength=0.5"], 1, "--strength"),
    (["--resume=True", "--weight_dir=a.png"], 1, "--weight_dir"),
    (["--resume=True", "--checkpoint_path=runs"], 1, "no flags"),
    (["--convert=True", "--input_shape=100"], 1, "32"),
    ([*GATYS, "--content=a.png", "--style=udnie"], 1, "--style"),
    ([*GATYS, "--content=a.mp4"], 1, "a.mp4"),
    # Before the training, not after it.
    (["--train=True", "--style_image=a.png", "--data=.", *STYLE], 1, "'waves'"),
]


def test_what_a_user_can_get_wrong_is_one_line(tmp_path):
    write_png(tmp_path / "a.png", picture(32, 32))
    (tmp_path / "a.mp4").touch()
    (tmp_path / "runs" / "20260131").mkdir(parents=True)
    (tmp_path / "runs" / "20260131" / "run.json").write_text('{"budget": {"epochs": 8}}')
    ended = scripts.run("stylize", *(arguments for arguments, _, _ in WRONG), folder=tmp_path)
    for (arguments, wanted, named), (status, _, err) in zip(WRONG, ended, strict=True):
        assert status == wanted, arguments
        (line,) = err.strip().splitlines()
        assert line.startswith("error: ") and named in line


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
    assert begun["flags"]["crop"] == 64 and begun["flags"]["content_weight"] == 2
    done = run("--resume=True", "--nb_epoch=2", *flags, folder=tmp_path)
    assert done.returncode == 0 and str(folder.name) in done.stdout, done.stderr
    resumed = json.loads((folder / "run.json").read_text())
    assert resumed == begun | {"flags": begun["flags"] | {"nb_epoch": 2}}
    refused = run("--resume=True", "--nb_epoch=3", "--lr=0.5", *flags, folder=tmp_path)
    assert refused.returncode == 1 and "--lr=0.002" in refused.stderr
    refused = run("--resume=True", "--nb_epoch=3", "--style_image=two.png", *flags, folder=tmp_path)
    assert refused.returncode == 1 and folder.name in refused.stderr.splitlines()[-1]
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
def test_gatys_and_export(tmp_path):
    write_png(tmp_path / "photo.png", picture(40, 32, 1))
    write_png(tmp_path / "wave.png", picture(40, 32, 2))
    np.savez(tmp_path / "vgg.npz", **random_vgg())
    done = run(
        *("--method=gatys", "--content=photo.png", "--style_image=wave.png", "--iterations=2"),
        *("--style_size=32", "--vgg_weights=vgg.npz", "--output=out"),
        folder=tmp_path,
    )
    assert done.stdout.strip() == "out/photo_wave_gatys.png", done.stderr
    done = run("--convert=True", "--input_shape=32x64", "--output=out", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "out").glob("*_float16.tflite"))) == 1
