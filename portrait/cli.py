"""What the commands of this project do alike: flags, errors, exit status.

0 is success (also for the help), 1 something that the user can put right, 2 a wrong flag, 130
Ctrl-C. Errors are one line on stderr.
"""

import contextlib
import errno
import inspect
import logging
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from absl import app, flags

from portrait.errors import UserError, printable

FLAGS = flags.FLAGS


def run(command: Callable[[], None], verbs: Sequence[str]) -> None:
    """Runs a script: parses its flags, does `command()`, and exits.

    Args:
        command: does what the flags say.
        verbs: names of flags; where none of them is set there is nothing to do, and the help is
            shown instead.
    """
    app.run(lambda argv: _leave(execute(command, verbs)), flags_parser=parse_flags)


def parse_flags(argv: list[str]) -> list[str]:
    """Parses the command line; a wrong flag ends the process with status 2."""
    try:
        rest = FLAGS(argv)
    except BrokenPipeError:  # of `--help | head`
        os._exit(0)
    except flags.Error as error:
        sys.exit(_fail(f"{str(error).splitlines()[0]} (see --help)", 2))
    except SystemExit:  # absl has shown the help, which it takes for a failure
        sys.exit(0)
    if len(rest) > 1:
        sys.exit(_fail(f"unexpected argument {rest[1]!r}: write --flag=value (see --help)", 2))
    return rest


def execute(command: Callable[[], None], verbs: Sequence[str]) -> int:
    """Does `command()` with the parsed flags, and returns the exit status.

    What a KeyboardInterrupt says is advice for after Ctrl-C.
    """
    if not any(FLAGS[verb].value for verb in verbs):
        app.usage(shorthelp=True, writeto_stdout=True)
        return 0
    handler = logging.StreamHandler()
    handler.setFormatter(_OneLine("%(levelname)s: %(message)s"))
    # By force: absl has put its own handler there.
    logging.basicConfig(handlers=[handler], level=logging.INFO, force=True)
    logging.getLogger("absl").setLevel(logging.WARNING)
    try:
        command()
        sys.stdout.flush()
    except UserError as error:
        return _fail(str(error), 1)
    except KeyboardInterrupt as stop:
        return _fail("; ".join(["interrupted", *map(str, stop.args)]), 130)
    except BrokenPipeError:  # of `| head`, which has read what it wanted
        _discard_output()
        return 1
    except Exception as error:
        if is_out_of_memory(error):
            return _fail("there is not enough memory: use smaller pictures or batches", 1)
        if not _is_of_output(error):
            raise
        _discard_output()
        return _fail(f"cannot write the output: {error.strerror}", 1)
    return 0


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception, or what caused it, says that memory ran out.

    Python, NumPy, OpenCV, TensorFlow, and the system where it makes a process or a thread, each
    have their own.
    """
    while error:
        if isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError":
            return True
        if isinstance(error, OSError) and error.errno == errno.ENOMEM:
            return True
        if re.search(r"bad_alloc|nsufficient memory|start new thread|out of memory", str(error)):
            return True
        error = error.__cause__ or error.__context__
    return False


def arguments(function: Callable) -> dict:
    """The values of the flags that have the names of a function's arguments."""
    names = inspect.signature(function).parameters
    return {name: FLAGS[name].value for name in names if name in FLAGS}


def check_companions(companions: dict[str, Sequence[str]]) -> None:
    """Refuses flags that would do nothing.

    Args:
        companions: a flag's name, and the flags of which it needs one.

    Raises:
        UserError: one is given, and none of what it is for.
    """
    for name, others in companions.items():
        if FLAGS[name].present and not any(FLAGS[other].value for other in others):
            raise UserError(f"--{name} is for " + " and ".join(f"--{other}" for other in others))


def take_settings(started_with: dict, free: Sequence[str], folder: Path) -> None:
    """Gives flags the values of a run that is resumed.

    Args:
        started_with: the flags in the run's run.json.
        free: names of flags that may have another value now.
        folder: of the run, for the message.

    Raises:
        UserError: another flag was given another value, or a flag is not there any more.
    """
    for name, value in started_with.items():
        if name not in FLAGS:
            raise UserError(f"{folder} was started with --{name}={value}, which no longer exists")
        flag = FLAGS[name]
        value = _checked(flag, value, folder)
        if not flag.present:
            flag.value = value
        elif flag.value != value and name not in free:
            raise UserError(
                f"{folder} was started with --{name}={_written(value)}: it cannot go on with "
                f"--{name}={_written(flag.value)}"
            )


def _checked(flag: flags.Flag, value, folder: Path):
    """A value out of a file, which may be damaged or a stranger's, as the flag would take it."""
    if value is None and flag.default is None:
        return None
    of_strings = isinstance(flag.default or [], list)
    wrong = f"{folder}: --{flag.name} cannot be {str(value)[:60]!r}"
    if isinstance(value, list):
        if of_strings and all(isinstance(each, str) for each in value):
            return value
        raise UserError(wrong)
    if isinstance(value, bool) != isinstance(flag.default, bool):
        raise UserError(wrong)
    try:
        return flag.parser.parse(value)
    except (ValueError, TypeError) as error:
        raise UserError(wrong) from error


def _written(value) -> str:
    """The value of a flag as a command line has it."""
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _fail(message: str, status: int) -> int:
    with contextlib.suppress(OSError):  # nobody reads it
        print(f"error: {printable(message)}", file=sys.stderr)
    return status


def _is_of_output(error: Exception) -> bool:
    """Whether stdout cannot be written; errors of files name their file."""
    full = (errno.ENOSPC, errno.EIO, errno.EFBIG)
    return isinstance(error, OSError) and error.filename is None and error.errno in full


def _discard_output() -> None:
    """Sends stdout nowhere; else Python would write to it once more when it ends."""
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())


class _OneLine(logging.Formatter):
    def formatMessage(self, record: logging.LogRecord) -> str:
        return printable(super().formatMessage(record))


def _leave(status: int) -> int:
    """Ends the process at once where a command failed.

    A `fit` that is cut off leaves TensorFlow a thread that waits for the next batch, and that the
    interpreter may wait for in turn, for ever.
    """
    if status:
        for stream in sys.stdout, sys.stderr:
            with contextlib.suppress(OSError):
                stream.flush()
        os._exit(status)
    return status
