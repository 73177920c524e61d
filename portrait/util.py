"""Small helpers without a room of their own: aligned tables, even choices."""

from collections.abc import Sequence


def aligned(rows: Sequence[Sequence[str]], words: int = 1) -> list[str]:
    """Lines of columns: the first `words` flush left, figures flush right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if place < words else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]


def figure(value: float | None, scale: float = 1) -> str:
    """A mean as tables show it: shares with four digits, else `value * scale` with two."""
    if value is None:
        return "-"
    return f"{value:.4f}" if scale == 1 and value < 10 else f"{value * scale:.2f}"


def evenly(items: Sequence, count: int) -> list:
    """At most `count` of the items, spread evenly over them."""
    if count >= len(items):
        return list(items)
    import numpy as np

    return [items[index] for index in np.linspace(0, len(items) - 1, count).round().astype(int)]
