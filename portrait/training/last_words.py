"""Copies stdin to stderr, except for the stack trace with which JAX aborts a process.

A host's program writes to it when another host has ended (see `devices`). It imports nothing of
ours, because it is started as a script.

python last_words.py MESSAGE
"""

import signal
import sys

FATAL = "Terminating process because the JAX distributed service detected fatal errors"


def main(message: str) -> None:
    """Prints `message` for everything from JAX's fatal line on, if no error was shown before."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the writer's to handle
    told = fatal = False
    for line in sys.stdin.buffer:
        fatal = fatal or FATAL.encode() in line
        told = told or line.startswith(b"error: ")
        if not fatal:
            sys.stderr.buffer.write(line)
            sys.stderr.flush()
    if fatal and not told:
        print(f"error: {message}", file=sys.stderr)


if __name__ == "__main__":
    main(sys.argv[1])
