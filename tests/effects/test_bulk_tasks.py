"""Tests the names of results: of a folder as in a plain run, of a list stable ones."""

import os

import numpy as np
import pytest
import tiny_clips
from PIL import Image

from portrait.effects.bulk import Task
from portrait.effects.bulk_tasks import find_tasks, is_list
from portrait.errors import UserError
from portrait.io.remote import name_of


@pytest.fixture
def folder(tmp_path):
    """Two photographs of one name, a result of an earlier run, a video, and a note."""
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a.jpg", "a.png", "b.jpg", "b_blur.png"):
        Image.new("RGB", (8, 8)).save(folder / name)
    tiny_clips.write(folder / "clip.mp4", np.zeros((2, 16, 16, 3), np.uint8))
    (folder / "notes.csv").touch()
    return folder


def test_a_folder(folder):
    tasks = find_tasks(str(folder), "out/", ["blur"])
    assert [task.target for task in tasks] == [
        *("out/a.jpg_blur.png", "out/a.png_blur.png", "out/b_blur.png", "out/clip_blur.mp4")
    ]
    assert tasks[3].source == str(folder / "clip.mp4")
    assert find_tasks(str(folder), "out", ["cutout"])[-1].target == "out/clip_cutout.webm"


def test_a_folder_elsewhere(folder):
    tasks = find_tasks(folder.as_uri(), "memory://out", ["blur"])
    assert [task.target for task in tasks][-2:] == [
        *("memory://out/b_blur.png", "memory://out/clip_blur.mp4")
    ]
    assert tasks[0].source == f"{folder.as_uri()}/a.jpg"


def test_a_file_that_is_added_has_no_result_of_another_one(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    before: dict[str, str] = {}
    for name in ("a.png", "a.jpg", "A.webp", "b.png", "a.gif", "a.mp4", "a.gif.tif"):
        Image.new("RGB", (8, 8)).save(folder / name) if name != "a.mp4" else (
            (folder / name).touch()
        )
        tasks = find_tasks(str(folder), "out", ["blur"])
        now = {task.target.casefold(): task.source for task in tasks}
        assert len(now) == len(tasks)
        assert all(before[target] == now[target] for target in before.keys() & now.keys())
        before |= now


def test_the_path_of_a_url_names_the_result(tmp_path):
    lines = [
        f"https://bucket.example/v/clip.mp4?X-Amz-Signature={'f' * 300}#t=1",
        "https://h.example/img/photo.jpg?width=600",
        "HTTP://h.example/photo.php?file=v1.5/x",
        "s3://b/odd?name#1.jpg",
    ]
    (tmp_path / "list.txt").write_text("\n".join(lines))
    assert find_tasks(str(tmp_path / "list.txt"), "out", ["blur"]) == [
        Task(lines[0], "out/bucket.example/v/clip_blur.mp4"),
        Task(lines[1], "out/h.example/img/photo_blur.png"),
        Task(lines[2], "out/h.example/photo_blur.png"),
        Task(lines[3], "out/b/odd?name#1_blur.png"),
    ]
    assert is_list("https://h.example/list.txt?signature=1")
    assert name_of("https://[damaged/a.jpg").name == "a.jpg"


def test_equal_names_get_numbers_that_do_not_depend_on_the_order(tmp_path):
    lines = [f"https://h.example/photo.jpg?width={width}" for width in (600, 800, 1200)]
    named = []
    for order in (lines, lines[::-1]):
        (tmp_path / "list.txt").write_text("\n".join(order))
        named.append(set(find_tasks(str(tmp_path / "list.txt"), "out", ["blur"])))
    assert named[0] == named[1] and len({task.target for task in named[0]}) == 3
    assert all(task.target.startswith("out/h.example/photo.jpg-") for task in named[0])


def test_files_in_use_are_no_results(folder):
    used = ["out/../out/b_blur.png", "white"]
    assert "out/b.jpg_blur.png" in [
        task.target for task in find_tasks(str(folder), "out", ["blur"], used)
    ]


def test_a_source_is_no_result_of_another(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "list.txt").write_text("a.jpg\na_blur.png\n")
    assert [task.target for task in find_tasks("list.txt", ".", ["blur"])] == [
        *("./a.jpg_blur.png", "./a_blur_blur.png")
    ]


def test_earlier_results_elsewhere_are_no_sources(folder, caplog):
    caplog.set_level("INFO", "portrait")
    for name in ("clip_blur.mp4", "b_alpha.png", "b_blur.mp4"):
        (folder / name).touch()
    for source in (str(folder), folder.as_uri()):
        names = [task.source.rpartition("/")[2] for task in find_tasks(source, "out", ["blur"])]
        assert names == ["a.jpg", "a.png", "b.jpg", "b_blur.mp4", "clip.mp4"]
        assert "by their names" in caplog.text
        caplog.clear()


def test_a_list_keeps_its_folders_and_names_every_file_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = ["x/1.jpg", "y/1.jpg", "", "x/1.jpg", "../z/1.jpg", "/top/1.jpg", "s3://b/k/1.jpg"]
    # With a byte order mark, as Windows writes it.
    (tmp_path / "list.txt").write_text("\ufeff" + "\n".join(lines), encoding="utf-8")
    assert find_tasks("list.txt", "out", ["alpha"]) == [
        Task(str(tmp_path / "x/1.jpg"), "out/x/1_alpha.png"),
        Task(str(tmp_path / "y/1.jpg"), "out/y/1_alpha.png"),
        Task(str(tmp_path.parent / "z/1.jpg"), "out/z/1_alpha.png"),
        Task("/top/1.jpg", "out/top/1_alpha.png"),
        Task("s3://b/k/1.jpg", "out/b/k/1_alpha.png"),
    ]


def test_names_in_a_list_need_not_be_utf_8(tmp_path):
    (tmp_path / "list.txt").write_bytes(b"/x/\xe9.jpg\n")
    (task,) = find_tasks(str(tmp_path / "list.txt"), "out", ["alpha"])
    assert os.fsencode(task.source) == b"/x/\xe9.jpg"
    assert os.fsencode(task.target) == b"out/x/\xe9_alpha.png"
    (tmp_path / "list.txt").write_text("/x/1.jpg\n", encoding="utf-16")
    with pytest.raises(UserError, match=r"list\.txt: it is not text in UTF-8"):
        find_tasks(str(tmp_path / "list.txt"), "out", ["alpha"])


def test_what_cannot_be_listed(tmp_path, folder):
    (tmp_path / "empty.txt").touch()
    for source in ("empty.txt", "missing.txt", "in/a.jpg"):
        with pytest.raises(UserError, match=source):
            find_tasks(str(tmp_path / source), "out", ["blur"])
    with pytest.raises(UserError, match="--output"):
        find_tasks(str(folder), str(folder), ["blur"])
    with pytest.raises(UserError, match=r"out\.png: name a folder"):
        find_tasks(str(folder), "out.png", ["blur"])
    with pytest.raises(UserError, match="the output is empty"):
        find_tasks(str(folder), "", ["blur"])
    with pytest.raises(UserError, match="nonsense://x"):
        find_tasks("nonsense://x", "out", ["blur"])
