"""Paired times: what a session of interleaved rounds says about candidate against reference.

In each round every arm is sampled once, in random order: reference, candidate, and the reference
again (A/A). Only ratios within a round are used, so that a drift of the machine cancels. The
estimate is the median of ln(candidate / reference), its interval a percentile bootstrap over rounds
with a fixed seed. A difference must exceed what the A/A arm shows by itself; "same" is within 3 %,
so that noise makes a session inconclusive, never the same.
"""

from dataclasses import dataclass

import numpy as np
from scipy import stats

LEAST_EFFECT = 0.03  # below this a difference is not called one


@dataclass(frozen=True)
class Ratio:
    """Candidate over reference: estimate, 95 % interval, the control's interval, and a verdict."""

    value: float
    interval: tuple[float, float]
    control: float
    control_interval: tuple[float, float]
    least_effect: float  # as |ln ratio|
    verdict: str  # slower | faster | same | inconclusive | void


def median_log_ratio(
    candidate: np.ndarray, reference: np.ndarray
) -> tuple[float, tuple[float, float]]:
    """Median of ln(candidate / reference) over rounds, and its 95 % bootstrap interval."""
    logs = np.log(candidate / reference)
    if np.ptp(logs) == 0:
        return float(logs[0]), (float(logs[0]), float(logs[0]))
    found = stats.bootstrap(
        (logs,), np.median, n_resamples=2000, method="percentile", rng=np.random.default_rng(0)
    ).confidence_interval
    return float(np.median(logs)), (float(found.low), float(found.high))


def compare(candidate: np.ndarray, reference: np.ndarray, again: np.ndarray) -> Ratio:
    """Judge candidate against reference, with `again` as the A/A control; arrays over rounds."""
    log, interval = median_log_ratio(candidate, reference)
    control, control_interval = median_log_ratio(again, reference)
    half_width = (control_interval[1] - control_interval[0]) / 2
    least = max(np.log1p(LEAST_EFFECT), 2 * abs(control), half_width)
    return Ratio(
        value=float(np.exp(log)),
        interval=(float(np.exp(interval[0])), float(np.exp(interval[1]))),
        control=float(np.exp(control)),
        control_interval=(float(np.exp(control_interval[0])), float(np.exp(control_interval[1]))),
        least_effect=float(least),
        verdict=_verdict(interval, control_interval, float(least)),
    )


def _verdict(interval: tuple[float, float], control: tuple[float, float], least: float) -> str:
    plain = np.log1p(LEAST_EFFECT)
    if control[0] > plain or control[1] < -plain:
        return "void"  # the same model against itself differs: the session proves nothing
    if interval[0] > least:
        return "slower"
    if interval[1] < -least:
        return "faster"
    if interval[0] > -plain and interval[1] < plain:
        return "same"  # however noisy the session
    return "inconclusive"
