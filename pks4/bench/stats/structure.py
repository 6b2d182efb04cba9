"""How an exact cost depends on the number of frames: the polynomial behind it, without rounding.

MACs and saved bytes are integers, so no fit is needed: through three frame counts there is exactly
one polynomial a + b·T + c·T², found here in fractions, and every other frame count must lie on it.
A slope in a log-log plot cannot say this: a constant beside a linear part reads as an exponent
below one. Letters: T frames; a, b, c the coefficients.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import log
from typing import Literal

Kind = Literal["affine", "quadratic", "other", "unverified"]
POINTS_OF_A_QUADRATIC = 3


@dataclass(frozen=True)
class Structure:
    """The verdict on one cost: its kind, its coefficients (a, b, c), the frame counts it used.

    `affine`: c is exactly 0, and all of three or more frame counts lie on the line.
    `quadratic`: c is not 0, and four or more frame counts lie on the parabola.
    `unverified`: c is not 0, and no fourth frame count was there to check it.
    `other`: some frame count lies on neither; the coefficients are None.
    """

    kind: Kind
    coefficients: tuple[Fraction, Fraction, Fraction] | None
    frames: tuple[int, ...]


def fit(values: Mapping[int, int]) -> Structure | None:
    """The exact structure of `values` (frames to integer cost); None with fewer than three.

    Raises ValueError if a value is not an integer: a rounded number has no exact structure.
    """
    for t, value in values.items():
        if not isinstance(value, int):
            raise ValueError(f"cost at {t} frames is not an integer: {value!r}")
    frames = tuple(sorted(values))
    if len(frames) < POINTS_OF_A_QUADRATIC:
        return None
    a, b, c = _through([(t, values[t]) for t in frames[:POINTS_OF_A_QUADRATIC]])
    if any(a + b * t + c * t * t != values[t] for t in frames):
        return Structure("other", None, frames)
    return Structure(_kind(c, len(frames)), (a, b, c), frames)


def local_exponent(values: Mapping[int, int], found: Structure) -> float | None:
    """The exponent of growth between the two largest T, the constant a subtracted.

    1 where the cost is affine, towards 2 where a quadratic part takes over. None for a cost of no
    known structure, or one that does not grow.
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
