"""Runs several commands of a script in one process, because its imports take seconds.

Each script needs a separate process, because the scripts define flags with the same names.

python scripts.py apply < COMMANDS.json
"""

import contextlib
import importlib
import io
import json
import sys
from pathlib import Path

import processes

Ended = tuple[int, str, str]
"""Exit status, and what was written to stdout and stderr."""


def run(script: str, *commands: list, folder: Path | None = None) -> list[Ended]:
    """Runs `python SCRIPT.py COMMAND` in `folder` for each of some lists of arguments.

    Args:
        script: the module: "apply", "stylize", "prepare_data".
        commands: arguments as on the command line.
        folder: to run in.
    """
    lines = json.dumps([list(map(str, each)) for each in commands])
    ended = processes.python(Path(__file__), script, folder=folder, given=lines)
    assert ended.returncode == 0, ended.stderr
    return [tuple(each) for each in json.loads(ended.stdout)]


def _one(script: str, arguments: list[str]) -> Ended:
    from absl.testing import flagsaver

    from portrait import cli

    module = importlib.import_module(script)
    with (
        flagsaver.flagsaver(),
        contextlib.redirect_stdout(io.StringIO()) as out,
        contextlib.redirect_stderr(io.StringIO()) as err,
    ):
        try:
            cli.parse_flags([f"{script}.py", *arguments])
            status = cli.execute(module.dispatch, module.VERBS)
        except SystemExit as end:
            status = end.code
    return status, out.getvalue(), err.getvalue()


if __name__ == "__main__":
    answers = [_one(sys.argv[1], each) for each in json.load(sys.stdin)]
    json.dump(answers, sys.stdout)
