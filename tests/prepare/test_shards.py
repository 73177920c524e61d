"""Packing pairs into shards, and training on them."""

import numpy as np
import pytest
import scripts
import tiny_portraits
from batches import same
from folders import tree
from PIL import Image

from data_generator import make_batches
from portrait.data.labels import examine
from portrait.data.pairs import find_pairs, read_pair, split
from portrait.errors import UserError
from portrait.prepare.shards import pack

SIZE = (24, 16)


@pytest.fixture
def folders(tmp_path):
    """Twelve portraits with an unreadable one, label masks, and a blank picture."""
    portraits = tiny_portraits.write(tmp_path / "set", 12, (48, 36))
    (portraits / "0005.png").write_bytes(b"no picture")
    labels = tiny_portraits.write(tmp_path / "labels", 6, (48, 36), seed=1)
    for matte in labels.glob("*_matte.png"):
        person = np.asarray(Image.open(matte)) > 127
        Image.fromarray(np.where(person, 15, 0).astype(np.uint8)).save(matte)
    blank = tmp_path / "Blank_walls"
    blank.mkdir()
    Image.new("RGB", (36, 48), (90, 80, 70)).save(blank / "wall 1.jpg")
    return [str(portraits), str(labels), str(blank)]


def packed(folders, output, **arguments):
    return pack(examine(find_pairs(folders, "training")), output, 3, workers=1, **arguments)


def test_shards_have_the_pairs_of_the_folders(folders, tmp_path):
    packed(folders, tmp_path / "new")
    ours = find_pairs([tmp_path / "new"], "training")
    theirs = examine(find_pairs(folders, "training"))
    theirs = [pair for pair in theirs if pair.name != "set/0005"]
    assert [pair.name for pair in ours] == [pair.name for pair in theirs]
    assert examine(ours) == ours
    for one, two in zip(ours, theirs, strict=True):
        for part, other in zip(read_pair(one), read_pair(two), strict=True):
            assert np.array_equal(part, other)
    assert [len(part) for part in split(ours, 0.8)] == [len(part) for part in split(theirs, 0.8)]
    assert ours[-1].matte is None


@pytest.mark.parametrize("cache", ["memory", "disk", "none"])
@pytest.mark.parametrize("workers", [0, 2])
def test_batches_are_those_of_the_folders(folders, tmp_path, cache, workers):
    packed(folders, tmp_path / "new")

    def batches(data, workers, cache):
        parts = split(examine(find_pairs(data, "training")), 0.7)
        return make_batches(
            *parts, SIZE, 4, darken, seed=3, workers=workers, cache=cache, multiple=2
        )

    for made, other in zip(
        batches([tmp_path / "new"], workers, cache), batches(folders, 0, "memory"), strict=True
    ):
        for epoch in (0, 1):
            made.epoch = other.epoch = epoch
            assert all(same(one[:2], two[:2]) for one, two in zip(made, other, strict=True))
        made.close()


def darken(images, mattes, seed):
    return images // (seed % 5 + 1), mattes


def test_a_stopped_run_is_finished_by_the_same_command(folders, tmp_path):
    whole = packed(folders, tmp_path / "whole")
    killed = packed(folders, tmp_path / "killed")
    killed[1].with_suffix(".idx").unlink()
    killed[2].with_suffix(".idx").unlink()
    killed[2].unlink()
    before = killed[0].stat().st_mtime_ns
    with pytest.raises(UserError, match="2 of 3 shards"):
        find_pairs([tmp_path / "killed"], "training")
    packed(folders, tmp_path / "killed")
    assert tree(tmp_path / "killed") == tree(tmp_path / "whole") and len(whole) == 3
    assert killed[0].stat().st_mtime_ns == before
    with pytest.raises(UserError, match="other data"):
        packed(folders, tmp_path / "killed", longest_side=20)


def test_large_photos_become_smaller(folders, tmp_path):
    packed(folders, tmp_path / "new", longest_side=24)
    for pair in find_pairs([tmp_path / "new"], "training"):
        image, matte = read_pair(pair)
        assert image.shape == (24, 18, 3) and matte.shape == (24, 18)
        assert pair.image.suffix == ".jpg"


def test_dim_mattes_stay_dim(tmp_path):
    folder = tiny_portraits.write(tmp_path / "set", 3, (48, 36))
    matte = np.zeros((48, 36), np.uint16)
    matte[:, ::2] = np.arange(18) * 20  # of 65535, so 1 of 255 at most
    Image.fromarray(matte).save(folder / "0001_matte.png")
    packed([str(folder)], tmp_path / "new")
    dim = read_pair(find_pairs([tmp_path / "new"], "training")[1])[1]
    np.testing.assert_array_equal(dim, np.rint(matte / 257))


def test_nothing_to_pack(folders, tmp_path):
    with pytest.raises(UserError, match="only 19"):
        pack(examine(find_pairs(folders, "training")), tmp_path / "new", 20)
    for path in (tmp_path / "set").glob("[0-9]*[0-9].png"):
        path.write_bytes(b"")
    with pytest.raises(UserError, match="none of 12"):
        packed(folders[:1], tmp_path / "new")
    assert not [each for each in (tmp_path / "new").rglob("*") if each.is_file()]


def test_the_command_packs_in_processes_and_shards_are_data_like_others(folders, tmp_path):
    new = tmp_path / "new"
    flags = [f"--data={','.join(folders)}", "--workers=2"]
    packing, copying = scripts.run(
        "prepare_data",
        [*flags, f"--output={new}", "--shards=4"],
        [f"--data={new}", f"--output={tmp_path / 'soft'}", "--soft=True", "--workers=1"],
    )
    assert packing[0] == 0 and "0005.png" in packing[2], packing
    assert sorted(path.name for path in (new / "training").iterdir()) == sorted(
        f"{number:05}-of-00004.{suffix}" for number in range(4) for suffix in ("tar", "idx")
    )
    assert copying[0] == 0, copying
    assert len(find_pairs([tmp_path / "soft" / "labels"], "training")) == 6
