"""Mixers with and without priors: main effects and interactions, in points of an accuracy.

A grid holds the factorial where two mixers or more stand in it twice, with priors and without, and
all other options but sizes are equal. With Y(m, p) the share of mixer m with (p = 1) or without
(p = 0) priors:

    priors        mean over m of Y(m, 1) - Y(m, 0)
    mixer m       mean over p of Y(m, p), minus the same mean over all mixers
    priors on m   Y(m, 1) - Y(m, 0)
    interaction   priors on m, minus priors

Each is a sum of shares with weights that add up to 0, so it is found clip by clip and seed by seed
as a difference of two contestants is (stats/clips.py). All effects of a grid are one Holm family.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import numpy as np

from pks4.bench.stats import clips, intervals
from pks4.bench.stats.intervals import Estimate
from pks4.bench.view.rows import Row, Setting
from pks4.bench.view.view import PKS4_FAMILY, View, common_frames

Kind = Literal["priors", "mixer", "priors on", "interaction"]
DRAWS = 10_000  # a draw of every clip's own weight takes some memory
_DEFAULT = "s6"  # the mixer of a record that names none
# Options by which the mixers may differ: the factors themselves, and sizes for equal parameters.
_FACTORS = ("mixer", "modulate", "correlation", "difference", "expand", "mixer_heads", "state")


class Level(NamedTuple):
    """One mixer's contestants: their labels with and without priors."""

    mixer: str
    with_priors: str
    plain: str


@dataclass(frozen=True, kw_only=True)
class FactorialEffect(Estimate):
    """An effect with its interval; p is adjusted, and the verdict is of all effects at once."""

    kind: Kind
    level_of: Level | None  # None: over all mixers
    rows: tuple[Row, ...]
    seeds: int
    family: int = 0
    verdict: str = "inconclusive"  # or: raises | lowers


@lru_cache(maxsize=16)
def effects(view: View, setting: Setting, metric: str = "top1") -> tuple[FactorialEffect, ...]:
    """Every effect of a setting, the main effect of priors first; empty without a factorial."""
    series = {
        label: one
        for label, one in view.series(setting, metric).items()
        if view.family(label) == PKS4_FAMILY
    }
    if not series:
        return ()
    frames = common_frames(series)
    rows = {label: one[frames] for label, one in series.items() if frames in one}
    levels = _levels(rows)
    used = [rows[label] for level in levels for label in level[1:]]
    seeds = set.intersection(*(set(view.members(row)) for row in used)) if used else set()
    right = _right(view, used, seeds)
    if len(levels) < 2 or right is None:
        return ()
    found = [
        _effect(kind, level, contrast, used, len(seeds))
        for kind, level, contrast in _contrasts(
            levels, right.reshape(len(levels), 2, *right[0].shape)
        )
    ]
    p = intervals.holm({i: one.p for i, one in enumerate(found) if one.p is not None}, len(found))
    return tuple(
        replace(one, p=p.get(i), family=len(found), verdict=_verdict(one.value, p.get(i)))
        for i, one in enumerate(found)
    )


def _levels(rows: Mapping[str, Row]) -> list[Level]:
    """The mixers that stand there with both priors and with none, in the order of the plan."""
    by_mixer: dict[tuple[str, tuple[Any, ...]], dict[bool, str]] = {}
    for label, row in rows.items():
        priors = _priors(row.options)
        if priors is not None:
            rest = tuple(sorted((k, str(v)) for k, v in row.options.items() if k not in _FACTORS))
            key = (str(row.options.get("mixer", _DEFAULT)), rest)
            by_mixer.setdefault(key, {}).setdefault(priors, label)
    return [
        Level(mixer, one[True], one[False]) for (mixer, _), one in by_mixer.items() if len(one) == 2
    ]


def _priors(options: Mapping[str, Any]) -> bool | None:
    """Whether both priors drive all that they can; None for a part of them."""
    modulate = options.get("modulate")
    if modulate is not None and not list(modulate):
        return False
    both = options.get("correlation", True) and options.get("difference", True)
    return True if both and modulate is None else None


def _right(view: View, rows: list[Row], seeds: set[int | None]) -> np.ndarray | None:
    """(rows, seeds, clips): whether each clip was right; None where the clips are not the same."""
    order = sorted(seeds, key=lambda seed: seed or 0)
    members = [[view.members(row)[seed] for seed in order] for row in rows]
    right = [[clips.right_by_clip(one) for one in row] for row in members]
    labels = {str(one.detail.get("label")) for row in members for one in row}
    if not order or len(labels) != 1 or any(one is None for row in right for one in row):
        return None
    return np.array(right, dtype=float)


def _contrasts(
    levels: list[Level], right: np.ndarray
) -> Iterator[tuple[Kind, Level | None, np.ndarray]]:
    """Kind, mixer and value (seeds, clips) of each effect; `right` is (mixers, 2, seeds, clips)."""
    priors = right[:, 0] - right[:, 1]
    mixers = right.mean(1)
    yield "priors", None, priors.mean(0)
    for i, level in enumerate(levels):
        yield "mixer", level, mixers[i] - mixers.mean(0)
    for i, level in enumerate(levels):
        yield "priors on", level, priors[i]
    for i, level in enumerate(levels):
        yield "interaction", level, priors[i] - priors.mean(0)


def _effect(
    kind: Kind, level: Level | None, contrast: np.ndarray, rows: list[Row], seeds: int
) -> FactorialEffect:
    if contrast.any():
        found = clips.paired_bootstrap(contrast, np.zeros_like(contrast), draws=DRAWS)
    else:
        found = Estimate(value=0.0, interval=None, method=clips.SAME_ANSWERS)
    return FactorialEffect(
        **vars(found), kind=kind, level_of=level, seeds=seeds,
        rows=tuple(row for row in rows if level is None or row.label in level[1:]),
    )  # fmt: skip


def _verdict(value: float, p: float | None) -> str:
    if p is None or p >= intervals.ALPHA:
        return "inconclusive"
    return "raises" if value > 0 else "lowers"
