"""Small helpers that several rooms use: aligned tables, evenly spaced choices."""

from collections.abc import Sequence


def aligned(rows: Sequence[Sequence[str]], words: int = 1) -> list[str]:
    """Formats rows as aligned lines: the first `words` columns to the left, others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if place < words else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]


def figure(value: float | None, scale: float = 1) -> str:
    """Formats a mean for tables: shares with four digits, otherwise `value * scale` with two."""
    if value is None:
        return "-"
    return f"{value:.4f}" if scale == 1 and value < 10 else f"{value * scale:.2f}"


def evenly(items: Sequence, count: int) -> list:
    """At most `count` of the items, evenly spaced."""
    if count >= len(items):
        return list(items)
    import numpy as np

    return [items[index] for index in np.linspace(0, len(items) - 1, count).round().astype(int)]
