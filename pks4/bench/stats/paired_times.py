"""Times in pairs: a candidate against the baseline in one session, and one session against another.

In each round of a session every arm is timed once, in random order: baseline, candidate, and the
baseline again (A/A, the control). Only log ratios within a round are used, so that a drift of the
machine cancels. A difference must exceed what the control shows: twice its median, the half-width
of its interval, and in any case `LEAST_EFFECT`. A session whose control differs is void.

* `compare` judges one session. The estimate is the median over rounds, its interval a percentile
  bootstrap. "same" is within `LEAST_EFFECT`, so that noise makes a session inconclusive, never the
  same.
* `shift` compares two sessions, HEAD minus BASE in ln(candidate / baseline): the pace of a machine
  cancels, and seconds of one session are never compared with seconds of another. The baseline is
  part of the code, so a change of its speed moves every ratio alike. The bootstrap draws processes,
  then rounds in each, since processes differ by more than rounds do; a draw's deviation is widened
  by the factor that few processes ask for.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from scipy import stats

from pks4.bench.stats.intervals import Estimate

LEAST_EFFECT = 0.03  # below this a difference is not called one
_LEAST_LOG = float(np.log1p(LEAST_EFFECT))
RATIO, SECONDS = "_ratio", "_seconds"  # a metric's endings: forward_ratio, forward_seconds
LEAST_PROCESSES = 2
DRAWS = 4000


@dataclass(frozen=True, kw_only=True)
class Ratio(Estimate):
    """Candidate over baseline, with the control and a verdict."""

    control: Estimate  # baseline over baseline
    least_effect: float  # as |ln ratio|
    verdict: str  # slower | faster | same | inconclusive | void


@dataclass(frozen=True, kw_only=True)
class Samples:
    """ln(candidate / baseline) and ln(again / baseline), an array of rounds for each process."""

    logs: tuple[np.ndarray, ...]
    control: tuple[np.ndarray, ...]


@dataclass(frozen=True, kw_only=True)
class Shift(Estimate):
    """The ratio of HEAD over that of BASE; its p-value is of going beyond `least`."""

    least: float  # least ratio that counts
    void: str = ""  # the sessions whose control differs, so that there is no verdict


@dataclass(frozen=True, kw_only=True)
class _Control(Estimate):
    """The A/A arm of a session, in logs."""

    least: float  # what a difference must exceed
    void: bool


def compare(candidate: np.ndarray, baseline: np.ndarray, again: np.ndarray) -> Ratio:
    """Judge candidate against baseline, with `again` as the control; arrays over rounds."""
    log, control = _median(np.log(candidate / baseline)), _control(np.log(again / baseline))
    return Ratio(
        **_exp(log),
        control=Estimate(**_exp(control)),
        least_effect=control.least,
        verdict="void" if control.void else _verdict(log, control.least),
    )


def _exp(log: Estimate) -> dict[str, Any]:
    """Value and interval of a ratio from those of its logarithm."""
    ends = [float(np.exp(end)) for end in log.interval or ()]
    return {"value": float(np.exp(log.value)), "interval": tuple(ends)}


def _median(logs: np.ndarray) -> Estimate:
    """The median over rounds with its bootstrap interval."""
    if np.ptp(logs) == 0:
        return Estimate(value=float(logs[0]), interval=(float(logs[0]), float(logs[0])))
    low, high = stats.bootstrap(
        (logs,), np.median, n_resamples=2000, method="percentile", rng=np.random.default_rng(0)
    ).confidence_interval
    return Estimate(value=float(np.median(logs)), interval=(float(low), float(high)))


def _control(logs: np.ndarray) -> _Control:
    """What a session's A/A arm asks of a difference, and whether it makes the session void."""
    log = _median(logs)
    low, high = log.interval or (0.0, 0.0)
    return _Control(
        **vars(log),
        least=max(_LEAST_LOG, 2 * abs(log.value), (high - low) / 2),
        void=low > _LEAST_LOG or high < -_LEAST_LOG,  # the same model differs from itself
    )


