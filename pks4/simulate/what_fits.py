"""The largest number of frames or clips whose peak memory is within a limit, in few evaluations.

`largest` searches on any function from a number to peak bytes. Each evaluation is a simulated step
of about half a second, so it follows the secant and stops early where the growth allows it.
"""

from collections.abc import Callable, Mapping
from typing import Any

RESERVE = 0.05  # of the memory
CLIP_FRAMES = 16
GROWS = ("inputs", "activations", "temporaries")  # the parts of a step that grow with its clips
CLEARLY = 0.02  # of the growth by one frame or clip


def count(k: int, most: int) -> str:
    """The number that fits, for people; with `≥` where all of the `most` that were tried fit."""
    return f"≥ {k:,}" if k == most else f"{k:,}"


def largest(
    peak: Callable[[int], int],
    limit: int,
    most: int,
    step: int = 1,
    *,
    known: Mapping[int, int] | None = None,
    guess: int = CLIP_FRAMES,
    convex_from: int | None = None,
) -> int:
    """The largest multiple of `step` up to `most` whose peak is within the limit, or 0.

    The peak must not fall as its argument grows. Peaks in `known` are not computed. From
    `convex_from` on, if given, the peak is convex: beyond two points it lies on or above the line
    through them, and where that line is clearly above the limit nothing is computed. An affine peak
    takes three calls, or one where a point is known and the guess is right.
    """
    peaks = {k // step: bytes_ for k, bytes_ in (known or {}).items()}

    def fits(k: int) -> bool:
        if k not in peaks:
            peaks[k] = peak(k * step)
        return peaks[k] <= limit

    low = max((k for k, bytes_ in peaks.items() if bytes_ <= limit), default=0)
    high = min((k for k, bytes_ in peaks.items() if bytes_ > limit), default=most // step + 1)
    guess = min(max(guess // step, low + 1), high - 1)
    while high - low > 1:
        if fits(guess):
            low = guess
            if convex_from is not None and _must_exceed(peaks, low, limit, convex_from // step):
                break
        else:
            high = guess
        default = 4 * guess if fits(guess) else guess - 1
        guess = min(max(secant(peaks, limit, default), low + 1), high - 1)
    return low * step


def _must_exceed(peaks: Mapping[int, int], low: int, limit: int, convex_from: int) -> bool:
    """Whether the line through `low` and the point before it is above the limit at low + 1.

    Clearly above: a scan's state comes in chunks, so a peak is convex only up to a small error.
    """
    before = max((k for k in peaks if convex_from <= k < low), default=None)
    if before is None:
        return False
    slope = (peaks[low] - peaks[before]) / (low - before)
    return peaks[low] + (1 - CLEARLY) * slope > limit


def secant(peaks: Mapping[int, int], limit: int, default: int) -> int:
    """Where the line through the two points nearest to the limit crosses it."""
    near = sorted(peaks, key=lambda k: abs(peaks[k] - limit))[:2]
    if len(near) < 2 or peaks[near[0]] == peaks[near[1]]:
        return default
    a, b = near
    return a + (limit - peaks[a]) * (b - a) // (peaks[b] - peaks[a])


def growth_to(limit: int, step: Any) -> float:
    """How many times the clips of this step fit in the limit, estimated from one step.

    The parts in `GROWS` grow with the clips; weights, gradients and moments do not.
    """
    growing = sum(step.parts.get(part, 0) for part in GROWS)
    return (limit - step.peak + growing) / growing
