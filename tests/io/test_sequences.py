"""Numbered pictures in and out."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from portrait.errors import UserError
from portrait.io.images import read_image, write_png
from portrait.io.sequences import (
    SequenceReader,
    SequenceWriter,
    is_sequence,
    numbered,
    refuse_overlap,
)
from portrait.io.video_frames import Frame
from portrait.io.video_outputs import check_target, write_video


def fill(folder, *numbers, pattern="%03d.png"):
    for number in numbers:
        write_png(folder / (pattern % number), np.full((8, 12, 3), number, np.uint8))
    return folder / pattern


@pytest.mark.parametrize("name", ["%d.png", "a/%05d.jpg", "shot_%04d_left.png", "%3d.webp"])
def test_patterns(name):
    assert is_sequence(name)


@pytest.mark.parametrize(
    "name", ["a.png", "%d/a.png", "100%.png", "%d_%d.png", "%123456d.png", "a%d.mp4"]
)
def test_other_names(name):
    assert not is_sequence(name)


@pytest.mark.parametrize("pattern", ["%d.png", "%2d.png"])
def test_pictures_come_in_the_order_of_their_numbers(pattern, tmp_path):
    reader = SequenceReader(fill(tmp_path, 8, 9, 10, 11, pattern=pattern), 25)
    assert (reader.frames, reader.first, reader.rate) == (4, 8, 25)
    frames = list(reader)
    assert [frame.image[0, 0, 0] for frame in frames] == [8, 9, 10, 11]
    assert [frame.pts * reader.time_base for frame in frames] == [Fraction(n, 25) for n in range(4)]


def test_gaps_stay_gaps_and_are_told(tmp_path, caplog):
    pattern = fill(tmp_path, 1, 2, 5, 6)
    numbered(pattern, 2).write_bytes(b"no picture")
    reader = SequenceReader(pattern, 30)
    assert [frame.pts for frame in reader] == [0, 4, 5]
    assert reader.broken == 1
    (record,) = caplog.records
    assert record.getMessage() == f"{pattern}: 2 pictures of the sequence are missing"


def test_numbers_may_be_nanoseconds(tmp_path):
    """The gaps are counted, not listed: a second of them would fill 8 GB."""
    begin = 1_403_715_273_262_142_976
    pattern = fill(tmp_path, begin % 251, begin % 251 + 1)
    times = [begin, begin + 10**14]
    for path, time in zip(sorted(tmp_path.iterdir()), times, strict=True):
        path.rename(tmp_path / f"{time}.png")
    reader = SequenceReader(pattern.with_name("%d.png"), 25)
    assert [frame.pts for frame in reader] == [0, 10**14]


def test_only_names_of_the_pattern_count(tmp_path):
    pattern = fill(tmp_path, 1, 2)
    for other in ("1.png", "003.jpg", "x004.png", "005.png.bak"):
        (tmp_path / other).write_bytes(b"")
    assert SequenceReader(pattern, 25).frames == 2


def test_all_frames_have_the_first_ones_size(tmp_path):
    pattern = fill(tmp_path, 1)
    write_png(numbered(pattern, 2), np.zeros((16, 24, 3), np.uint8))
    assert [frame.image.shape for frame in SequenceReader(pattern, 25)] == [(8, 12, 3)] * 2


@pytest.mark.parametrize("pattern", ["gone/%d.png", "%d.png"])
def test_none_is_an_error(tmp_path, pattern):
    with pytest.raises(UserError, match=r"%d\.png|gone"):
        SequenceReader(tmp_path / pattern, 25)


def test_numbers_stay(tmp_path):
    source = SequenceReader(fill(tmp_path, 7, 9), 25)
    assert write_video(tmp_path / "out" / "%04d.png", source, source) == (2, True)
    written = sorted((tmp_path / "out").iterdir())
    assert [path.name for path in written] == ["0007.png", "0009.png"]
    assert [read_image(path)[0, 0, 0] for path in written] == [7, 9]


def test_frames_of_a_video_are_counted_from_1(tmp_path):
    writer = SequenceWriter(tmp_path / "%d.png")
    for pts in (0, 40, 95):
        writer.write(Frame(np.zeros((4, 4, 4), np.uint8), pts))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1.png", "2.png", "3.png"]
    assert Image.open(tmp_path / "2.png").mode == "RGBA"


@pytest.mark.parametrize(
    ("target", "source", "overlaps"),
    [
        ("%d.png", "7.png", True),
        ("%1d.png", "%d.png", True),
        ("%d.png", "%03d.png", False),
        ("%3d.png", "  7.png", True),
        ("%05d.png", "7.png", False),
        ("%d.png", "7.jpg", False),
        ("me_%d.png", "7.png", False),
        ("../%d.png", "7.png", False),
        ("new/%d.png", "7.png", False),
        ("again/%d.png", "7.png", True),  # the same folder
        ("%d.png", "elsewhere/link.png", True),  # to 7.png
        ("7.mp4", "%d.png", False),
    ],
)
def test_sources_are_not_replaced(tmp_path, target, source, overlaps):
    folder = tmp_path / "in"
    fill(folder, 7, 12, pattern="%d.png")
    fill(folder, 7, 12, pattern="%03d.png")
    (tmp_path / "again").symlink_to(folder)
    (folder / "again").symlink_to(folder)
    (folder / "elsewhere").mkdir()
    (folder / "elsewhere" / "link.png").symlink_to(folder / "7.png")
    if overlaps:
        with pytest.raises(UserError, match="overwrite"):
            refuse_overlap(folder / target, tmp_path / "other.png", folder / source)
    else:
        refuse_overlap(folder / target, tmp_path / "other.png", folder / source)


def test_numbers_that_need_no_zeros(tmp_path):
    """`%03d` and `%d` give one name to 100."""
    source = fill(tmp_path, 99, pattern="%d.png")
    refuse_overlap(tmp_path / "%03d.png", source)
    fill(tmp_path, 100, pattern="%d.png")
    with pytest.raises(UserError, match=r"%03d\.png could overwrite .*100\.png"):
        refuse_overlap(tmp_path / "%03d.png", source)


@pytest.mark.parametrize(
    ("one", "other", "meet"),
    [
        ("%d.png", "%02d.png", True),
        ("%d.png", "1%d.png", True),
        ("a_1%d.png", "a_%d2.png", True),
        ("1_%d.png", "2_%d.png", False),
        ("a_%d.png", "b_%d.png", False),
        ("%d.png", "%d.jpg", False),
        ("%d.png", "x/%d.png", False),
        ("%d.png", "a.mp4", False),
    ],
)
def test_two_targets_do_not_meet(tmp_path, one, other, meet):
    for target, beside in ((one, other), (other, one)):
        if meet:
            with pytest.raises(UserError, match="overwrite"):
                refuse_overlap(tmp_path / target, beside=tmp_path / beside)
        else:
            refuse_overlap(tmp_path / target, beside=tmp_path / beside)


def test_transparent_pictures_need_a_format_with_transparency():
    check_target(Path("%d.png"), True)
    check_target(Path("%d.jpg"), False)
    with pytest.raises(UserError, match=r"\.jpg"):
        check_target(Path("%d.jpg"), True)
    with pytest.raises(UserError, match=r"\.gif"):
        check_target(Path("%d.gif"), False)
