"""How a number grows with the number of frames T: a power of T, or an exact polynomial.

* Noisy numbers, `fit_power`: a + b T^p, with a bootstrap interval of p. A slope in a log-log plot
  is too low where there is a constant, such as the start-up of a call, so the constant is fitted.
* Exact numbers, `exact_polynomial`: MACs and saved bytes are integers, so no fit is needed. Through
  three frame counts there is exactly one polynomial a + b T + c T², found here in fractions, and
  every other frame count must lie on it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import log
from typing import Literal

import numpy as np

POWERS = np.arange(0.0, 3.001, 0.01)
LEAST_FRAMES = 4  # counts of frames: three unknowns, and one to be wrong by
RESAMPLES = 400
POINTS_OF_A_QUADRATIC = 3
Kind = Literal["affine", "quadratic", "other", "unverified"]


@dataclass(frozen=True)
class Power:
    """a + b T^p through medians; p's 95 % interval; the T it was fitted at."""

    a: float
    b: float
    p: float
    interval: tuple[float, float]
    frames: tuple[int, ...]


def fit_power(samples: Mapping[int, Sequence[float]]) -> Power | None:
    """Fit samples by number of frames; None for fewer than four numbers of frames.

    Least squares of relative errors, a and b not negative; the bootstrap draws rounds within each
    number of frames, with a fixed seed.
    """
    frames = tuple(sorted(samples))
    if len(frames) < LEAST_FRAMES:
        return None
    rounds = [np.asarray(samples[t], dtype=float) for t in frames]
    a, b, p = _best(frames, np.array([np.median(r) for r in rounds]))
    random = np.random.default_rng(0)
    drawn = [
        _best(frames, np.array([np.median(random.choice(r, len(r))) for r in rounds]))[2]
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


@dataclass(frozen=True)
class Polynomial:
    """What one cost is: its kind, its coefficients (a, b, c), the frame counts it used.

    `affine`: c is exactly 0, and all of three or more frame counts lie on the line.
    `quadratic`: c is not 0, and four or more frame counts lie on the parabola.
    `unverified`: c is not 0, and no fourth frame count could check it.
    `other`: some frame count lies on neither; the coefficients are None.
    """

    kind: Kind
    coefficients: tuple[Fraction, Fraction, Fraction] | None
    frames: tuple[int, ...]


def exact_polynomial(values: Mapping[int, int]) -> Polynomial | None:
    """The exact polynomial through `values` (frames to integer cost); None with fewer than three.

    Raises ValueError if a value is not an integer: a rounded number has no exact polynomial.
    """
    for t, value in values.items():
        if not isinstance(value, int):
            raise ValueError(f"cost at {t} frames is not an integer: {value!r}")
    frames = tuple(sorted(values))
    if len(frames) < POINTS_OF_A_QUADRATIC:
        return None
    a, b, c = _through([(t, values[t]) for t in frames[:POINTS_OF_A_QUADRATIC]])
    if any(a + b * t + c * t * t != values[t] for t in frames):
        return Polynomial("other", None, frames)
    return Polynomial(_kind(c, len(frames)), (a, b, c), frames)


def local_exponent(values: Mapping[int, int], found: Polynomial) -> float | None:
    """The exponent of growth between the two largest T, the constant a subtracted.

    1 where the cost is affine, towards 2 where a quadratic part takes over. None for a cost without
    a polynomial, or one that does not grow.
    """
    if found.coefficients is None:
        return None
    low, high = sorted(values)[-2:]
    grown = [values[t] - found.coefficients[0] for t in (low, high)]
    if grown[0] <= 0 or grown[1] <= 0:
        return None
    return log(grown[1] / grown[0]) / log(high / low)


def _kind(c: Fraction, points: int) -> Kind:
    if c == 0:
        return "affine"
    return "quadratic" if points > POINTS_OF_A_QUADRATIC else "unverified"


def _through(points: list[tuple[int, int]]) -> tuple[Fraction, Fraction, Fraction]:
    """Newton's divided differences of three points, expanded to powers of T."""
    (t0, y0), (t1, y1), (t2, y2) = points
    first = Fraction(y1 - y0, t1 - t0)
    second = Fraction(y2 - y1, t2 - t1)
    c = (second - first) / (t2 - t0)
    b = first - c * (t0 + t1)
    return y0 - b * t0 - c * t0 * t0, b, c
