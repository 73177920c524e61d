"""The common part of all commands: flags, error messages, exit status.

The exit status is 0 for success and for the help, 1 for a UserError, 2 for a wrong flag, and 130
for Ctrl-C. Errors are one line on stderr.
"""

import contextlib
import errno
import inspect
import logging
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from absl import app, flags
from absl import logging as absl_logging

from portrait.errors import UserError, printable

FLAGS = flags.FLAGS
_UNREADABLE = (errno.EACCES, errno.EPERM, errno.EIO, errno.ESTALE)  # no right to it; drives
# "Status: 1" is oneDNN's, RESOURCE_EXHAUSTED JAX's.
_OUT_OF_MEMORY = re.compile(
    "bad_alloc|nsufficient memory|start new thread|out of memory|Status: 1, message: could not|"
    "RESOURCE_EXHAUSTED"
)


def run(command: Callable[[], None], verbs: Sequence[str]) -> None:
    """Runs a script: parses its flags, calls `command()`, and exits.

    Args:
        command: executes the command according to the flags.
        verbs: names of flags; if none of them is set, the help is shown.
    """
    _open_streams()
    app.run(lambda argv: _leave(execute(command, verbs)), flags_parser=parse_flags)


def _open_streams() -> None:
    """Discards what is printed on closed streams (`>&-`), and escapes what stdout cannot encode."""
    for name in "stdout", "stderr":
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 (until the process ends)
    absl_logging.get_absl_handler().python_handler.stream = sys.stderr
    sys.stdout.reconfigure(errors="backslashreplace")


def parse_flags(argv: list[str]) -> list[str]:
    """Parses the command line; a wrong flag ends the process with status 2."""
    try:
        rest = FLAGS(argv)
    except BrokenPipeError:  # for example `--help | head`
        os._exit(0)
    except flags.Error as error:
        sys.exit(_fail(f"{str(error).splitlines()[0]} (see --help)", 2))
    except SystemExit:  # absl exits with status 1 after the help
        sys.exit(0)
    if len(rest) > 1:
        sys.exit(_fail(f"unexpected argument {rest[1]!r}: write --flag=value (see --help)", 2))
    return rest


def execute(command: Callable[[], None], verbs: Sequence[str]) -> int:
    """Calls `command()` with the parsed flags, and returns the exit status.

    After Ctrl-C, the text of the KeyboardInterrupt is shown as a hint.
    """
    try:
        refuse_empty(verbs)
    except UserError as error:
        return _fail(str(error), 1)
    if not any(FLAGS[verb].value for verb in verbs):
        app.usage(shorthelp=True, writeto_stdout=True)
        return 0
    handler = logging.StreamHandler()
    handler.setFormatter(_OneLine("%(levelname)s: %(message)s"))
    # `force` replaces absl's handler.
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger("portrait").setLevel(logging.INFO)
    logging.getLogger("absl").setLevel(logging.WARNING)
    try:
        _check_temporary_folder()
        command()
        sys.stdout.flush()
    except UserError as error:
        return _fail(str(error), 1)
    except KeyboardInterrupt as stop:
        return _fail("; ".join(["interrupted", *map(str, stop.args)]), 130)
    except BrokenPipeError:  # for example `| head`, which has read enough
        _discard_output()
        return 1
    except Exception as error:
        if any(isinstance(each, KeyboardInterrupt) for each in chain(error)):
            return _fail("interrupted", 130)  # in code of Numba, which raises a SystemError
        if line := told(error):
            return _fail(line, 1)
        if not _is_of_output(error):
            raise
        _discard_output()
        return _fail(f"cannot write the output: {error.strerror}", 1)
    return 0


def _check_temporary_folder() -> None:
    try:
        tempfile.gettempdir()  # also used later: Python keeps the choice
    except FileNotFoundError as error:
        raise UserError(
            "there is no folder for temporary files that can be written: free space on the disk, "
            "or set TMPDIR to another folder"
        ) from error


