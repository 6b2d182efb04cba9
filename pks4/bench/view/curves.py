"""Validation curves as the records hold them: top-1 after each epoch, one curve a seed.

A curve gives the epoch of its best, the first epoch with 98 % of that, and the first with a target.
A seed that never reached the target counts as later than every seed that did, so a median over
seeds leaves none out.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median_high

from pks4.bench.view.rows import Row, Setting
from pks4.bench.view.view import View, common_frames

METRIC = "val_top1_best"
NEARLY = 0.98  # the share of its best at which a training counts as nearly done
_NEVER = float("inf")


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One training: top-1 on the validation split, MACs and seconds so far, after each epoch."""

    seed: int | None
    top1: Sequence[float]
    macs: Sequence[int]
    seconds: Sequence[float]
    target: float | None

    @property
    def best(self) -> int:
        """The first epoch, from 1, with the best top-1."""
        return 1 + self.top1.index(max(self.top1))

    @property
    def nearly(self) -> int:
        """The first epoch, from 1, with at least 98 % of the best top-1."""
        return 1 + next(i for i, v in enumerate(self.top1) if v >= NEARLY * max(self.top1))

    @property
    def reached(self) -> int | None:
        """The first epoch, from 1, with the target; None where there is none, or it was missed."""
        if self.target is None:
            return None
        return next((i for i, v in enumerate(self.top1, start=1) if v >= self.target), None)


def of(view: View, row: Row) -> list[Curve]:
    """The curves behind a row of `METRIC`, seed by seed."""
    return [
        Curve(
            seed=seed,
            top1=member.detail["by_epoch"],
            macs=member.detail["macs_by_epoch"],
            seconds=member.detail["seconds_by_epoch"],
            target=member.detail.get("target"),
        )
        for seed, member in view.members(row).items()
    ]


def at_common_frames(view: View, setting: Setting) -> tuple[int, dict[str, list[Curve]]]:
    """The T that most contestants share, and label -> curves at that T."""
    series = view.series(setting, METRIC)
    frames = common_frames(series)
    return frames, {k: of(view, rows[frames]) for k, rows in series.items() if frames in rows}


def over_seeds(
    curves: Sequence[Curve], cost: Callable[[Curve, int], float]
) -> tuple[float | None, float | None, float | None]:
    """Median (the higher of two), least and most over seeds of what the target took.

    `cost` takes a curve and the epoch of its target; None means never.
    """
    costs = [_NEVER if (epoch := c.reached) is None else cost(c, epoch) for c in curves]
    middle, least, most = (
        None if value == _NEVER else value for value in (median_high(costs), min(costs), max(costs))
    )
    return middle, least, most


def mean(curves: Sequence[Curve]) -> tuple[list[float], list[float]]:
    """Mean top-1 and mean MACs after each epoch, over the epochs that all seeds have."""
    top1 = [sum(values) / len(curves) for values in zip(*(c.top1 for c in curves), strict=False)]
    macs = [sum(values) / len(curves) for values in zip(*(c.macs for c in curves), strict=False)]
    return top1, macs
