"""Sampled numbers: a difference of scores, paired by clip and by seed where the records allow it.

Three ways, the first that the records allow: per-clip predictions on the same clips give a paired
bootstrap over clips and seeds; two shares of clips without predictions are set against each other
as independent samples, which is wider; anything else needs three seeds that both runs have, and a
paired t-test over them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt

import numpy as np
from scipy import stats

from pks4.bench.records.record import Record
from pks4.bench.stats import clips as clip_stats
from pks4.bench.stats import intervals

Records = Mapping[int | None, Record]  # by seed
LOWER_IS_BETTER = ("loss", "epochs", "macs", "seconds")  # in the name of a metric


@dataclass(frozen=True, kw_only=True)
class Difference:
    """HEAD minus BASE: value, 95 % interval, p-value of no difference, and how it was found."""

    value: float
    interval: tuple[float, float] | None
    p: float | None
    method: str


def higher_is_better(metric: str) -> bool:
    """Whether more of this metric is better: a share of clips is, a loss is not."""
    return not any(word in metric for word in LOWER_IS_BETTER)


def difference(base: Records, head: Records, *, level: float = 0.95) -> Difference | None:
    """The difference over the seeds that both have; None where it has no interval at `level`."""
    shared = [seed for seed in base if seed in head]
    if not shared:
        return None
    pairs = [(base[seed], head[seed]) for seed in shared]
    if all(_same_clips(b, h) for b, h in pairs):
        return _bootstrap(pairs, level)
    if all("clips" in r.detail for pair in pairs for r in pair):
        return _independent(pairs, level)
    return _over_seeds(pairs, level)


def _same_clips(base: Record, head: Record) -> bool:
    """Whether both keep what they said of each clip, and of the same clips."""
    kept = all(clip_stats.right_by_clip(r) is not None for r in (base, head))
    return kept and base.detail["label"] == head.detail["label"]


def _bootstrap(pairs: list[tuple[Record, Record]], level: float) -> Difference:
    base, head = (
        np.array([clip_stats.right_by_clip(pair[side]) for pair in pairs]) for side in (0, 1)
    )
    found = clip_stats.paired_bootstrap(head, base, level=level)
    return Difference(value=found.value, interval=found.interval, p=found.p, method=found.method)


def _independent(pairs: list[tuple[Record, Record]], level: float) -> Difference:
    """Two shares as independent samples (Wald), seeds pooled."""
    shares, variances = [], []
    for side in (0, 1):
        clips = sum(pair[side].detail["clips"] for pair in pairs)
        right = sum((pair[side].value or 0) * pair[side].detail["clips"] for pair in pairs)
        share = (right + 1) / (clips + 2)  # Agresti and Caffo (2000): 0 of n is not certain
        shares.append(right / clips)
        variances.append(share * (1 - share) / clips)
    value, spread = shares[1] - shares[0], sqrt(sum(variances))
    reach = float(stats.norm.ppf((1 + level) / 2)) * spread
    return Difference(
        value=value,
        interval=(value - reach, value + reach),
        p=float(2 * stats.norm.sf(abs(value) / spread)),
        method="independent shares of clips (Agresti-Caffo); not paired, so wider than need be",
    )


def _over_seeds(pairs: list[tuple[Record, Record]], level: float) -> Difference | None:
    if len(pairs) < intervals.LEAST_SEEDS:
        return None
    values = [h.value - b.value for b, h in pairs if h.value is not None and b.value is not None]
    found = intervals.estimate(values)
    ends = found.interval
    if ends is not None:
        wide = stats.ttest_1samp(values, 0.0).confidence_interval(level)
        ends = float(wide.low), float(wide.high)
    method = f"paired t-test over {len(pairs)} seeds"
    return Difference(value=found.mean, interval=ends, p=found.p, method=method)
