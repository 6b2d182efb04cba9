""" """

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple


class Setting(NamedTuple):
    """What two numbers must share before they may stand side by side."""

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
    """One entry of the comparison: its label, the name that people read, and its family."""

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

    @property
    def source(self) -> str:
        """Where the number stands: the cell and the metric, with the raw value, seed by seed."""
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


Series = dict[int, Row]
