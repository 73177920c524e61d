"""What the commands of this project do alike: flags, errors, exit status.

0 is success (also for the help), 1 something that the user can put right, 2 a wrong flag, 130
Ctrl-C. Errors are one line on stderr.
"""

import inspect
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

from absl import app, flags

from portrait.errors import UserError

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
    # By force: absl has put its own handler there.
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.INFO, force=True)
    logging.getLogger("absl").setLevel(logging.WARNING)
    try:
        command()
    except UserError as error:
        return _fail(str(error), 1)
    except KeyboardInterrupt as stop:
        return _fail("; ".join(["interrupted", *map(str, stop.args)]), 130)
    return 0


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


def run_flags(module: ModuleType, verbs: Sequence[str]) -> dict:
    """The values of a module's flags but the verbs, which a run keeps for when it is resumed."""
    ours = FLAGS.get_flags_for_module(module)
    return {flag.name: flag.value for flag in ours if flag.name not in verbs}


def take_settings(started_with: dict, free: Sequence[str], folder: Path) -> None:
    """Gives flags the values of a run that is resumed.

    Args:
        started_with: what `run_flags` gave when it was started.
        free: names of flags that may have another value now.
        folder: of the run, for the message.

    Raises:
        UserError: another flag was given another value, or a flag is not there any more.
    """
    for name, value in started_with.items():
        if name not in FLAGS:
            raise UserError(f"{folder} was started with --{name}={value}, which no longer exists")
        flag = FLAGS[name]
        if not flag.present:
            flag.value = value
        elif flag.value != value and name not in free:
            raise UserError(
                f"{folder} was started with --{name}={_written(value)}: it cannot go on with "
                f"--{name}={_written(flag.value)}"
            )


def _written(value) -> str:
    """The value of a flag as a command line has it."""
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _fail(message: str, status: int) -> int:
    print(f"error: {message}", file=sys.stderr)
    return status


def _leave(status: int) -> int:
    """Ends the process at once where a command failed.

    A `fit` that is cut off leaves TensorFlow a thread that waits for the next batch, and that the
    interpreter may wait for in turn, for ever.
    """
    if status:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    return status
