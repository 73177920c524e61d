"""Memory and CPU time of several processes together, from /proc (Linux only)."""

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


def with_mark(mark: str) -> list[int]:
    """The processes that have `mark`, NAME=VALUE, in their environment."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if mark.encode() in (folder / "environ").read_bytes():
                found.append(int(folder.name))
    return found


def family() -> list[int]:
    """This process and its descendants."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            children.setdefault(int(_after_name(folder)[1]), []).append(int(folder.name))
    found = [os.getpid()]
    for process in found:
        found += children.get(process, [])
    return found


def memory(processes: Iterable[int]) -> tuple[float, float]:
    """MiB in all, and without pages of files, which the system can write back and take away.

    A page that n processes share counts 1 / n.
    """
    total = in_files = 0
    for process in processes:
        with contextlib.suppress(OSError, KeyError):  # it has ended
            lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
            kib = {line.split()[0]: int(line.split()[1]) for line in lines[1:]}
            total += kib["Pss:"]
            in_files += kib["Pss_File:"]
    return total / 1024, (total - in_files) / 1024


def seconds(process: int) -> float:
    """CPU seconds that a process has used; 0 if it has ended."""
    with contextlib.suppress(OSError):
        fields = _after_name(Path(f"/proc/{process}"))
        return (int(fields[11]) + int(fields[12])) / _TICKS
    return 0.0


def _after_name(process: Path) -> list[str]:
    """The fields of `stat` behind the name, which can contain spaces."""
    return (process / "stat").read_text().rpartition(")")[2].split()
