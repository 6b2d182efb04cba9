"""How a noisy number grows with frames: a + b T^p, with a bootstrap interval of p.

A log-log slope lies where there is a constant: the start-up of a call bends it. So the constant is
fitted, not subtracted by eye. Exact numbers have exact structure instead (`structure.py`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

POWERS = np.arange(0.0, 3.001, 0.01)
LEAST_FRAMES = 4  # counts of frames: three unknowns, and one to be wrong by
RESAMPLES = 400


@dataclass(frozen=True)
class Power:
    """a + b T^p through medians; p's 95 % interval; the T it was seen at."""

    a: float
    b: float
    p: float
    interval: tuple[float, float]
    frames: tuple[int, ...]


def fit(samples: Mapping[int, Sequence[float]]) -> Power | None:
    """Fit samples by number of frames; None for fewer than four numbers of frames.

    Least squares of relative errors, a and b not negative; the bootstrap draws rounds within each
    number of frames, with a fixed seed.
    """
    frames = tuple(sorted(samples))
    if len(frames) < LEAST_FRAMES:
        return None
    rounds = [np.asarray(samples[t], dtype=float) for t in frames]
    a, b, p = _best(frames, np.array([np.median(r) for r in rounds]))
    chance = np.random.default_rng(0)
    drawn = [
        _best(frames, np.array([np.median(chance.choice(r, len(r))) for r in rounds]))[2]
        for _ in range(RESAMPLES)
    ]
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Power(a, b, p, (float(low), float(high)), frames)


def _best(frames: Sequence[int], values: np.ndarray) -> tuple[float, float, float]:
    """The a, b and p with the least relative squared error, over all p at once."""
    powers = np.asarray(frames, dtype=float)[None] ** POWERS[:, None] / values  # (p, t)
    ones = 1 / values
    saa, sab, sbb = (ones * ones).sum(), (powers * ones).sum(1), (powers * powers).sum(1)
    sa, sb = ones.sum(), powers.sum(1)
    determinant = saa * sbb - sab**2
    flat = determinant < 1e-12 * saa * sbb  # p = 0: a constant twice
    safe = np.where(flat, 1.0, determinant)
    a = np.where(flat, 0.0, (sa * sbb - sb * sab) / safe)
    b = np.where(flat, sb / sbb, (saa * sb - sab * sa) / safe)
    b = np.where(a < 0, sb / sbb, b)
    a = np.where(a < 0, 0.0, a)
    a = np.where(b < 0, sa / saa, a)
    b = np.where(b < 0, 0.0, b)
    errors = ((a[:, None] * ones + b[:, None] * powers - 1) ** 2).sum(1)
    best = int(np.argmin(errors))
    return float(a[best]), float(b[best]), float(POWERS[best])
