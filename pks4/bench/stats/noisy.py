"""Noisy numbers: a ratio of ratios between two sessions, from raw samples.

Each session timed its candidate against the reference contestant in interleaved rounds, in several
fresh processes. What is compared is ln(candidate / reference) of HEAD minus that of BASE: the
machine's pace on the day cancels, seconds are never set against seconds of another session. The
reference contestant is part of the code: a change of its own speed moves every ratio alike.

The estimate is the difference of medians over rounds. Its bootstrap draws processes, then rounds in
each, since processes differ by more than rounds do; a draw's deviation is widened by the factor
that few processes ask for. `paired`: process i of BASE and process i of HEAD ran one after the
other, and are drawn together. A difference must exceed `pairing.LEAST_EFFECT` and what either
session's A/A arm shows by itself.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from pks4.bench.stats import paired_times

RATIO, SECONDS = "_ratio", "_seconds"  # a metric's endings: forward_ratio, forward_seconds
CONTROL = ("reference", "again")  # the arms that are one and the same contestant
LEAST_PROCESSES = 2
DRAWS = 4000


@dataclass(frozen=True, kw_only=True)
class Samples:
    """ln(candidate / reference) and ln(again / reference), an array of rounds for each process."""

    logs: tuple[np.ndarray, ...]
    control: tuple[np.ndarray, ...]


@dataclass(frozen=True, kw_only=True)
class Shift:
    """HEAD over BASE: ratio, interval, least ratio that counts, and a p-value of going beyond it.

    `void`: the session whose A/A arm differs, so that nothing can be said; else empty.
    """

    ratio: float
    interval: tuple[float, float]
    least: float
    p: float
    void: str = ""


def samples(ratio: Mapping[str, Any], seconds: Mapping[str, Any] | None) -> Samples | None:
    """The samples in the details of a `…_ratio` record and its `…_seconds`; None without any."""
    if seconds is None or not {"reference_seconds", "again_seconds"} <= set(ratio):
        return None
    candidate = np.asarray(seconds.get("samples_seconds", []), dtype=float)
    reference, again = (np.asarray(ratio[f"{a}_seconds"], dtype=float) for a in CONTROL)
    rounds = ratio.get("rounds_by_process", [len(candidate)])
    sizes = {len(candidate), len(reference), len(again), sum(rounds)}
    if len(sizes) > 1 or not len(candidate):
        return None
    return Samples(
        logs=_split(np.log(candidate / reference), rounds),
        control=_split(np.log(again / reference), rounds),
    )


def shift(base: Samples, head: Samples, *, paired: bool = False) -> Shift:
    """Compare two sessions' samples of one operation of one contestant."""
    estimate = _median(head.logs) - _median(base.logs)
    draws = _draws(base, head, paired) - estimate
    processes = min(len(base.logs), len(head.logs))
    draws = estimate + draws * np.sqrt(processes / (processes - 1))
    low, high = (float(x) for x in np.percentile(draws, (2.5, 97.5)))
    controls = {name: _control(one) for name, one in (("BASE", base), ("HEAD", head))}
    plain = float(np.log1p(paired_times.LEAST_EFFECT))
    least = max(plain, *(one for one, _ in controls.values()))
    short = min(np.mean(draws <= least), np.mean(draws >= -least))  # the nearer bound not passed
    return Shift(
        ratio=float(np.exp(estimate)),
        interval=(float(np.exp(low)), float(np.exp(high))),
        least=float(np.exp(least)),
        p=float(min(1.0, 2 * (short * DRAWS + 1) / (DRAWS + 1))),
        void=" and ".join(name for name, (_, void) in controls.items() if void),
    )


def _control(one: Samples) -> tuple[float, bool]:
    """What the A/A arm asks of a difference, and whether it makes its session void."""
    again = np.exp(np.concatenate(one.control))
    log, (low, high) = paired_times.median_log_ratio(again, np.ones_like(again))
    plain = np.log1p(paired_times.LEAST_EFFECT)
    return max(2 * abs(log), (high - low) / 2), bool(low > plain or high < -plain)


def _draws(base: Samples, head: Samples, paired: bool) -> np.ndarray:
    """Differences of medians of resampled processes and rounds, with a fixed seed."""
    chance = np.random.default_rng(0)

    def processes(count: int) -> np.ndarray:
        return chance.integers(count, size=(DRAWS, count))

    if paired and len(base.logs) == len(head.logs):
        both = processes(len(base.logs))
        which: Sequence[np.ndarray] = (both, both)
    else:
        which = (processes(len(base.logs)), processes(len(head.logs)))
    medians = [
        np.median(_resampled(one.logs, chosen, chance.integers), axis=1)
        for one, chosen in zip((base, head), which, strict=True)
    ]
    return medians[1] - medians[0]


def _resampled(
    logs: Sequence[np.ndarray], chosen: np.ndarray, integers: Callable[..., np.ndarray]
) -> np.ndarray:
    """(draws, samples): of each chosen process as many rounds, drawn anew."""
    table = np.stack(logs)  # (processes, rounds)
    rounds = integers(table.shape[1], size=(*chosen.shape, table.shape[1]))
    return table[chosen[:, :, None], rounds].reshape(len(chosen), -1)


def _median(logs: Sequence[np.ndarray]) -> float:
    return float(np.median(np.concatenate(logs)))


def _split(values: np.ndarray, rounds: Sequence[int]) -> tuple[np.ndarray, ...]:
    """A row of rounds by process, each cut to the shortest, so that all weigh alike."""
    ends = np.cumsum([0, *rounds])
    return tuple(values[start:end][: min(rounds)] for start, end in pairwise(ends))
