"""The pictures that a command of prepare_data.py reads."""

from collections.abc import Sequence

from portrait.errors import UserError, warn_skipped


def wanted_pairs(data: Sequence[str], exclude: str, person_label: Sequence[str]) -> list:
    """The training pairs of folders without the names in the file `exclude`."""
    from portrait.data.labels import examine
    from portrait.data.pairs import find_pairs
    from portrait.prepare.datasets import read_exclusions

    pairs = examine(find_pairs(data, "training"), person_label)
    if not exclude:
        return pairs
    names = {pair.name for pair in pairs}
    excluded = read_exclusions(exclude, names)
    kept = [pair for pair in pairs if pair.name not in excluded]
    print(f"{len(pairs) - len(kept)} of {len(pairs)} pictures are excluded by {exclude}")
    unknown = sorted(excluded - names)
    warn_skipped(unknown, "names in " + exclude + " without a picture ({count}): {names}")
    if not kept:
        raise UserError(f"{exclude} excludes every picture of {', '.join(data)}")
    return kept
