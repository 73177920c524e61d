"""Tests the result of `make web`."""

import hashlib
import json
import re
from pathlib import Path

import built_page
import numpy as np
import pytest
import tiny_tflite

from portrait.errors import UserError
from web import build


def test_the_worker_knows_every_file(folder):
    """The cache keys contain hashes, so a changed file is loaded again."""
    files = re.search(r"const FILES = (\{.*?\});", (folder / "sw.js").read_text(), re.DOTALL)
    known = json.loads(files.group(1))
    paths = [path for path in folder.rglob("*") if path.is_file() and path.name != "sw.js"]
    assert set(known) == {path.relative_to(folder).as_posix() for path in paths} - {"example.html"}
    for name, given in known.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest().startswith(given)


def test_networks_and_styles_are_listed(folder):
    listed = json.loads((folder / "models" / "models.json").read_text())
    assert [each["paints"] for each in listed] == [False, False, False, False, True]
    for each in listed:
        assert (folder / "models" / each["file"]).stat().st_size == each["bytes"]
    assert (folder / "litert" / "LICENSE").read_text().lstrip().startswith("Apache License")


def test_own_networks_get_files_of_their_own(networks, tmp_path):
    """A network that was trained again has the name of the shipped one."""
    shipped = json.loads((build.HERE / "models.json").read_text())[0]["file"]
    own = [tmp_path / name / "n@t #1.tflite" for name in "ab"]
    own.append(tmp_path / "a" / Path(shipped).name)
    for path in own:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(networks[0].read_bytes())
    folder = built_page.built(tmp_path / "dist", own)
    listed = json.loads((folder / "models" / "models.json").read_text())
    names = [each["file"] for each in listed]
    stem = Path(shipped).stem.removesuffix("_float16")
    assert names[0] == f"{stem}.tflite.gz"
    assert names[-3:] == ["n-t-1.tflite.gz", "n-t-1-2.tflite.gz", f"{stem}-2.tflite.gz"]
    for each in listed:
        assert (folder / "models" / each["file"]).stat().st_size == each["bytes"]


def test_a_folder_with_something_else_is_not_replaced(tmp_path, capsys):
    (tmp_path / "thesis.txt").write_text("years of work")
    assert build.main([str(tmp_path)]) == 1
    assert str(tmp_path) in capsys.readouterr().err
    assert (tmp_path / "thesis.txt").is_file()


def test_its_own_source_is_not_replaced(tmp_path, capsys):
    """The source has a worker, too."""
    for name in (build.WORKER, "models.json", "package.json"):
        (tmp_path / name).write_text("source")
    assert build.main([str(tmp_path)]) == 1
    assert "does not hold a built page" in capsys.readouterr().err
    assert (tmp_path / "package.json").read_text() == "source"


@pytest.fixture
def packages(tmp_path, monkeypatch):
    """Empty files instead of LiteRT.js, for tests of what is built around it."""
    core, tools = (tmp_path / "packages" / name for name in ("core", "wasm-utils"))
    for folder in (core / "dist", core / "wasm", tools / "dist"):
        folder.mkdir(parents=True)
    (core / "dist" / "index.js").write_text('from "@litertjs/wasm-utils"')
    (core / "package.json").write_text('{"version": "0"}')
    (tools / "dist" / "index.js").touch()
    for name in build.RUNTIMES:
        (core / "wasm" / f"{name}.js").touch()
        (core / "wasm" / f"{name}.wasm").touch()
    monkeypatch.setattr(build, "PACKAGES", tmp_path / "packages")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (tiny_tflite.convolution((32, 32))[:400], "LiteRT cannot load it"),
        (tiny_tflite.convolution((32, 32), stated=False), "no metadata"),
        (
            tiny_tflite.convolution((32, 32), (*tiny_tflite.RED, 0), name="selfie_net_video_big"),
            "an alpha beside the picture",
        ),
    ],
)
def test_networks_that_the_page_cannot_use_are_refused(content, reason, packages, tmp_path, capsys):
    own = tmp_path / "own.tflite"
    own.write_bytes(content)
    assert build.main([str(tmp_path / "dist"), str(own)]) == 1
    message = capsys.readouterr().err
    assert str(own) in message and reason in message and message.count("\n") == 1
    assert {each.name for each in tmp_path.iterdir()} == {"packages", "own.tflite"}


def test_what_cannot_be_read_is_named(packages, tmp_path, monkeypatch, capsys):
    """An interrupted npm leaves a part of LiteRT.js."""
    own, read = tmp_path / "own.tflite", Path.read_bytes
    own.touch()

    def refused(path):
        if path == own:
            raise PermissionError(13, "Permission denied")
        return read(path)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", refused)
        assert build.main([str(tmp_path / "dist"), str(own)]) == 1
    assert f"cannot read {own}" in capsys.readouterr().err
    (build.PACKAGES / "wasm-utils" / "dist" / "index.js").unlink()
    assert build.main([str(tmp_path / "dist")]) == 1
    assert "npm ci" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_one_line(packages, tmp_path, capsys):
    (tmp_path / "file").touch()
    assert build.main([str(tmp_path / "file" / "dist")]) == 1
    assert capsys.readouterr().err.startswith(f"error: cannot write {tmp_path}")


def test_files_that_are_no_networks_are_refused_and_the_page_stays(folder, tmp_path):
    two = tmp_path / "two.tflite"
    two.write_bytes(tiny_tflite.convolution((32, 32), np.ones((2, 3))))
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(b"no network at all")
    before = (folder / "sw.js").read_bytes()
    for path in (two, photo, tmp_path / "missing.tflite"):
        with pytest.raises(UserError, match=path.name):
            build.build(folder, [path])
    assert (folder / "sw.js").read_bytes() == before
