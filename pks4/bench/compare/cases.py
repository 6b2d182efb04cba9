"""The numbers of two runs side by side: what BASE and HEAD hold under one key.

An exact or noisy number is one record on each side. A sampled number is its cell without the seed,
with a record for each seed. A measure that failed is a failure of each of its metrics that the
other side has.

Exact numbers follow from the code alone, so that any difference within one case is a change of the
code. `changes` lists the parts that differ, as the record's detail holds them: by module class, by
stage, by phase of the step.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pks4.bench.plan.cell import split_seed
from pks4.bench.records.record import Record
from pks4.bench.records.run_file import RunFile
from pks4.bench.view.rows import by_seed

Key = tuple[str, str, str]  # cell, measure, metric
Index = dict[Key, dict[int | None, Record]]
FAILED = "*"  # the metric of a measure that failed


@dataclass(frozen=True, kw_only=True)
class Side:
    """What a run holds of one number: its records by seed, and failures of its measure."""

    records: Mapping[int | None, Record] = field(default_factory=dict)
    failures: tuple[Record, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Case:
    """One number in both runs."""

    key: Key
    kind: str
    base: Side
    head: Side

    @property
    def shared(self) -> list[tuple[Record, Record]]:
        """A record of each side for every seed that both have."""
        head = self.head.records
        return [(r, head[seed]) for seed, r in self.base.records.items() if seed in head]

    @property
    def records(self) -> tuple[Record, ...]:
        """All records, those of BASE first."""
        return (*self.base.records.values(), *self.head.records.values())


def cases(base: RunFile, head: RunFile) -> Iterator[Case]:
    """Every number that either run has, in the order of BASE; measures that failed in both too."""
    old, new = _index(base.records), _index(head.records)
    keys = dict.fromkeys([*old, *new])
    with_numbers = {key[:2] for key in keys if key[2] != FAILED}
    for key in keys:
        if key[2] == FAILED and key[:2] in with_numbers:
            continue  # each of its metrics is a case
        sides = _side(key, old), _side(key, new)
        kinds = (r.kind for side in sides for r in side.records.values())
        yield Case(key=key, kind=next(kinds, None) or "exact", base=sides[0], head=sides[1])


def _index(records: list[Record]) -> Index:
    def without_seed(r: Record) -> Key:
        return split_seed(r.cell)[0], r.measure, r.metric

    sampled = {without_seed(r) for r in records if r.kind == "sampled"}
    return by_seed(
        records,
        lambda r: key if (key := without_seed(r)) in sampled else (r.cell, r.measure, r.metric),
    )


def _side(key: Key, index: Index) -> Side:
    """The records under a key, and the failures of its measure in these cells."""
    cell, measure, metric = key
    failures = tuple(
        r
        for (other, name, what), failed in index.items()
        if (name, what) == (measure, FAILED) and cell in (other, split_seed(other)[0])
        for r in failed.values()
    )
    return Side(records={} if metric == FAILED else index.get(key, {}), failures=failures)


class Change(NamedTuple):
    """One part of a number, before and after; a part that is not there counts 0."""

    part: str
    base: int | float
    head: int | float


def changes(base: Mapping[str, Any], head: Mapping[str, Any]) -> tuple[Change, ...]:
    """The parts of two details that differ, the largest difference first."""
    old, new = dict(_numbers(base)), dict(_numbers(head))
    parts = (Change(part, old.get(part, 0), new.get(part, 0)) for part in {**old, **new})
    return tuple(
        sorted((c for c in parts if c.base != c.head), key=lambda c: -abs(c.head - c.base))
    )


def _numbers(detail: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, int | float]]:
    for name, value in detail.items():
        if isinstance(value, dict):
            yield from _numbers(value, f"{above}{name}.")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield f"{above}{name}", value
