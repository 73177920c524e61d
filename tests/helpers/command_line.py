"""Runs main.py in the process of the tests, so that TensorFlow is imported only once."""

import contextlib
import io
import logging
from unittest import mock

from absl.testing import flagsaver

import main
from portrait import cli


def run(*arguments: str) -> tuple[int, str, str]:
    """Runs `python main.py ARGUMENTS`.

    Returns:
        The exit status, and what it wrote to stdout and stderr, without the log.
    """
    with (
        flagsaver.flagsaver(),
        mock.patch.object(logging, "basicConfig"),  # the handlers are pytest's
        contextlib.redirect_stdout(io.StringIO()) as out,
        contextlib.redirect_stderr(io.StringIO()) as err,
    ):
        try:
            cli.parse_flags(["main.py", *arguments])
            status = cli.execute(main.dispatch, main.VERBS)
        except SystemExit as end:
            status = end.code
    return status, out.getvalue(), err.getvalue()
