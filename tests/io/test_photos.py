"""Tests the selection of photographs, and the names of their results."""

import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from portrait.errors import UnfitError, UserError
from portrait.io.files import WriteError
from portrait.io.images import TooSmallError, read_image, write_png
from portrait.io.photos import (
    files_in,
    find_photographs,
    photographs_in,
    result_paths,
    work_through,
)

PICTURE = np.zeros((4, 4, 3), np.uint8)


def fill(folder, *names):
    for name in names:
        write_png(folder / name, PICTURE)


def named(paths):
    return [path.name for path in paths]


def test_mattes_and_earlier_results_are_no_photographs(tmp_path):
    fill(tmp_path, "a.png", "a_matte.png", "a_great_wave.png", "a.png_great_wave.png")
    fill(tmp_path, "b_wave.png", "c_matte.png")
    assert named(photographs_in(tmp_path, ["great_wave"])) == ["a.png", "b_wave.png", "c_matte.png"]
    assert len(photographs_in(tmp_path, ["udnie"])) == 5
    with pytest.raises(UserError, match="cannot list"):
        photographs_in(tmp_path / "gone")


def test_earlier_results_of_videos_are_no_videos(tmp_path, caplog):
    caplog.set_level("INFO", "portrait")
    for name in ("a.mp4", "a_blur.mp4", "a.mp4_alpha.mp4", "b_blur.mp4", "c.png", "c_blur.mov"):
        (tmp_path / name).touch()
    photos, clips = files_in(tmp_path, ["blur", "alpha"])
    assert named(photos) == ["c.png"] and named(clips) == ["a.mp4", "b_blur.mp4", "c_blur.mov"]
    # It is said, because they may be videos of the user.
    assert [each.message for each in caplog.records] == [
        "left out as earlier results by their names (2): a.mp4_alpha.mp4, ..."
    ]
    (tmp_path / "a_matte.mp4").touch()
    (tmp_path / "c_alpha.png").touch()
    caplog.clear()
    files_in(tmp_path, ["blur"])  # another kind of result
    assert "(1): a_blur.mp4" in caplog.text and len(caplog.records) == 1


def test_each_is_found_once(tmp_path):
    fill(tmp_path, "a.png", "b.png", "b_matte.png")
    found = find_photographs([tmp_path / "b.png", tmp_path, tmp_path / "b_matte.png"])
    assert named(found) == ["b.png", "a.png", "b_matte.png"]
    with pytest.raises(UserError, match="photograph"):
        find_photographs([])


def test_no_result_has_another_one_s_name():
    sources = [Path("in", name) for name in ("a.jpg", "a.png", "a.jpg.png", "A.gif")]
    results = result_paths(sources, "out", ["blur"])
    assert results == [
        (Path("out", f"{name}_blur.png"),) for name in ("a", "a.png", "a.jpg", "A.gif")
    ]


def test_suffixes_keep_names_apart():
    sources = [Path("1", "clip.mp4"), Path("2", "clip.mp4"), Path("clip.mov")]
    results = result_paths(sources, "out", ["udnie"], lambda source: source.suffix)
    assert named(path for (path,) in results) == [
        "clip_udnie.mp4",
        "clip.mp4_udnie.mp4",
        "clip_udnie.mov",
    ]


def test_what_cannot_be_used_is_left_out_and_named(tmp_path, caplog):
    fill(tmp_path, "good.png")
    write_png(tmp_path / "small.png", PICTURE[:2])
    (tmp_path / "bad.jpg").write_bytes(b"no picture")

    def copy(photo, path):
        if len(picture := read_image(photo)) < 4:
            raise TooSmallError(picture.shape, 4)
        write_png(path, picture)

    assert named(work_through(copy, [tmp_path], tmp_path / "out", ["copy"], "")) == [
        "good_copy.png"
    ]
    assert "(2)" in caplog.text and "bad.jpg" in caplog.text
    assert "small.png" in caplog.text and "4 x 2" in caplog.text
    with pytest.raises(UserError, match=r"no picture could be used: .*small\.png"):
        work_through(copy, [tmp_path / "small.png"], tmp_path / "out", ["copy"], "")


def test_one_that_needs_too_much_memory_or_has_a_long_name_ends_nothing(tmp_path, caplog):
    long = "\u5199" * 83  # of three bytes: with _copy.png more than 255
    fill(tmp_path, "a.png", "huge.png", "other.png", "z.png")
    (tmp_path / "a.png").rename(tmp_path / f"{long}.png")

    def copy(photo, path):
        if photo.stem == "huge":
            raise MemoryError("Unable to allocate 5.6 GiB")
        if photo.stem == "other":
            raise UnfitError("other proportions")
        write_png(path, read_image(photo))

    assert named(work_through(copy, [tmp_path], tmp_path / "out", ["copy"], "")) == ["z_copy.png"]
    for said in ("(3)", "huge.png: there is not enough memory", long, "other.png: other prop"):
        assert said in caplog.text


def test_a_full_disk_ends_the_work(tmp_path):
    fill(tmp_path, "a.png", "b.png")
    begun = []

    def full(photo, path):
        begun.append(photo)
        raise WriteError("cannot write it: No space left on device")

    with pytest.raises(WriteError):
        work_through(full, [tmp_path], tmp_path / "out", ["copy"], "")
    assert len(begun) == 1


def test_no_result_has_the_path_of_a_file_in_use():
    taken = ["out/a_blur.png", Path("out", "A.JPG_blur.png"), "white"]
    assert named(
        path for (path,) in result_paths([Path("a.jpg")], "out", ["blur"], taken=taken)
    ) == ["a.jpg-2_blur.png"]


@pytest.mark.parametrize("name", ["me.png", "me.JPG", "clip.mp4"])
def test_a_folder_is_not_called_like_a_picture(tmp_path, name):
    photos = [Path("a.jpg")]
    with pytest.raises(UserError, match=name):
        result_paths(photos, tmp_path / name, ["alpha"])
    (tmp_path / name).mkdir()
    assert result_paths(photos, tmp_path / name, ["alpha"])[0][0].parent.name == name
    assert result_paths(photos, tmp_path / "run.v2", ["alpha"])


def test_a_folder_without_still_pictures_is_named(tmp_path):
    pictures = [Image.new("RGB", (8, 8), colour) for colour in ("red", "green")]
    pictures[0].save(tmp_path / "a.gif", save_all=True, append_images=pictures[1:])
    with pytest.raises(UserError, match=f"^{tmp_path} contains no photographs"):
        find_photographs([tmp_path])


def test_videos_in_a_folder_are_named(tmp_path, caplog):
    for name in ("a.png", "b.MP4", "c.webm"):
        (tmp_path / name).touch()
    with caplog.at_level(logging.WARNING):
        assert named(find_photographs([tmp_path])) == ["a.png"]
    assert "(2)" in caplog.text and "b.MP4" in caplog.text and "c.webm" in caplog.text
