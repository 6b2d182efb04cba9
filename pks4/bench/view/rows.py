"""What a report calls a setting, a contestant and a row; and the index of records by seed."""

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeVar

from pks4.bench.plan.cell import split_seed
from pks4.bench.records.record import Record


class Setting(NamedTuple):
    """What two numbers must share before they may be compared."""

    grid: str
    scale: str
    batch: int | None
    task: str | None

    @property
    def title(self) -> str:
        """The setting in words, as captions print it."""
        parts = [f"grid {self.grid}", f"{self.scale} scale"]
        if self.batch is not None:
            parts.append(f"batch {self.batch}")
        if self.task is not None:
            parts.append(f"task {self.task}")
        return ", ".join(parts)


@dataclass(frozen=True, kw_only=True)
class Contestant:
    """A contestant: its label, the name that people read, and its family."""

    label: str
    name: str
    family: str


@dataclass(frozen=True, kw_only=True)
class Row:
    """One record, with the number under which the report lists it; or several seeds, pooled."""

    number: int
    cell: str
    label: str
    setting: Setting
    frames: int
    measure: str
    metric: str
    status: str
    reason: str | None
    value: Any  # int or float where the status is ok, else None
    unit: str
    kind: str
    options: Mapping[str, Any]
    evidence: Mapping[str, Any]
    detail: Mapping[str, Any]
    records: tuple[int, ...] = ()  # of a pooled row: the numbers of its records, seed by seed

    @classmethod
    def of(cls, number: int, record: Record) -> "Row":
        """The row of one record."""
        shared = {name: getattr(record, name) for name in _OF_RECORD}
        return cls(
            **shared,
            number=number,
            setting=Setting(record.grid, record.scale, record.batch, record.task),
            unit=record.unit or "",
            kind=record.kind or "",
            value=None if record.value != record.value else record.value,  # NaN
        )

    @property
    def source(self) -> str:
        """Which record holds the number: cell, metric and raw value, seed by seed."""
        unit = "" if self.unit == "1" else f" {self.unit}"
        words = f"{self.cell} · {self.metric} = {self.value}{unit} ({self.kind})"
        if not self.records:
            return words
        parts = zip(self.detail["seeds"], self.detail["values"], self.records, strict=True)
        return f"{words}; {', '.join(f'seed {s}: {value} (no. {n})' for s, value, n in parts)}"

    def interval(self, key: str = "interval") -> tuple[float, float] | None:
        """The two ends of an interval in the record's detail; None when it holds none."""
        ends = self.detail.get(key)
        return (float(ends[0]), float(ends[1])) if ends is not None else None


_OF_RECORD = (
    "cell", "label", "frames", "measure", "metric", "status", "reason", "options",
    "evidence", "detail",
)  # fmt: skip
Series = dict[int, Row]  # by number of frames


def ids(*records: Record) -> tuple[str, ...]:
    """Which records these are: run, cell and metric of each."""
    return tuple(f"{r.run}:{r.cell}:{r.metric}" for r in records)


class OfCell(Protocol):
    """A record, or a row: what belongs to a cell."""

    @property
    def cell(self) -> str: ...


R = TypeVar("R", bound=OfCell)
K = TypeVar("K", bound=Hashable)


def by_seed(records: Iterable[R], key: Callable[[R], K]) -> dict[K, dict[int | None, R]]:
    """Key -> seed -> record, in the order of the records; of duplicates the first counts."""
    index: dict[K, dict[int | None, R]] = {}
    for record in records:
        index.setdefault(key(record), {}).setdefault(split_seed(record.cell)[1], record)
    return index
