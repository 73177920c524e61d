"""The exception for errors of the user, and warnings about skipped inputs."""

import logging
from collections.abc import Sequence
from pathlib import Path

log = logging.getLogger(__name__)


class UserError(Exception):
    """An error that a user can correct: shown as one line without a stack trace, exit status 1."""


class UnfitError(UserError):
    """A file that an operation cannot use, unlike others; the message does not name the file."""


def first_line(error: Exception) -> str:
    """The first line of an exception's message, or its type if there is no message."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def printable(text: object) -> str:
    """Replaces control characters by escapes, so that a text is one harmless line in a terminal.

    File names may contain line breaks and escape sequences.
    """
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape", "surrogatepass").decode()
        for each in str(text)
    )


def warn_skipped(items: Sequence[str | Path], message: str) -> None:
    """Logs a warning in which {count} is the number of items and {names} are the first five."""
    if items:
        named = [item.name if isinstance(item, Path) else item for item in items[:5]]
        names = "; ".join(named) + ("; ..." if len(items) > 5 else "")
        log.warning("%s", message.format(count=len(items), names=names))
