"""Tests prepared data sets: their files, skipped pictures, and reproducibility."""

import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import scripts
import tiny_portraits
from folders import tree
from PIL import Image
from skimage import data
from tiny_portraits import standing

from portrait.commands import prepare as commands
from portrait.data.pairs import Pair, find_pairs, read_pair, split
from portrait.errors import UserError
from portrait.prepare import datasets
from portrait.prepare.datasets import Preparation, prepare
from portrait.prepare.portraits import find_crops


def test_crops_show_the_upper_body():
    matte = standing()
    crops = find_crops(matte, 50, np.random.default_rng(0))
    assert len(crops) == 50 and len(set(crops)) == 50
    for crop in crops:
        part = crop.of(matte)
        height, width = part.shape
        assert width / height == pytest.approx(3 / 4, abs=0.02)
        # 30 to 70 % of 340 pixels, and never the feet.
        assert 0.3 * 340 - 1 <= height <= 0.7 * 340 + 1
        assert crop.bottom < 300 and not part[: max(0, 20 - crop.top)].any()
        # The head is near the middle: 0.08 of the height, five deviations.
        assert abs(128 - (crop.left + crop.right) / 2) < 0.4 * height


def test_crops_of_a_person_who_sits_far_away():
    matte = np.zeros((240, 400), np.uint8)
    cv2.circle(matte, (260, 80), 25, 255, -1)
    cv2.ellipse(matte, (260, 200), (70, 100), 0, 0, 360, 255, -1)
    crops = find_crops(matte, 20, np.random.default_rng(0))
    assert len(crops) == 20
    for crop in crops:
        height, width = crop.of(matte).shape
        assert width / height == pytest.approx(3 / 4, abs=0.02)
        # 60 to 105 % of the 185 rows from the head to the lower edge, and the head is inside.
        assert 0.6 * 185 - 1 <= height <= 1.05 * 185 + 1
        assert crop.left < 260 < crop.right and crop.top < 80 < crop.bottom


@pytest.mark.parametrize(
    "matte",
    [
        np.zeros((384, 256), np.uint8),
        np.full((384, 256), 255, np.uint8),  # a face that fills the picture
        standing()[:, 95:160],  # 65 pixels wide
        standing().T.copy(),  # lying
    ],
    ids=["nobody", "portrait", "narrow", "lying"],
)
def test_nothing_to_crop(matte):
    assert find_crops(matte, 3, np.random.default_rng(0)) == []


def test_crops_depend_on_seed_and_name_only(street, tmp_path):
    pairs = find_pairs([street], "training")
    prepare(pairs, tmp_path / "a", Preparation(crops=2, seed=1), workers=1)
    prepare(pairs[::-1], tmp_path / "b", Preparation(crops=2, seed=1), workers=2)
    prepare(pairs, tmp_path / "c", Preparation(crops=2, seed=2), workers=1)
    first, second, third = (tree(tmp_path / name / "street") for name in "abc")
    assert len(first) == 6 * 2 * 2
    assert first == second
    assert first.keys() == third.keys() and first != third


def test_a_crop_and_its_matte_are_of_one_place_and_the_colours_stay(tmp_path):
    matte = standing(left=150)
    photo = np.zeros((*matte.shape, 3), np.uint8)
    photo[..., 0] = matte  # somebody red before black
    (tmp_path / "red").mkdir()
    Image.fromarray(photo).save(tmp_path / "red" / "1.png")
    Image.fromarray(matte).save(tmp_path / "red" / "1_matte.png")
    pairs = find_pairs([tmp_path / "red"], "training")
    for path in prepare(pairs, tmp_path / "new", Preparation(crops=3), workers=1):
        image, part = read_pair(Pair(path, path.with_name(f"{path.stem}_matte.png")))
        assert np.abs(image[..., 0].astype(int) - part).mean() < 8  # of JPEG
        assert image[..., 2].mean() < 8 < part.mean()


def test_without_shared_memory_one_process_prepares(street, tmp_path, monkeypatch, caplog):
    def refuse(*arguments):
        raise OSError(30, "Read-only file system")

    pairs = find_pairs([street], "training")
    prepare(pairs, tmp_path / "a", Preparation(), workers=2)
    monkeypatch.setattr(datasets, "WorkerPool", refuse)
    prepare(pairs, tmp_path / "b", Preparation(), workers=2)
    assert tree(tmp_path / "a") == tree(tmp_path / "b")
    assert "Read-only file system" in caplog.text


def test_other_pictures_do_not_go_into_a_prepared_folder(street, tmp_path):
    pairs = find_pairs([street], "training")
    prepare(pairs[:3], tmp_path / "new", Preparation(), workers=1)
    with pytest.raises(UserError):
        prepare(pairs[3:], tmp_path / "new", Preparation(), workers=1)


