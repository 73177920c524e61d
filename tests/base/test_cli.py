"""Tests errors of all commands: unwritable output, lack of memory, damaged settings."""

import errno
import json
import logging
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from absl import flags
from absl.testing import flagsaver
from project import ROOT

from portrait import cli
from portrait.errors import UserError, printable

FLAGS = flags.FLAGS


@pytest.fixture
def go():
    """Executes a command that runs `work`; returns its status."""
    if "test_cli_go" not in FLAGS:
        flags.DEFINE_boolean("test_cli_go", False, "For tests.")
        flags.DEFINE_integer("test_cli_count", 3, "For tests.")
        flags.DEFINE_float("test_cli_share", None, "For tests.")
        flags.DEFINE_list("test_cli_names", [], "For tests.")
        flags.DEFINE_enum("test_cli_kind", "a", ("a", "b"), "For tests.")

    def execute(work):
        with flagsaver.flagsaver(test_cli_go=True):
            return cli.execute(work, ["test_cli_go"])

    if not FLAGS.is_parsed():
        FLAGS.mark_as_parsed()
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield execute
    root.handlers[:], root.level = handlers, level


def raises(error):
    def work():
        raise error

    return work


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OSError(12, "Cannot allocate memory"),
        RuntimeError("can't start new thread"),
        RuntimeError("std::bad_alloc"),
        RuntimeError("received an exception:Status: 1, message: could not create a primitive"),
        type("ResourceExhaustedError", (Exception,), {})("OOM when allocating a tensor"),
    ],
)
def test_lack_of_memory_is_one_line(go, capsys, error):
    assert go(raises(error)) == 1
    err = capsys.readouterr().err
    assert err.startswith("error: ") and err.count("\n") == 1 and "memory" in err


def test_a_name_that_is_too_long_is_one_line(go, capsys):
    assert go(lambda: Path("x" * 5000).is_file()) == 1
    err = capsys.readouterr().err
    assert "xxx" in err and err.count("\n") == 1 and len(err) < 200


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.EIO, errno.ESTALE])
def test_a_folder_that_cannot_be_searched_is_one_line(go, capsys, number):
    """`Path.exists` and `Path.is_file` raise such errors."""
    assert go(raises(OSError(number, os.strerror(number), "secret/a.jpg"))) == 1
    assert capsys.readouterr().err == f"error: secret/a.jpg: {os.strerror(number)}\n"


def test_a_lack_of_any_temporary_folder_is_one_line(go, capsys, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: ["/proc/none"])
    assert go(tempfile.TemporaryFile) == 1
    assert "no folder for temporary files" in capsys.readouterr().err


def test_lack_of_memory_is_found_behind_what_it_caused(go):
    def work():
        try:
            np.zeros(1 << 60, np.uint8)
        except MemoryError as error:
            raise ValueError("something else") from error

    assert go(work) == 1


def test_ctrl_c_in_compiled_code_is_ctrl_c(go, capsys):
    def work():
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt as stop:
            raise SystemError("returned a result with an exception set") from stop

    assert go(work) == 130
    assert capsys.readouterr().err.count("\n") == 1


def test_other_errors_are_not_hidden(go):
    with pytest.raises(ZeroDivisionError):
        go(lambda: 1 / 0)


def test_a_full_device_is_one_line():
    with open("/dev/full", "w") as full:
        ended = subprocess.run(
            [sys.executable, "-c", "from portrait import cli; from absl import flags\n"
             "flags.DEFINE_boolean('go', True, '')\n"
             "cli.run(lambda: print('x' * 100000), ['go'])"],
            stdout=full, stderr=subprocess.PIPE, text=True, cwd=ROOT,
        )  # fmt: skip
    assert ended.returncode == 1
    assert ended.stderr.count("\n") == 1 and ended.stderr.startswith("error: ")


def printing(text, **options):
    script = (
        "from portrait import cli; from absl import flags\n"
        "flags.DEFINE_boolean('go', True, '')\n"
        f"cli.run(lambda: print({text!a}), ['go'])"
    )
    command = [sys.executable, "-c", script]
    return subprocess.run(command, stderr=subprocess.PIPE, cwd=ROOT, **options)


def test_names_that_stdout_cannot_encode_are_escaped():
    environment = os.environ | {"PYTHONIOENCODING": "latin-1"}
    ended = printing("é 写 \udcff", stdout=subprocess.PIPE, env=environment)
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert ended.stdout == b"\xe9 \\u5199 \\udcff\n"


@pytest.mark.parametrize("number", [1, 2])
def test_a_closed_stream_is_no_error(number):
    ended = printing("x", preexec_fn=lambda: os.close(number))
    assert (ended.returncode, ended.stderr) == (0, b"")


def test_a_closed_pipe_is_no_error():
    script = (
        "from portrait import cli; from absl import flags\n"
        "flags.DEFINE_boolean('go', True, '')\n"
        "cli.run(lambda: [print('x' * 1000) for _ in range(1000)], ['go'])"
    )
    writer = subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip
    writer.stdout.read(10)
    writer.stdout.close()
    assert writer.stderr.read() == ""
    assert writer.wait(60) == 1


@pytest.mark.parametrize("text", ["a\nerror: b", "\x1b[2Ka", "a\rb", "\x9b31m", "a\x00", "\udce9"])
def test_control_characters_become_escapes(go, capsys, text):
    assert go(raises(UserError(f"there is no {text}"))) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and err.endswith("\n")
    assert all(each.isprintable() for each in err[:-1])
    assert printable("plain é 人") == "plain é 人"


def test_only_the_project_says_more_than_warnings(go, capsys):
    assert go(lambda: [logging.getLogger(name).info(name) for name in ("portrait.x", "other")]) == 0
    assert capsys.readouterr().err == "INFO: portrait.x\n"


def test_a_warning_is_one_line_too(go, capsys):
    assert go(lambda: logging.getLogger("x").warning("%s left out", "a\nb")) == 0
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and r"a\nb" in err


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("test_cli_count", "many"),
        ("test_cli_count", [3]),
        ("test_cli_count", {"a": 1}),
        ("test_cli_count", True),
        ("test_cli_count", None),
        ("test_cli_share", "half"),
        ("test_cli_names", [1, 2]),
        ("test_cli_kind", "c"),
        ("test_cli_go", "perhaps"),
    ],
)
def test_settings_of_a_wrong_type_are_refused(go, tmp_path, name, value):
    value = json.loads(json.dumps(value))
    with flagsaver.flagsaver(), pytest.raises(UserError, match=name):
        cli.take_settings({name: value}, [], tmp_path)


@pytest.mark.parametrize(
    ("name", "value"),
    [("test_cli_count", 5), ("test_cli_share", 1), ("test_cli_share", None),
     ("test_cli_names", ["x", "y"]), ("test_cli_kind", "b"), ("test_cli_go", True)],
)  # fmt: skip
def test_settings_of_the_right_type_are_taken(go, tmp_path, name, value):
    with flagsaver.flagsaver():
        cli.take_settings({name: value}, [], tmp_path)
        assert FLAGS[name].value == value
