""" """

from collections.abc import Callable, Mapping
from typing import Any

RESERVE = 0.05  # of the memory
CLIP_FRAMES = 16
GROWS = ("inputs", "activations", "temporaries")  # parts of a step, with its clips
CLEARLY = 0.02  # of what one frame or clip more takes


def count(k: int, most: int) -> str:
    """How many fit, for people; `most` were tried, so that all of them fitting means at least."""
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

    The peak must not fall as its argument grows; `known` ones are not asked for. From `convex_from`
    on, if given, it grows ever faster: then what lies beyond two arguments is at least on the line
    through them, and if that is clearly above the limit nothing needs to be asked there. An affine
    peak takes three calls, and one where a point is known and the guess is right.
    """
    found = {k // step: bytes_ for k, bytes_ in (known or {}).items()}

    def fits(k: int) -> bool:
        if k not in found:
            found[k] = peak(k * step)
        return found[k] <= limit

    low = max((k for k, bytes_ in found.items() if bytes_ <= limit), default=0)
    high = min((k for k, bytes_ in found.items() if bytes_ > limit), default=most // step + 1)
    guess = min(max(guess // step, low + 1), high - 1)
    while high - low > 1:
        if fits(guess):
            low = guess
            if convex_from is not None and _must_exceed(found, low, limit, convex_from // step):
                break
        else:
            high = guess
        default = 4 * guess if fits(guess) else guess - 1
        guess = min(max(_secant(found, limit, default), low + 1), high - 1)
    return low * step


def _must_exceed(found: Mapping[int, int], low: int, limit: int, convex_from: int) -> bool:
    """Whether the line through `low` and the point before it is above the limit at low + 1.

    Clearly above: a scan's state comes in chunks, so that a peak is convex but for a little.
    """
    before = max((k for k in found if convex_from <= k < low), default=None)
    if before is None:
        return False
    slope = (found[low] - found[before]) / (low - before)
    return found[low] + (1 - CLEARLY) * slope > limit


def _secant(found: Mapping[int, int], limit: int, default: int) -> int:
    """Where the line through the two points nearest to the limit crosses it."""
    near = sorted(found, key=lambda k: abs(found[k] - limit))[:2]
    if len(near) < 2 or found[near[0]] == found[near[1]]:
        return default
    a, b = near
    return a + (limit - found[a]) * (b - a) // (found[b] - found[a])


def growth_to(limit: int, step: Any) -> float:
    """How many times the clips of this step fit in the limit, if what is of clips grows with them.

    A guess from one step: the rest, weights and what comes with them, stays as it is.
    """
    of_clips = sum(step.parts.get(part, 0) for part in GROWS)
    return (limit - step.peak + of_clips) / of_clips