def test_a_crop_stays_on_the_side_of_its_picture(street, tmp_path):
    pairs = find_pairs([street], "training")
    prepare(pairs, tmp_path / "new", Preparation(crops=2), workers=1)
    crops = find_pairs([tmp_path / "new" / "street"], "training")
    assert {pair.name for pair in crops} >= {"street/00000@1", "street/00000@2"}
    training, validation = split(pairs, 0.5)
    assert training and validation
    origins = [{pair.name.split("@")[0] for pair in side} for side in split(crops, 0.5)]
    assert origins == [{pair.name for pair in training}, {pair.name for pair in validation}]


def test_whole_pictures_are_copied_with_soft_mattes(tmp_path):
    made = tiny_portraits.write(tmp_path / "desk", 3, (120, 90))
    (made / "0001.png").write_bytes(b"\x89PNG and then nothing")
    written = prepare(find_pairs([made], "training"), tmp_path / "new", Preparation(soft=True), 1)
    assert [path.name for path in written] == ["0000.png", "0002.png"]
    new = tmp_path / "new" / "desk" / "training"
    assert sorted(path.name for path in new.iterdir()) == [
        *("0000.png", "0000_matte.png", "0002.png", "0002_matte.png"),
    ]
    assert (new / "0000.png").read_bytes() == (made / "0000.png").read_bytes()
    before, after = (read_pair(Pair(f / "0000.png", f / "0000_matte.png"))[1] for f in (made, new))
    assert ((before > 127) == (after > 127)).mean() > 0.98
    assert len(np.unique(after)) > 10


def test_a_killed_copy_leaves_no_photograph(tmp_path, monkeypatch):
    """Otherwise, the next run would take the incomplete result for complete."""
    made = tiny_portraits.write(tmp_path / "desk", 1, (120, 90))
    write = Path.write_bytes

    def killed(path, contents):
        write(path, contents[:99])
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_bytes", killed)
    with pytest.raises(KeyboardInterrupt):
        prepare(find_pairs([made], "training"), tmp_path / "new", Preparation(), workers=1)
    assert [path.name for path in (tmp_path / "new").rglob("0000*")] == ["0000_matte.png"]


def test_a_blank_folder_behind_a_link_stays_blank(tmp_path):
    walls = tiny_portraits.write(tmp_path / "walls", 2, (60, 45))
    (tmp_path / "Blank_link").symlink_to(walls)
    prepare(find_pairs([tmp_path / "Blank_link"], "training"), tmp_path / "new", Preparation(), 1)
    (made,) = (path for path in (tmp_path / "new").iterdir() if path.is_dir())
    assert [pair.matte for pair in find_pairs([made], "training")] == [None, None]


def test_a_stopped_run_is_finished_and_other_folders_are_left_alone(street, tmp_path):
    pairs, whole = find_pairs([street], "training"), tmp_path / "whole"
    prepare(pairs, whole, Preparation(crops=1), workers=1)
    expected = tree(whole)
    lost = whole / "street/training/00003@1.jpg"
    lost.unlink()
    kept = whole / "street/training/00002@1.jpg"
    os.utime(kept, (1, 1))
    prepare(pairs, whole, Preparation(crops=1), workers=1)
    assert tree(whole) == expected
    assert kept.stat().st_mtime == 1
    for other in (Preparation(crops=2), Preparation(crops=1, seed=9)):
        with pytest.raises(UserError):
            prepare(pairs, whole, other, workers=1)
    with pytest.raises(UserError):
        prepare(pairs, street, Preparation(crops=1), workers=1)
    assert json.loads((whole / "prepared.json").read_text())["crops"] == 1


def test_two_pictures_of_one_name_are_refused(street, tmp_path):
    with pytest.raises(UserError, match="street/00000"):
        prepare(2 * find_pairs([street], "training"), tmp_path / "new", Preparation(), 1)


def test_exclusions(tmp_path):
    listed = tmp_path / "bad.txt"
    lines = "# found by hand\nstreet/00001  # shadow\n\n  desk/é\nme#2.jpg#0\t#two\n"
    listed.write_text(lines, encoding="utf-8")
    assert datasets.read_exclusions(listed) == {"street/00001", "desk/é", "me#2.jpg#0"}
    listed.write_text("\ufeffdesk/e\u0301\n", encoding="utf-8")  # as Windows and macOS write it
    assert datasets.read_exclusions(listed) == {"desk/é"}
    with pytest.raises(UserError, match=r"none\.txt"):
        datasets.read_exclusions(tmp_path / "none.txt")


def test_photos_of_one_name_are_all_kept(tmp_path):
    for level, folder in enumerate("abc"):
        (tmp_path / folder / "images").mkdir(parents=True)
        Image.new("L", (60, 80), 60 * level).save(tmp_path / folder / "images" / "1.png")
    target = tmp_path / "Blank_all"
    for folders in ("ab", "cb"):  # the second run adds to existing photos
        commands.blank([tmp_path / folder / "images" for folder in folders], target)
    kept = {path.name: path.read_bytes() for path in target.iterdir()}
    assert kept.keys() == {"1.png", "2_1.png", "3_1.png"}
    assert set(kept.values()) == {path.read_bytes() for path in tmp_path.glob("?/images/1.png")}