def told(error: Exception) -> str:
    """The message for an exception that is not a UserError; empty if it is a bug of ours."""
    if is_out_of_memory(error):
        return "there is not enough memory: use smaller pictures or batches"
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        return f"the name is too long: {str(error.filename)[:80]}..."
    if isinstance(error, OSError) and error.filename and error.errno in _UNREADABLE:
        return f"{error.filename}: {error.strerror}"
    return ""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception or its cause is due to a lack of memory.

    Python, NumPy, OpenCV and TensorFlow raise different exceptions, and so does starting a process
    or a thread.
    """
    for each in chain(error):
        if isinstance(each, MemoryError) or type(each).__name__ == "ResourceExhaustedError":
            return True
        if isinstance(each, OSError) and each.errno == errno.ENOMEM:
            return True
        if _OUT_OF_MEMORY.search(str(each)):
            return True
    return False


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yields an exception and the exceptions that caused it."""
    while error:
        yield error
        error = error.__cause__ or error.__context__


def defaults(*functions: Callable) -> dict:
    """The default values of the functions' arguments, for the flags of the same names."""
    return {
        name: parameter.default
        for function in functions
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.default is not parameter.empty
    }


def arguments(function: Callable) -> dict:
    """The values of all flags that have the name of one of the function's arguments."""
    names = inspect.signature(function).parameters
    return {name: FLAGS[name].value for name in names if name in FLAGS}


def refuse_empty(names: Iterable[str]) -> None:
    """Refuses flags with an empty value, as an unset variable of a shell gives them.

    Raises:
        UserError: one of the flags of these names is given and empty.
    """
    for name in names:
        if FLAGS[name].present and FLAGS[name].value in ("", []):
            raise UserError(f"--{name}= is empty: give a value, or leave it out")


def check_companions(companions: dict[str, Sequence[str]]) -> None:
    """Refuses flags that would have no effect.

    Args:
        companions: for the name of a flag, the names of others; the flag has an effect only with
            at least one of them.

    Raises:
        UserError: a flag is given without any of these others.
    """
    for name, others in companions.items():
        if FLAGS[name].present and not any(FLAGS[other].value for other in others):
            raise UserError(f"--{name} is for " + " and ".join(f"--{other}" for other in others))


def take_settings(started_with: dict, free: Sequence[str], folder: Path) -> None:
    """Sets flags to the values of a run that is resumed.

    Args:
        started_with: the flags in the run's run.json.
        free: names of flags that may have a different value now.
        folder: the run's folder, for messages.

    Raises:
        UserError: a flag that is not free has a different value, or there is no such flag.
    """
    for name, value in started_with.items():
        if name not in FLAGS:
            given = f"--{name}={_written(value)}"
            raise UserError(f"{folder} was started with {given}, which this command does not have")
        flag = FLAGS[name]
        value = _checked(flag, value, folder)
        if not flag.present:
            flag.value = value
        elif flag.value != value and name not in free:
            raise UserError(
                f"{folder} was started with --{name}={_written(value)}: it cannot continue with "
                f"--{name}={_written(flag.value)}"
            )


def _checked(flag: flags.Flag, value, folder: Path):
    """Checks and converts a value from a run.json, which may be damaged, with the flag's parser."""
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
    """Formats a flag's value as on a command line."""
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _fail(message: str, status: int) -> int:
    with contextlib.suppress(OSError):  # stderr is closed
        print(f"error: {printable(message)}", file=sys.stderr)
    return status


def _is_of_output(error: Exception) -> bool:
    """Whether the error is about stdout: errors about files have a file name."""
    full = (errno.ENOSPC, errno.EIO, errno.EFBIG)
    return isinstance(error, OSError) and error.filename is None and error.errno in full


def _discard_output() -> None:
    """Redirects stdout to nowhere, because Python flushes it again at exit."""
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())


class _OneLine(logging.Formatter):
    def formatMessage(self, record: logging.LogRecord) -> str:
        return printable(super().formatMessage(record))


def _leave(status: int) -> int:
    """Ends the process immediately if a command failed.

    After an interrupted `fit`, a thread of TensorFlow waits for the next batch, and the interpreter
    might wait for this thread forever.
    """
    if status:
        for stream in sys.stdout, sys.stderr:
            with contextlib.suppress(OSError):
                stream.flush()
        os._exit(status)
    return status
