"""A paired bootstrap over clips and seeds: the difference of two methods in a share of clips right.

Both saw the same clips, with the same seeds: s seeds, c clips. A draw takes clips anew, each with
all of its seeds and both methods. A handful of seeds drawn anew would show too little of what they
vary by, so their part is drawn from a normal with the variance between seeds, beyond what clips
explain, and the whole is spread as Student's t with the degrees of freedom that both parts leave
(Satterthwaite). With one seed only clips are drawn: nothing is said of another training.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from pks4.errors import UserError

DRAWS = 50_000  # so that the ends of an interval for many comparisons at once stand still


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A difference of shares: value, percentile interval, two-sided p-value, and how."""

    value: float
    interval: tuple[float, float]
    p: float
    method: str


class OfClips(Protocol):
    """A record, or a row of a report, of a number over clips."""

    @property
    def cell(self) -> str: ...
    @property
    def metric(self) -> str: ...
    @property
    def detail(self) -> Mapping[str, Any]: ...


def right_by_clip(one: OfClips) -> np.ndarray | None:
    """(c,) whether each clip was right, as a record's detail keeps it; None where it does not.

    Raises UserError for a record with more or fewer answers than clips.
    """
    kept = next((key for key in ("right", "predicted") if key in one.detail), None)
    if kept is None or "label" not in one.detail:
        return None
    answers, label = one.detail[kept], one.detail["label"]
    lists = isinstance(answers, list) and isinstance(label, list)
    if not lists or len(answers) != len(label) or not _whole_numbers([*answers, *label]):
        raise UserError(
            f"{one.cell} {one.metric}: its record is damaged: {kept!r} and 'label' in its detail "
            "are not a number for each clip; measure it again"
        )
    found = np.asarray(answers)
    return found.astype(bool) if kept == "right" else found == np.asarray(label)


def _whole_numbers(values: list[Any]) -> bool:
    return all(isinstance(value, int) for value in values)


def paired_bootstrap(
    a: np.ndarray, b: np.ndarray, *, level: float = 0.95, draws: int = DRAWS, seed: int = 0
) -> Estimate:
    """a minus b, both (s, c): whether each clip was right. Percentile interval at `level`."""
    difference = a.astype(float) - b.astype(float)  # (s, c)
    s = len(difference)
    value = difference.mean()
    chance = np.random.default_rng(seed)
    found = _drawn_means(difference.mean(0), draws, chance)
    if s > 1:
        between, freedom = _between_seeds(difference)
        found = found + chance.normal(0, np.sqrt(between), draws)
        found = value + (found - value) * np.sqrt(freedom / chance.chisquare(freedom, draws))
    tail = (1 - level) / 2
    low, high = np.quantile(found, (tail, 1 - tail))
    beyond = min(float(np.mean(found <= 0)), float(np.mean(found >= 0)))
    what = f"clips and {s} seeds" if s > 1 else "clips, one seed"
    return Estimate(
        value=float(value),
        interval=(float(low), float(high)),
        p=min(1.0, 2 * (beyond * draws + 1) / (draws + 1)),
        method=f"paired bootstrap over {what}",
    )


def _drawn_means(by_clip: np.ndarray, draws: int, chance: np.random.Generator) -> np.ndarray:
    """(draws,): means of clips drawn anew with replacement, from their differences (c,).

    A difference takes few values, so how often each value is drawn is drawn, not each clip.
    """
    values, counts = np.unique(by_clip, return_counts=True)
    drawn = chance.multinomial(len(by_clip), counts / len(by_clip), size=draws)  # (draws, values)
    return drawn @ values / len(by_clip)


def _between_seeds(difference: np.ndarray) -> tuple[float, float]:
    """Variance of the mean over seeds (s, c) beyond what clips explain, and degrees of freedom."""
    s, c = difference.shape
    by_seed, by_clip = difference.mean(1), difference.mean(0)
    rest = difference - by_seed[:, None] - by_clip + difference.mean()
    noise = (rest**2).sum() / ((s - 1) * (c - 1)) / c  # of a seed's mean, from clips alone
    between = max(0.0, by_seed.var(ddof=1) - noise) / s
    within = by_clip.var(ddof=1) / c
    if between == 0:
        return 0.0, float(c - 1)
    return between, float((between + within) ** 2 / (between**2 / (s - 1) + within**2 / (c - 1)))