def _verdict(log: Estimate, least: float) -> str:
    low, high = log.interval or (0.0, 0.0)
    if low > least:
        return "slower"
    if high < -least:
        return "faster"
    if low > -_LEAST_LOG and high < _LEAST_LOG:
        return "same"  # however noisy the session
    return "inconclusive"


def samples(ratio: Mapping[str, Any], seconds: Mapping[str, Any] | None) -> Samples | None:
    """The samples in the details of a `…_ratio` record and its `…_seconds`; None without any."""
    if seconds is None or not {"reference_seconds", "again_seconds"} <= set(ratio):
        return None
    candidate = np.asarray(seconds.get("samples_seconds", []), dtype=float)
    baseline = np.asarray(ratio["reference_seconds"], dtype=float)
    again = np.asarray(ratio["again_seconds"], dtype=float)
    rounds = ratio.get("rounds_by_process", [len(candidate)])
    sizes = {len(candidate), len(baseline), len(again), sum(rounds)}
    if len(sizes) > 1 or not len(candidate):
        return None
    return Samples(
        logs=_by_process(np.log(candidate / baseline), rounds),
        control=_by_process(np.log(again / baseline), rounds),
    )


def _by_process(values: np.ndarray, rounds: Sequence[int]) -> tuple[np.ndarray, ...]:
    """A row of rounds by process, each cut to the shortest, so that all weigh alike."""
    ends = np.cumsum([0, *rounds])
    return tuple(values[start:end][: min(rounds)] for start, end in pairwise(ends))


def shift(base: Samples, head: Samples, *, paired: bool = False) -> Shift:
    """Compare two sessions' samples of one operation of one contestant.

    `paired`: process i of BASE and process i of HEAD ran one after the other, and are drawn
    together.
    """
    medians = [float(np.median(np.concatenate(side.logs))) for side in (base, head)]
    value = medians[1] - medians[0]
    processes = min(len(base.logs), len(head.logs))
    draws = value + (_draws(base, head, paired) - value) * np.sqrt(processes / (processes - 1))
    low, high = np.percentile(draws, (2.5, 97.5))
    controls = {
        name: _control(np.concatenate(side.control))
        for name, side in (("BASE", base), ("HEAD", head))
    }
    least = max(control.least for control in controls.values())
    short = min(np.mean(draws <= least), np.mean(draws >= -least))  # the nearer bound not passed
    return Shift(
        **_exp(Estimate(value=value, interval=(low, high))),
        least=float(np.exp(least)),
        p=float(min(1.0, 2 * (short * DRAWS + 1) / (DRAWS + 1))),
        void=" and ".join(name for name, control in controls.items() if control.void),
    )


def _draws(base: Samples, head: Samples, paired: bool) -> np.ndarray:
    """Differences of medians of resampled processes and rounds, with a fixed seed."""
    random = np.random.default_rng(0)

    def processes(count: int) -> np.ndarray:
        return random.integers(count, size=(DRAWS, count))

    if paired and len(base.logs) == len(head.logs):
        both = processes(len(base.logs))
        which: Sequence[np.ndarray] = (both, both)
    else:
        which = (processes(len(base.logs)), processes(len(head.logs)))
    medians = [
        np.median(_resampled(side.logs, chosen, random.integers), axis=1)
        for side, chosen in zip((base, head), which, strict=True)
    ]
    return medians[1] - medians[0]


def _resampled(
    logs: Sequence[np.ndarray], chosen: np.ndarray, integers: Callable[..., np.ndarray]
) -> np.ndarray:
    """(draws, samples): of each chosen process as many rounds, resampled."""
    table = np.stack(logs)  # (processes, rounds)
    rounds = integers(table.shape[1], size=(*chosen.shape, table.shape[1]))
    return table[chosen[:, :, None], rounds].reshape(len(chosen), -1)
