"""Several seeds of one contestant, pooled into one number.

A seed (`Grid.seeds`) is the start of the temporal module and the head, and the order in which
training sees the clips. It is not the data, which all seeds share with their test split, and not
the image model: the twin is trained once, with a seed of its own, and its cache knows no other. So
an interval over seeds holds for one more training on the same data, from the same image model. How
contestants are compared with the reference is in `against.py`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, median
from typing import TYPE_CHECKING, Any

from scipy import stats

from pks4.bench.plan import split_seed

if TYPE_CHECKING:
    from pks4.bench.view import Row

UNEQUAL = "unequal"  # status of an exact number that is not the same with every seed
WHAT_VARIES = (
    "Seeds vary the module's start and the order of the clips, not the data or the image model."
)
LEAST_SEEDS = 3
LEVEL = 0.05
_NO_SPREAD = 1e-9  # shares that differ by less are the same number


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """The mean of a few values, its 95 % interval (Student's t), and the p-value of a mean of 0.

    Interval and p are None for one value, and for values that are all the same: what spread they
    have cannot be told, and an interval without width would claim too much.
    """

    mean: float
    interval: tuple[float, float] | None
    p: float | None


def estimate(values: Sequence[float]) -> Estimate:
    """Mean of the values with a two-sided one-sample t-test against 0."""
    mean = fmean(values)
    if len(values) < 2 or max(values) - min(values) < _NO_SPREAD:
        return Estimate(mean=mean, interval=None, p=None)
    found = stats.ttest_1samp(values, 0.0)
    ends = found.confidence_interval(0.95)
    return Estimate(mean=mean, interval=(float(ends.low), float(ends.high)), p=float(found.pvalue))


def pool(rows: Sequence["Row"]) -> "Row":
    """One row for several seeds of one number; a row that is alone stays as it is.

    Sampled numbers become their mean with an interval over seeds (a share's lies in 0 to 1), noisy
    ones their median. Exact ones must be equal: else the value is None and the status `UNEQUAL`.
    `detail` holds `seeds` and `values`; it and `evidence` keep, beyond that, what all seeds share.
    """
    if len(rows) == 1:
        return rows[0]
    rows = sorted(rows, key=_seed)
    first, values = rows[0], [row.value for row in rows]
    told = {"seeds": [_seed(row) for row in rows], "values": values}
    pooled = replace(
        first,
        cell=split_seed(first.cell)[0],
        records=tuple(row.number for row in rows),
        evidence=_shared([row.evidence for row in rows]),
        detail=_shared([row.detail for row in rows]) | told,
    )
    if first.kind == "exact":
        if len(set(values)) == 1:
            return pooled
        each = ", ".join(f"{row.value} with seed {_seed(row)}" for row in rows)
        reason = f"{first.metric} is exact, but {each}"
        return replace(pooled, value=None, status=UNEQUAL, reason=reason)
    if first.kind == "noisy":
        return replace(pooled, value=median(values))
    found = estimate(values)
    ends = found.interval
    if ends is not None and first.unit == "1":
        ends = (max(0.0, ends[0]), min(1.0, ends[1]))
    return replace(pooled, value=found.mean, detail={**pooled.detail, "interval": ends})


def holm(p: Mapping[Any, float], comparisons: int) -> dict[Any, float]:
    """Holm's step-down adjustment (Scand. J. Statist. 6, 1979) of the p-values of `comparisons`.

    Comparisons that gave no p-value count as well.
    """
    adjusted: dict[Any, float] = {}
    highest = 0.0
    for place, label in enumerate(sorted(p, key=p.__getitem__)):
        highest = max(highest, (comparisons - place) * p[label])
        adjusted[label] = min(1.0, highest)
    return adjusted


def interval_words(rows: Sequence["Row"]) -> str:
    """What the intervals of these shares are, for a caption."""
    clips = "95 % Wilson intervals over the clips"
    if not any(row.records for row in rows):
        return clips
    if all(row.records for row in rows):
        return "95 % t-intervals over seeds"
    return f"95 % t-intervals over seeds; with one seed, {clips}"


def span(counts: Iterable[int]) -> str:
    """How many seeds there are, in words: `3`, or `2 to 3`."""
    found = sorted(counts)
    return " to ".join(dict.fromkeys([str(found[0]), str(found[-1])]))


def _seed(row: "Row") -> int:
    return split_seed(row.cell)[1] or 0


def _shared(facts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The facts that all rows state alike."""
    first, *others = facts
    return {
        key: value
        for key, value in first.items()
        if all(key in one and one[key] == value for one in others)
    }
