"""The difference of two contestants, or of two runs, in a sampled number such as top-1.

`difference` takes a number by seed for each of the two and chooses the first way that they allow:

1. Both recorded an answer for each of the same clips: a paired bootstrap over clips and seeds.
2. Two seeds or more: paired by seed, Student's t; a p-value takes three seeds.
3. One seed, shares that count their clips: two independent samples, which is wider.

The bootstrap takes s seeds and c clips. A draw resamples clips, each with all of its seeds and both
methods. Resampling a handful of seeds would show too little of their variance, so their part is
drawn from a normal with the variance between seeds beyond what clips explain, and the whole is
spread as Student's t with the degrees of freedom that both parts leave (Satterthwaite). With one
seed only clips are resampled: the interval says nothing of another training.
"""

from collections.abc import Mapping, Sequence
from math import sqrt
from typing import Any, Protocol

import numpy as np
from scipy import stats

from pks4.bench.stats.intervals import LEAST_SEEDS, LEVEL, Estimate, estimate
from pks4.errors import UserError

DRAWS = 50_000  # so many that the ends of an interval for many comparisons at once are stable
SAME_ANSWERS = "right and wrong on the same clips"


class Number(Protocol):
    """A record, or a row of a report, of a number over clips."""

    @property
    def cell(self) -> str: ...
    @property
    def metric(self) -> str: ...
    @property
    def value(self) -> Any: ...
    @property
    def evidence(self) -> Mapping[str, Any]: ...
    @property
    def detail(self) -> Mapping[str, Any]: ...


BySeed = Mapping[int | None, Number]
Pairs = Sequence[tuple[Number, Number]]


def difference(
    a: BySeed, b: BySeed, *, level: float = LEVEL, draws: int = DRAWS
) -> Estimate | None:
    """a minus b over the seeds that both have; None where no way is open."""
    pairs = [(number, b[seed]) for seed, number in a.items() if seed in b]
    if not pairs:
        return None
    if all(_same_clips(*pair) for pair in pairs):
        return _over_clips(pairs, level, draws)
    if len(pairs) > 1:
        return _over_seeds(pairs, level)
    (pair,) = pairs
    counted = all("clips" in number.detail for number in pair)
    return _independent(*pair, level) if counted and not _other_data(*pair) else None


def right_by_clip(number: Number) -> np.ndarray | None:
    """(c,) whether each clip was right; None where the record's detail has no answers.

    Raises UserError for a record with more or fewer answers than clips.
    """
    kept = next((key for key in ("right", "predicted") if key in number.detail), None)
    if kept is None or "label" not in number.detail:
        return None
    answers, label = number.detail[kept], number.detail["label"]
    lists = isinstance(answers, list) and isinstance(label, list)
    if not lists or len(answers) != len(label) or not _integers([*answers, *label]):
        raise UserError(
            f"{number.cell} {number.metric}: its record is damaged: {kept!r} and 'label' in its "
            "detail are not a number for each clip; measure it again"
        )
    right = np.asarray(answers)
    return right.astype(bool) if kept == "right" else right == np.asarray(label)


def _integers(values: list[Any]) -> bool:
    return all(isinstance(value, int) for value in values)


def _same_clips(a: Number, b: Number) -> bool:
    """Whether both recorded their answers, on the same clips."""
    right = [right_by_clip(number) for number in (a, b)]
    if any(clips is None or len(clips) < 2 for clips in right):
        return False
    return bool(a.detail["label"] == b.detail["label"]) and not _other_data(a, b)


def _other_data(a: Number, b: Number) -> bool:
    return any(a.evidence.get(key) != b.evidence.get(key) for key in ("data", "split"))


def _over_clips(pairs: Pairs, level: float, draws: int) -> Estimate:
    first, second = (np.array([right_by_clip(pair[side]) for pair in pairs]) for side in (0, 1))
    if (first == second).all():
        return Estimate(value=0.0, interval=None, level=level, method=SAME_ANSWERS)
    return paired_bootstrap(first, second, level=level, draws=draws)


