"""The answers behind a share: which clips were right, seed by seed."""

from collections.abc import Sequence

import numpy as np

from pks4.bench.stats.clips import right_by_clip
from pks4.bench.view.rows import Row
from pks4.bench.view.view import View


def answers(view: View, row: Row) -> np.ndarray | None:
    """(seeds, clips) whether each was right; None where a record does not say."""
    seeds = [right_by_clip(member) for member in view.members(row).values()]
    known = [one for one in seeds if one is not None]
    if len(known) < len(seeds) or len({len(one) for one in known}) != 1:
        return None
    return np.array(known, dtype=float)


def all_answers(view: View, rows: Sequence[Row]) -> list[np.ndarray] | None:
    """Those of several rows on equally many clips; None where one lacks them."""
    found = [answers(view, row) for row in rows]
    known = [one for one in found if one is not None]
    if len(known) < len(rows) or len({one.shape[1] for one in known}) != 1:
        return None
    return known