def test_mattes_are_not_photos_in_which_nobody_is(tmp_path):
    folder = tiny_portraits.write(tmp_path / "people", 2, (80, 60))
    Image.new("L", (60, 80), 60).save(folder / "wall.png")
    commands.blank([folder], tmp_path / "Blank", person_share=1)
    assert sorted(path.name for path in (tmp_path / "Blank").iterdir()) == [
        *("0000.png", "0001.png", "wall.png"),
    ]


def test_photos_with_somebody_are_not_blank(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    Image.new("RGB", (336, 448), "teal").save(folder / "wall.png")
    Image.fromarray(data.astronaut()[:448, 40:376]).save(folder / "me.png")
    commands.blank([folder], tmp_path / "Blank")
    assert [path.name for path in (tmp_path / "Blank").iterdir()] == ["wall.png"]


def test_names_of_a_file_are_left_out(street, tmp_path, capsys):
    (tmp_path / "bad.txt").write_text("street/00001\nstreet/00004\n")
    written = commands.prepare([str(street)], tmp_path / "new", exclude=str(tmp_path / "bad.txt"))
    assert {path.stem for path in written} == {"00000", "00002", "00003", "00005"}
    assert "2 of 6" in capsys.readouterr().out
    (tmp_path / "all.txt").write_text("".join(f"street/0000{number}\n" for number in range(6)))
    with pytest.raises(UserError, match=r"all\.txt"):
        commands.prepare([str(street)], tmp_path / "none", exclude=str(tmp_path / "all.txt"))
    assert not (tmp_path / "none").exists()


def test_photos_without_people_go_into_a_folder_that_says_so(street, tmp_path):
    with pytest.raises(UserError, match="Blank"):
        commands.blank([street], tmp_path / "x")


def test_command_line(street, tmp_path):
    """Tests that flags select the steps, and that conflicting flags are named."""
    recipe = [f"--data={street}", "--crops=1", "--soft", "--seed=3", "--workers=1"]
    data, x = f"--data={street}", f"--output={tmp_path / 'x'}"
    mistakes = {
        ("--output=",): [data, "--soft"],
        ("--data=",): [x, "--soft"],
        ("--exclude= is empty",): [x, data, "--soft", "--exclude="],
        ("--blank", "--data"): [x, f"--blank={street}", data],
        ("--suspects", "--groups"): [x, data, "--suspects", "--groups=2"],
        ("--model", "--suspects", "--blank"): [x, data, "--soft", "--model=selfie_net_big"],
        ("--suspects", "--workers"): [x, data, "--suspects", "--workers=4"],
        ("--input_shape", "288x256"): [x, data, "--suspects", "--input_shape=512"],
        ("--input_range has no effect",): [x, data, "--suspects", "--input_range=0..1"],
        ("--input_shape=65x96",): [x, data, "--suspects", "--input_shape=65x96"],
    }
    done, *failed = scripts.run(
        "prepare_data", [*recipe, f"--output={tmp_path / 'flags'}"], *mistakes.values()
    )
    assert done[0] == 0, done[2]
    pairs = find_pairs([street], "training")
    prepare(pairs, tmp_path / "soft", Preparation(crops=1, soft=True, seed=3), workers=1)
    prepare(pairs, tmp_path / "hard", Preparation(crops=1, seed=3), workers=1)
    flags, soft, hard = (tree(tmp_path / name / "street") for name in ("flags", "soft", "hard"))
    assert flags == soft and flags.keys() == hard.keys()
    assert [name for name in flags if flags[name] != hard[name]] == [
        name for name in flags if name.endswith("_matte.png")
    ]
    for named, (status, _, err) in zip(mistakes, failed, strict=True):
        assert status == 1 and err.count("\n") == 1
        assert all(flag in err for flag in named), err
    assert not (tmp_path / "x").exists()


def test_label_masks_become_mattes(tmp_path):
    person = standing()
    labels = np.where(person > 0, np.uint8(15), np.uint8(0))
    labels[:10, :30] = 9
    for name, array in (("images", np.dstack([person] * 3)), ("masks", labels)):
        (tmp_path / "set" / name).mkdir(parents=True)
        Image.fromarray(array).save(tmp_path / "set" / name / "1.png")
    command = [f"--data={tmp_path / 'set'}", f"--output={tmp_path / 'new'}"]
    told, again, other = scripts.run(
        "prepare_data",
        *([*command, label] for label in ("--person_label=15", "--person_label=15")),
        [*command, "--person_label=9"],
    )
    assert (told[0], again[0], other[0]) == (0, 0, 1), told
    assert "15 is the person" in told[2]
    (pair,) = find_pairs([tmp_path / "new" / "set"], "training")
    np.testing.assert_array_equal(read_pair(pair)[1], person)
