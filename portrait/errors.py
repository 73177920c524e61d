"""The one exception that users see, and what is said of inputs that are skipped."""

import logging
from collections.abc import Sequence
from pathlib import Path

log = logging.getLogger(__name__)


class UserError(Exception):
    """Something that a user can put right: shown as one line, exit status 1, no stack trace."""


def first_line(error: Exception) -> str:
    """What an error of a library says, without the lines that follow; at least its kind."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def printable(text: object) -> str:
    """A text as one line that a terminal only shows: control characters become escapes.

    A file name may hold line ends and escape sequences, and so imitate other lines.
    """
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape", "surrogatepass").decode()
        for each in str(text)
    )


def warn_skipped(items: Sequence[str | Path], message: str) -> None:
    """Logs one warning in which {count} and {names} stand for how many items and the first five."""
    if items:
        named = [item.name if isinstance(item, Path) else item for item in items[:5]]
        names = "; ".join(named) + ("; ..." if len(items) > 5 else "")
        log.warning("%s", message.format(count=len(items), names=names))
