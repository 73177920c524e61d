"""Tests that a file appears complete or not at all, and that errors of the disk are shown."""

import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from project import ROOT

from portrait.errors import UserError
from portrait.io.files import WriteError, check_writable, refuse_overwriting, replacing


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_new_file_in_a_new_folder(tmp_path):
    target = tmp_path / "a" / "b" / "0001-0.25.weights.h5"
    with replacing(target) as path:
        assert path.parent == target.parent and path.name.startswith(".")
        assert path.name.endswith(".weights.h5")  # libraries choose the format by it
        path.write_text("new")
        assert not target.exists()
    assert target.read_text() == "new"
    assert names(target.parent) == [target.name]


def test_earlier_file_stays_until_the_new_one_is_whole(tmp_path):
    target = tmp_path / "a.csv"
    target.write_text("old")
    with replacing(str(target)) as path:
        path.write_text("new")
        assert target.read_text() == "old"
    assert target.read_text() == "new"
    assert names(tmp_path) == ["a.csv"]


def test_another_name_of_a_source_is_refused(tmp_path):
    """A link, as `Photo.JPG` and `photo.jpg` are on macOS: two names of one file."""
    source, link, copy = (tmp_path / name for name in ("a.png", "b.png", "c.png"))
    source.write_text("me")
    copy.write_text("me")
    link.hardlink_to(source)
    for same in (source, link, tmp_path / "x" / ".." / "a.png"):
        with pytest.raises(UserError, match="overwrite"):
            refuse_overwriting(same, copy, source)
    refuse_overwriting(copy, source)
    refuse_overwriting(tmp_path / "new.png", source)


def test_a_file_is_on_the_disk_before_it_gets_its_name(tmp_path, monkeypatch):
    target, synced = tmp_path / "a.bin", []

    def fsync(handle):
        synced.append((os.fstat(handle).st_size, target.exists()))

    monkeypatch.setattr(os, "fsync", fsync)
    with replacing(target) as path:
        path.write_bytes(b"whole")
    assert synced == [(5, False)]


def test_folder_replaces_a_folder(tmp_path):
    target = tmp_path / "net.mlpackage"
    for content in ("old", "new"):
        with replacing(target) as path:
            assert path.suffix == ".mlpackage"
            path.mkdir()
            (path / content).touch()
        assert names(target) == [content]
    with pytest.raises(ValueError), replacing(target) as path:
        path.mkdir()
        (path / "half").touch()
        raise ValueError
    assert names(target) == ["new"]
    assert names(tmp_path) == ["net.mlpackage"]


def test_a_folder_that_cannot_be_copied_has_one_reason(tmp_path):
    """shutil raises a list with the names and the reason of every file."""
    source = tmp_path / "source"
    source.mkdir()
    for name in "ab":
        (source / name).symlink_to(tmp_path / "gone")
    target = tmp_path / "net.mlpackage"
    with pytest.raises(UserError) as error, replacing(target) as temporary:
        shutil.copytree(source, temporary)
    assert str(error.value).startswith(f"cannot write {target}: [Errno 2] No such file")
    assert str(error.value).count("[") == 1


def test_folder_does_not_replace_a_file(tmp_path):
    target = tmp_path / "net.mlpackage"
    target.write_text("old")
    with (
        pytest.raises(UserError, match=r"net\.mlpackage"),
        replacing(target) as path,
    ):
        path.mkdir()
    assert target.read_text() == "old"
    assert names(tmp_path) == ["net.mlpackage"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, UserError])
def test_error_in_between(tmp_path, error):
    target = tmp_path / "a.csv"
    target.write_text("old")
    with pytest.raises(error, match=r"^mine$"), replacing(target) as path:
        path.write_text("half")
        raise error("mine")
    assert target.read_text() == "old"
    assert names(tmp_path) == ["a.csv"]


def test_nothing_written_is_an_error(tmp_path):
    target = tmp_path / "a.csv"
    with pytest.raises(UserError, match=r"a\.csv"), replacing(target):
        pass
    assert names(tmp_path) == []