def _over_seeds(pairs: Pairs, level: float) -> Estimate:
    mean = estimate([a.value - b.value for a, b in pairs], level)
    return Estimate(
        value=mean.value,
        interval=mean.interval,
        level=level,
        p=mean.p if len(pairs) >= LEAST_SEEDS else None,
        method=f"paired t-test over {len(pairs)} seeds",
    )


def _independent(a: Number, b: Number, level: float) -> Estimate:
    """Two shares as independent samples (Wald)."""
    variances = []
    for number in (a, b):
        clips = number.detail["clips"]
        share = (number.value * clips + 1) / (clips + 2)  # Agresti and Caffo (2000): 0 of n
        variances.append(share * (1 - share) / clips)  # is not certain
    value, spread = a.value - b.value, sqrt(sum(variances))
    reach = float(stats.norm.ppf((1 + level) / 2)) * spread
    return Estimate(
        value=value,
        interval=(value - reach, value + reach),
        level=level,
        p=float(2 * stats.norm.sf(abs(value) / spread)),
        method="independent shares of clips (Agresti-Caffo); not paired, so wider than need be",
    )


def paired_bootstrap(
    a: np.ndarray, b: np.ndarray, *, level: float = LEVEL, draws: int = DRAWS, seed: int = 0
) -> Estimate:
    """a minus b, both (s, c): whether each clip was right. Percentile interval at `level`."""
    difference = a.astype(float) - b.astype(float)  # (s, c)
    s = len(difference)
    value = difference.mean()
    random = np.random.default_rng(seed)
    drawn = _drawn_means(difference.mean(0), draws, random)
    if s > 1:
        between, freedom = _between_seeds(difference)
        drawn = drawn + random.normal(0, np.sqrt(between), draws)
        drawn = value + (drawn - value) * np.sqrt(freedom / random.chisquare(freedom, draws))
    tail = (1 - level) / 2
    low, high = np.quantile(drawn, (tail, 1 - tail))
    beyond = min(float(np.mean(drawn <= 0)), float(np.mean(drawn >= 0)))
    return Estimate(
        value=float(value),
        interval=(float(low), float(high)),
        level=level,
        p=min(1.0, 2 * (beyond * draws + 1) / (draws + 1)),
        method=f"paired bootstrap over clips{f' and {s} seeds' if s > 1 else ', one seed'}",
    )


def _drawn_means(by_clip: np.ndarray, draws: int, random: np.random.Generator) -> np.ndarray:
    """(draws,): means of clips resampled with replacement, from their differences (c,).

    A difference takes few values, so what is drawn is how often each value occurs.
    """
    values, counts = np.unique(by_clip, return_counts=True)
    drawn = random.multinomial(len(by_clip), counts / len(by_clip), size=draws)  # (draws, values)
    return drawn @ values / len(by_clip)


def _between_seeds(difference: np.ndarray) -> tuple[float, float]:
    """Variance of the mean over seeds (s, c) beyond what clips explain, and degrees of freedom."""
    s, c = difference.shape
    between = max(0.0, difference.mean(1).var(ddof=1) - clip_noise(difference)) / s
    if between == 0:
        return 0.0, float(c - 1)
    return between, satterthwaite(between, s, difference.mean(0).var(ddof=1) / c, c)


def clip_noise(difference: np.ndarray) -> float:
    """Variance of a seed's mean that clips alone explain, from (s, c), s and c ≥ 2."""
    s, c = difference.shape
    rest = difference - difference.mean(1)[:, None] - difference.mean(0) + difference.mean()
    return (rest**2).sum() / ((s - 1) * (c - 1)) / c


def satterthwaite(seeds_part: float, seeds: int, clips_part: float, clips: int) -> float:
    """Degrees of freedom of the sum of two variances, over seeds and over clips."""
    whole = (seeds_part + clips_part) ** 2
    return float(whole / (seeds_part**2 / (seeds - 1) + clips_part**2 / (clips - 1)))
