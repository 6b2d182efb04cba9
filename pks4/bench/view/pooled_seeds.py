"""Pool several seeds of one contestant into one number.

A seed (`Grid.seeds`) is the start of the temporal module and the head, and the order in which
training sees the clips. All seeds share the data with their test split, and the image model, which
is trained once. So an interval over seeds holds for one more training on the same data, from the
same image model. `view/versus_pks4.py` compares contestants with PKS4.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from statistics import median
from typing import Any

from pks4.bench.plan.cell import split_seed
from pks4.bench.stats.intervals import estimate
from pks4.bench.view.rows import Row

UNEQUAL = "unequal"  # status of an exact number that is not the same with every seed
WHAT_VARIES = (
    "Seeds vary the module's start and the order of the clips, not the data or the image model."
)


def pool(rows: Sequence[Row]) -> Row:
    """One row for several seeds of one number; a single row is unchanged.

    Sampled numbers become their mean with an interval over seeds (a share's lies in 0 to 1), noisy
    ones their median. Exact ones must be equal: else the value is None and the status `UNEQUAL`.
    `detail` holds `seeds` and `values`; it and `evidence` keep, beyond that, what all seeds share.
    """
    if len(rows) == 1:
        return rows[0]
    rows = sorted(rows, key=_seed)
    first, values = rows[0], [row.value for row in rows]
    by_seed = {"seeds": [_seed(row) for row in rows], "values": values}
    pooled = replace(
        first,
        cell=split_seed(first.cell)[0],
        records=tuple(row.number for row in rows),
        evidence=_shared([row.evidence for row in rows]),
        detail=_shared([row.detail for row in rows]) | by_seed,
    )
    if first.kind == "exact":
        if len(set(values)) == 1:
            return pooled
        each = ", ".join(f"{row.value} with seed {_seed(row)}" for row in rows)
        reason = f"{first.metric} is exact, but {each}"
        return replace(pooled, value=None, status=UNEQUAL, reason=reason)
    if first.kind == "noisy":
        return replace(pooled, value=median(values))
    mean = estimate(values)
    ends = mean.interval
    if ends is not None and first.unit == "1":
        ends = (max(0.0, ends[0]), min(1.0, ends[1]))
    return replace(pooled, value=mean.value, detail={**pooled.detail, "interval": ends})


def interval_words(rows: Sequence[Row]) -> str:
    """What the intervals of these shares are, for a caption."""
    clips = "95 % Wilson intervals over the clips"
    if not any(row.records for row in rows):
        return clips
    if all(row.records for row in rows):
        return "95 % t-intervals over seeds"
    return f"95 % t-intervals over seeds; with one seed, {clips}"


def span(counts: Iterable[int]) -> str:
    """How many seeds there are, in words: `3`, or `2 to 3`."""
    known = sorted(counts)
    return " to ".join(dict.fromkeys([str(known[0]), str(known[-1])]))


def _seed(row: Row) -> int:
    return split_seed(row.cell)[1] or 0


def _shared(facts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The facts that all rows state alike."""
    first, *others = facts
    return {
        key: value
        for key, value in first.items()
        if all(key in other and other[key] == value for other in others)
    }
