"""Shards: tar files of pictures, read at random by their index."""

import os
import tarfile

import pytest

from portrait.errors import UserError
from portrait.io import shards
from portrait.io.decode import PictureError, read_bytes
from portrait.io.shards import Sample, list_shards, read_member, shard_path, write_shard

# Contents of one block, of less, of more, and of none of the tar file's 512 bytes.
SAMPLES = [
    Sample("selfies/b", {".jpg": b"b" * 512, ".matte.png": b"m" * 700}),
    Sample("selfies/a", {".png": b"a", ".matte.png": b""}),
    Sample("Blank_rooms/sofa 2", {".jpg": b"s" * 1025}),
    Sample("other/" + "long" * 60 + "é%20", {".jpg": b"l", ".matte.png": b"n"}),
    Sample(os.fsdecode(b"other/latin\xe9"), {".jpg": b"x", ".matte.png": b"y"}),
]


@pytest.fixture
def shard(tmp_path):
    path = shard_path(tmp_path, 0, 1)
    assert write_shard(path, SAMPLES) == len(SAMPLES)
    return path


def members(sample: Sample) -> list[str]:
    return [sample.name + suffix for suffix in sample.files]


def test_every_file_can_be_read_by_its_path(shard):
    listed = shards.samples_in(shard)
    assert listed == [tuple([*members(each), None][:2]) for each in SAMPLES]
    for sample in reversed(SAMPLES):
        for suffix, contents in sample.files.items():
            assert read_member(shard / (sample.name + suffix)) == contents


def test_tar_reads_the_same_and_the_index_says_where(shard):
    with tarfile.open(shard) as tar:
        entries = tar.getmembers()
        assert [each.name for each in entries] == [name for s in SAMPLES for name in members(s)]
        expected = [(each.offset_data, each.size) for each in entries]
    head, *lines = shard.with_suffix(".idx").read_text().splitlines()
    assert head == f"v1.2 {len(SAMPLES)}"
    # DALI's index: suffix, first byte, bytes and name of each file, without spaces in them.
    fields = [field for line in lines for field in line.split(" ")]
    assert [(int(a), int(b)) for a, b in zip(fields[1::4], fields[2::4], strict=True)] == expected
    assert fields[0::4][:2] == ["jpg", "matte.png"]


def test_what_cannot_be_read_is_named(shard):
    assert read_bytes(shard / "selfies/a.png") == b"a"
    with pytest.raises(PictureError, match=r"none\.jpg: No such file"):
        read_bytes(shard / "selfies/none.jpg")
    with pytest.raises(PictureError, match="empty"):
        read_bytes(shard / "selfies/a.matte.png")
    os.truncate(shard, 600)
    with pytest.raises(PictureError, match="truncated"):
        read_bytes(shard / "selfies/b.jpg")
    shard.unlink()
    with pytest.raises(PictureError, match="No such file"):
        read_bytes(shard / "selfies/b.jpg")


def test_a_damaged_index_is_one_line(shard):
    index = shard.with_suffix(".idx")
    for damage in (b"v1.2 9\n", b"", b"v1.2 1\njpg 512 x a.jpg\n", b"v2 0\n"):
        index.write_bytes(damage)
        with pytest.raises(UserError, match=r"00000-of-00001\.idx is damaged"):
            shards.samples_in(shard)


def test_shards_that_are_missing_are_counted(tmp_path):
    (tmp_path / "2020-of-2021-photos.tar").touch()
    assert list_shards(tmp_path) == []
    paths = [shard_path(tmp_path, number, 3) for number in range(3)]
    for path in paths:
        write_shard(path, SAMPLES[:1])
    assert list_shards(tmp_path) == paths
    paths[1].with_suffix(".idx").unlink()
    paths[2].unlink()
    with pytest.raises(UserError, match=r"2 of 3 shards .* 00001-of-00003\.tar"):
        list_shards(tmp_path)


def test_a_shard_is_written_whole_or_not_at_all(tmp_path):
    def samples():
        yield SAMPLES[0]
        raise RuntimeError("killed")

    path = shard_path(tmp_path / "new", 0, 1)
    with pytest.raises(RuntimeError):
        write_shard(path, samples())
    assert not list(path.parent.iterdir())
