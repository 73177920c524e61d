"""Tests layouts of data folders, and the stable split."""

import logging
import os

import pytest
from PIL import Image

from portrait.data.pairs import Pair, find_pairs, split, unseen
from portrait.errors import UserError
from portrait.util import evenly


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def found(folder, subset="training"):
    return [
        (pair.image.name, pair.matte and pair.matte.name) for pair in find_pairs([folder], subset)
    ]


LAYOUTS = {
    "pfcn": ["2.png", "2_matte.png", "1.JPG", "1_matte.PNG", ".hidden.jpg", "Thumbs.db"],
    "supervisely": ["img/1.JPG", "img/2.png", "alpha/1.png", "alpha/2.jpg", "alpha/._2.jpg"],
    "own": ["images/1.JPG", "images/2.png", "masks/1.png", "masks/2.webp", "notes.txt"],
    "eg1800": [
        *("images_data_crop/1.JPG", "images_data_crop/2.png"),
        *("images_mask/1_mask.mat", "images_mask/2_mask.mat", "images_mask/._1_mask.mat"),
    ],
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_is_found(tmp_path, layout, caplog):
    touch(tmp_path, *LAYOUTS[layout])
    assert [image for image, _ in found(tmp_path)] == ["1.JPG", "2.png"]
    for pair in find_pairs([tmp_path], "testing"):
        assert pair.matte.is_file()
        assert pair.matte.name[0] == pair.image.name[0]
    assert not caplog.records


def test_layouts_mix_in_one_folder_and_over_several(tmp_path):
    for names in LAYOUTS.values():
        touch(tmp_path / "all", *names)
    touch(tmp_path / "Blank_x", "1.jpg", "2.bmp", "no picture.txt")
    touch(tmp_path / "blank_y", "1.jpg", "1_matte.png")  # lower case: an ordinary folder
    pairs = find_pairs([tmp_path / "all", tmp_path / "Blank_x", tmp_path / "blank_y"], "training")
    assert [pair.image.parent.name for pair in pairs] == (
        ["all"] * 2 + ["img"] * 2 + ["images"] * 2 + ["images_data_crop"] * 2
        + ["Blank_x"] * 2 + ["blank_y"]
    )  # fmt: skip
    assert [pair.matte is None for pair in pairs] == [False] * 8 + [True] * 2 + [False]


def test_training_and_testing_folders_are_honoured(tmp_path):
    touch(tmp_path / "both", "training/1.jpg", "training/1_matte.png")
    touch(tmp_path / "both", "testing/img/2.jpg", "testing/alpha/2.png", "3.jpg", "3_matte.png")
    touch(tmp_path / "one", "training/1.jpg", "training/1_matte.png")
    assert found(tmp_path / "both") == [("1.jpg", "1_matte.png")]
    assert found(tmp_path / "both", "testing") == [("2.jpg", "2.png")]
    with pytest.raises(UserError, match="testing"):
        find_pairs([tmp_path / "one"], "testing")


def test_mattes_are_no_pictures_of_nobody(tmp_path):
    touch(tmp_path / "Blank_x", "1.jpg", "1_matte.png", "night_matte.png")
    assert found(tmp_path / "Blank_x") == [("1.jpg", None), ("night_matte.png", None)]


def test_names_that_are_not_utf8_have_a_side(tmp_path):
    image = tmp_path / os.fsdecode(b"J\xfcrgen.jpg")
    train, validate = split([Pair(image, None), Pair(tmp_path / "1.jpg", None)], 0.5)
    assert len(train) == len(validate) == 1


def test_a_link_may_be_called_blank(tmp_path):
    touch(tmp_path / "photos", "1.jpg")
    (tmp_path / "Blank_link").symlink_to(tmp_path / "photos")
    assert found(tmp_path / "Blank_link") == [("1.jpg", None)]


def test_accents_match_in_either_spelling(tmp_path):
    touch(tmp_path, "img/J\u00fcrgen.jpg", "alpha/Ju\u0308rgen.png")
    assert len(found(tmp_path)) == 1


def test_pictures_without_matte_are_named_and_counted(tmp_path, caplog):
    touch(tmp_path, "0.jpg", "0_matte.png", *(f"{n}.jpg" for n in range(1, 8)))
    with caplog.at_level(logging.WARNING):
        assert found(tmp_path) == [("0.jpg", "0_matte.png")]
        found(tmp_path)  # as training and validation do; the message appears once
    (record,) = caplog.records
    assert "7" in record.getMessage()
    assert "1.jpg; 2.jpg; 3.jpg; 4.jpg; 5.jpg; ..." in record.getMessage()


def test_folders_without_pairs_are_errors(tmp_path):
    touch(tmp_path / "loose", "1.jpg", "2.jpg")
    touch(tmp_path / "Blank", "notes.txt")
    for name in ("loose", "Blank"):
        with pytest.raises(UserError, match=r"_matte.*alpha.*mat.*Blank"):
            find_pairs([tmp_path / name], "training")
    with pytest.raises(UserError, match="none"):
        find_pairs([tmp_path / "none"], "training")


@pytest.mark.parametrize(
    ("pictures", "other", "needs"),
    [
        (("1.jpg", "2.png"), "notes.txt", r"1\.jpg .*1_matte\.png"),
        (("img/1.jpg", "img/2.jpg"), "alpha/3.png", r"img/1\.jpg .*alpha/1\.png"),
        (("images/1.jpg", "images/2.jpg"), "x", r"images/1\.jpg .*masks/1\.png"),
        (
            ("images_data_crop/1.jpg", "images_data_crop/2.jpg"),
            "x",
            r"images_data_crop/1\.jpg .*images_mask/1_mask\.mat",
        ),
    ],
)
def test_pictures_of_which_none_has_a_matte_say_which_is_missing(tmp_path, pictures, other, needs):
    touch(tmp_path, *pictures, other)
    with pytest.raises(UserError, match=rf"2 .*{needs}"):
        find_pairs([tmp_path], "training")


def test_names_hold_set_and_picture(tmp_path):
    for path in ("selfies/training/img/1.jpg", "selfies/1.jpg", "selfies/images_data_crop/1.png"):
        assert Pair(tmp_path / path, None).name == "selfies/1"


def make(folder, numbers):
    return [Pair(folder / f"{number:05}.jpg", None) for number in numbers]


def test_split_is_disjoint_complete_and_of_the_right_size(tmp_path):
    pairs = make(tmp_path / "a", range(2000)) + make(tmp_path / "b", range(2000))
    train, val = split(pairs, 0.8)
    assert len(train) + len(val) == len(pairs)
    assert {*train, *val} == {*pairs}
    # Binomial: a standard deviation of sqrt(4000 * 0.8 * 0.2) = 25 pairs.
    assert abs(len(train) - 3200) < 5 * 25
    sides = {side: {pair.name[2:] for pair in val if pair.name[0] == side} for side in "ab"}
    assert sides["a"] != sides["b"]


def test_split_survives_additions_moves_and_other_suffixes(tmp_path):
    few = split(make(tmp_path / "x" / "set", range(0, 100, 3)), 0.8)[1]
    many = split(make(tmp_path / "y" / "set" / "training", range(100)), 0.8)[1]
    assert few
    assert {pair.name for pair in few} <= {pair.name for pair in many}
    # By coreutils: `printf set/00006 | sha256sum` begins with ff, set/00007 with de, and the other
    # eight with less than 0.8 x 256 = cc.cc.
    assert [pair.name for pair in split(make(tmp_path / "set", range(10)), 0.8)[1]] == [
        "set/00006",
        "set/00007",
    ]


@pytest.mark.parametrize("val_ratio", [0.001, 0.5, 0.999])
def test_tiny_sets_give_at_least_one_to_each_side(tmp_path, val_ratio):
    for seed in range(20):
        train, val = split(make(tmp_path / str(seed), range(2)), val_ratio)
        assert (len(train), len(val)) == (1, 1)
    assert [len(side) for side in split(make(tmp_path, [1]), val_ratio)] == [1, 0]
    assert split([], val_ratio) == ([], [])


@pytest.mark.parametrize("val_ratio", [0.001, 0.999])
def test_crops_of_a_picture_stay_together_in_tiny_sets(tmp_path, val_ratio):
    pairs = [Pair(tmp_path / f"{name}@{crop}.jpg", None) for name in "abc" for crop in (1, 2)]
    sides = [{pair.image.name[0] for pair in side} for side in split(pairs, val_ratio)]
    assert sorted(map(len, sides)) == [1, 2]
    assert [len(side) for side in split(pairs[:2], val_ratio)] == [1, 1]


@pytest.mark.parametrize("val_ratio", [0, 1, 80, -1, float("nan")])
def test_impossible_shares_are_refused(tmp_path, val_ratio):
    with pytest.raises(UserError, match="val_ratio"):
        split(make(tmp_path, range(4)), val_ratio)


def test_real_folders(portrait_data):
    folders = [portrait_data / "portraits" / name for name in ("selfies", "people")]
    pairs = find_pairs(folders, "testing")
    assert len(pairs) == 145 + 29
    assert {pair.name.split("/")[0] for pair in pairs} == {"selfies", "people"}


def test_the_unseen_picture_can_be_read(tmp_path):
    touch(
        tmp_path,
        *(
            f"{part}/{n}{end}"
            for part in ("training", "testing")
            for n in "abcdef"
            for end in (".jpg", "_matte.png")
        ),
    )
    Image.new("RGB", (8, 8)).save(tmp_path / "testing" / "d.jpg")
    assert unseen([tmp_path], 0.5).image == tmp_path / "testing" / "d.jpg"
    (tmp_path / "testing" / "d.jpg").write_bytes(b"")
    for name in "abcdef":
        Image.new("RGB", (8, 8)).save(tmp_path / "training" / f"{name}.jpg")
    _, validation = split(find_pairs([tmp_path], "training"), 0.5)
    assert unseen([tmp_path], 0.5) == validation[0]


def test_a_few_are_taken_evenly():
    assert evenly(range(9), 3) == [0, 4, 8]
    assert evenly([1, 2], 3) == [1, 2]
