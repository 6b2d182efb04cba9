"""The numbers of two runs side by side, one case each: what BASE and HEAD hold under one key.

Exact and noisy numbers are one record a side. A sampled number is its cell without the seed, with a
record for each seed. A measure that failed stands under every metric that the other side has of it.

Exact numbers: equal or changed, and by how much in which part of the model.

MACs, bytes and parameters follow from the code alone, so that any difference within one case is a
change of the code. The parts are what the record's detail holds: by module class, by stage, by
phase of the step.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pks4.bench.plan.cell import split_seed
from pks4.bench.records.record import Record
from pks4.bench.records.run_file import RunFile

Key = tuple[str, str, str]  # cell, measure, metric


@dataclass(frozen=True, kw_only=True)
class Side:
    """What a run holds of one number: its records by seed, and why it lacks others."""

    records: dict[int | None, Record] = field(default_factory=dict)
    failures: dict[int | None, Record] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Case:
    """One number in both runs."""

    key: Key
    kind: str
    base: Side
    head: Side

    @property
    def one(self) -> tuple[Record, Record]:
        """A record of each side, to read facts off that all seeds share."""
        seed = next(seed for seed in self.base.records if seed in self.head.records)
        return self.base.records[seed], self.head.records[seed]

    @property
    def ids(self) -> tuple[str, ...]:
        """Where the values stand: run, cell and metric."""
        return tuple(
            f"{r.run}:{r.cell}:{r.metric}"
            for side in (self.base, self.head)
            for r in side.records.values()
        )


def cases(base: RunFile, head: RunFile) -> Iterator[Case]:
    """Every number that either run has, in the order of BASE; measures that failed in both too."""
    old, new = _sides(base.records), _sides(head.records)
    for key in dict.fromkeys([*old, *new]):
        cell, measure, metric = key
        sides = [_with_failures(key, side) for side in (old, new)]
        if metric == "*" and any(k[:2] == (cell, measure) and k[2] != "*" for k in {*old, *new}):
            continue  # told with each metric
        known = [r for side in sides for r in side.records.values()]
        kind = (known[0].kind if known else None) or "exact"
        yield Case(key=key, kind=kind, base=sides[0], head=sides[1])


def _sides(records: list[Record]) -> dict[Key, dict[int | None, Record]]:
    found: dict[Key, dict[int | None, Record]] = {}
    pooled = {(split_seed(r.cell)[0], r.measure, r.metric) for r in records if r.kind == "sampled"}
    for r in records:
        cell, seed = split_seed(r.cell)
        key = (cell, r.measure, r.metric)
        if key in pooled:
            found.setdefault(key, {})[seed] = r
        else:
            found.setdefault((r.cell, r.measure, r.metric), {})[None] = r
    return found


def _with_failures(key: Key, side: dict[Key, dict[int | None, Record]]) -> Side:
    """The side's records under a key, and the failures of its measure in these cells."""
    cell, measure, metric = key
    failures = {}
    for (other, m, name), found in side.items():
        bare, seed = split_seed(other)
        if name == "*" and m == measure and cell in (other, bare):
            failures[seed if cell == bare else None] = found[None]
    own = {} if metric == "*" else side.get(key, {})
    return Side(records=own, failures=failures)


class Change(NamedTuple):
    """One part of a number, before and after; a part that is not there counts 0."""

    part: str
    base: int | float
    head: int | float


def changes(base: Mapping[str, Any], head: Mapping[str, Any]) -> tuple[Change, ...]:
    """The parts of two details that differ, the largest difference first."""
    old, new = dict(_numbers(base)), dict(_numbers(head))
    found = [
        Change(part, old.get(part, 0), new.get(part, 0))
        for part in dict.fromkeys([*old, *new])
        if old.get(part, 0) != new.get(part, 0)
    ]
    return tuple(sorted(found, key=lambda c: -abs(c.head - c.base)))


def _numbers(detail: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, int | float]]:
    for name, value in detail.items():
        if isinstance(value, dict):
            yield from _numbers(value, f"{above}{name}.")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield f"{above}{name}", value
