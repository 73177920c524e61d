"""Tests the messages about errors and skipped inputs."""

from pathlib import Path

import pytest

from portrait.errors import first_line, printable, warn_skipped


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("one\ntwo"), "one"),
        (ValueError("\n  one  \n"), "one"),
        (ValueError(), "ValueError"),
        (KeyError("name"), "'name'"),
    ],
)
def test_the_first_line_of_an_error(error, line):
    assert first_line(error) == line


def test_a_terminal_only_shows_a_text():
    assert printable("Größe 写真.png") == "Größe 写真.png"
    assert printable("a\nerror: b\x1b[2J\udcff") == r"a\nerror: b\x1b[2J\udcff"


def test_skipped_inputs_are_counted_and_the_first_five_named(caplog):
    warn_skipped([], "{count}: {names}")
    assert not caplog.records
    warn_skipped([Path("folder/a.png"), "b"], "{count}: {names}")
    warn_skipped(list("abcdef"), "{count}: {names}")
    assert [record.getMessage() for record in caplog.records] == [
        "2: a.png; b",
        "6: a; b; c; d; e; ...",
    ]