def test_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    for name in "file/a.csv", "file/deep/a.csv":
        with (
            pytest.raises(UserError, match=name),
            replacing(tmp_path / name),
        ):
            raise AssertionError("never reached")
    (tmp_path / "folder" / "inner").mkdir(parents=True)
    with (
        pytest.raises(UserError, match="folder"),
        replacing(tmp_path / "folder") as path,
    ):
        path.write_text("new")
    assert names(tmp_path) == ["file", "folder"]


def test_a_folder_is_checked_before_long_work(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    check_writable(tmp_path)
    check_writable(tmp_path / "new" / "deep")
    assert names(tmp_path) == ["file"]
    for name in "file", "file/deep":
        with pytest.raises(WriteError, match=f"cannot write into .*{name}: .*file is a file"):
            check_writable(tmp_path / name)
    monkeypatch.setattr(os, "access", lambda place, mode: place != tmp_path)  # root may write all
    with pytest.raises(WriteError, match="new: no permission"):
        check_writable(tmp_path / "new")


def test_full_disk(tmp_path):
    """A limit on the size of files replaces a full disk; Python ignores its signal."""
    target = tmp_path / "a.bin"
    target.write_bytes(b"old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 12, hard))
    try:
        with (
            pytest.raises(UserError, match=r"a\.bin"),
            replacing(target) as path,
        ):
            path.write_bytes(bytes(1 << 20))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert target.read_bytes() == b"old"
    assert names(tmp_path) == ["a.bin"]


def test_killed_in_between(tmp_path):
    target = tmp_path / "a.csv"
    target.write_text("old")
    script = (
        "import os, signal\nfrom portrait.io.files import replacing\n"
        "with replacing('a.csv') as path:\n"
        "    path.write_text('half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    env = {"PYTHONPATH": str(ROOT)}
    ended = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=env)
    assert ended.returncode == -signal.SIGKILL
    assert target.read_text() == "old"
    assert all(path.name.startswith(".") for path in tmp_path.iterdir() if path != target)


@pytest.mark.parametrize("name", ["a" * 251, "Dr. " + "a" * 247, "写真.2024 " + "写" * 78])
def test_the_longest_name(tmp_path, name):
    target = tmp_path / f"{name}.txt"
    with replacing(target) as path:
        path.write_text("whole")
    assert target.read_text() == "whole"


def test_what_a_killed_process_left_goes_when_the_file_is_written_again(tmp_path):
    script = (
        "import os, signal, sys\n"
        "from portrait.io.files import replacing\n"
        "with replacing(sys.argv[1]) as path:\n"
        "    path.write_text('half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    target, other = tmp_path / "a.csv", tmp_path / "ab.csv"
    for path in target, other:
        subprocess.run([sys.executable, "-c", script, path], cwd=ROOT)
    assert len(names(tmp_path)) == 2
    with replacing(target) as living:
        living.write_text("whole")
        with replacing(target) as second:  # two living processes do not disturb each other
            second.write_text("first")
    assert target.read_text() == "whole"
    (left,) = set(names(tmp_path)) - {"a.csv"}
    assert left.startswith(".ab-")


def test_a_folder_that_cannot_be_searched(tmp_path, monkeypatch):
    """As without the right to search it; the superuser has all rights."""

    def refuses(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "mkdir", lambda path, **options: refuses(path))
    for name in "is_dir", "is_file":
        monkeypatch.setattr(Path, name, refuses)
    with (
        pytest.raises(UserError, match=r"^cannot write .*a\.csv: Permission denied$"),
        replacing(tmp_path / "a.csv"),
    ):
        raise AssertionError("never reached")


def test_a_folder_is_not_listed_for_each_of_its_files(tmp_path, monkeypatch):
    listed = []
    glob = Path.glob
    monkeypatch.setattr(Path, "glob", lambda path, *name: listed.append(path) or glob(path, *name))
    for number in range(3):
        with replacing(tmp_path / f"{number}.csv") as path:
            path.write_text("new")
    assert len(names(tmp_path)) == 3
    assert len(listed) == 1
