"""Records: every number with its evidence, one JSON object a line.

A run's file begins with a `RunHeader` and goes on with `Record`s. A record stands alone: it holds
its value and unit, how it came about, and where. Schema version 1; `results/README.md` tells the
fields.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from pks4.bench.plan.cell import Cell
from pks4.bench.plan.shard import Part
from pks4.bench.plan.suite import Settings
from pks4.errors import TRY_AGAIN

SCHEMA_VERSION = 1
Kind = Literal["exact", "noisy", "sampled"]
Status = Literal["ok", "failed", "oom", "timeout"]


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What a measure yields: one number, how it came about, and what stands behind it."""

    metric: str
    value: int | float
    unit: str
    kind: Kind
    evidence: dict[str, Any] = field(default_factory=dict)
    detail: dict[str, Any] = field(default_factory=dict)


class Provenance(Settings):
    """The code and the machine behind a number."""

    versions: dict[str, str]
    commit: str | None
    dirty: bool | None
    environment: dict[str, Any]


class RunHeader(Provenance):
    """First line of a run's file: the suite as it was, and its plan."""

    type: Literal["run"] = "run"
    schema_version: Literal[1] = 1
    run: str
    suite: str
    suite_text: str
    created: str
    cells: list[Cell]
    part: Part | None = None  # of the plan, where this run is not the whole of it


class Record(Provenance):
    """One number, or one failure, of one cell."""

    type: Literal["record"] = "record"
    schema_version: Literal[1] = 1
    run: str
    cell: str
    grid: str
    label: str
    title: str
    model: str
    family: str
    options: dict[str, Any]
    scale: str
    frames: int
    batch: int
    task: str | None
    measure: str
    metric: str  # "*": the measure as a whole failed
    parts: int  # records that this measure writes for this cell
    status: Status
    reason: str | None = None
    value: int | float | None = None
    unit: str | None = None
    kind: Kind | None = None
    evidence: dict[str, Any] = Field(default_factory=dict)
    detail: dict[str, Any] = Field(default_factory=dict)
    created: str
    seconds: float  # that the measure took, all its parts together

    @property
    def again(self) -> bool:
        """Whether it is a failure that a resumed run tries again, such as for a full disk."""
        return self.status != "ok" and TRY_AGAIN.items() <= self.detail.items()

    @property
    def void(self) -> bool:
        """Whether it is a time of a session whose control failed."""
        return self.detail.get("verdict") == "void"

    @property
    def key(self) -> tuple[str, ...]:
        """What a run holds once: cell, measure, metric; each try where it is to be tried again."""
        one = self.cell, self.measure, self.metric
        return (*one, self.created) if self.again else one


def standing(records: Sequence[Record]) -> list[Record]:
    """The records without failures that were tried again since, in their order."""
    settled = {(r.cell, r.measure) for r in records if not r.again}
    last = {(r.cell, r.measure): r for r in records}
    return [
        r
        for r in records
        if not r.again or ((r.cell, r.measure) not in settled and last[r.cell, r.measure] is r)
    ]


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a line of a run's file: a header or a record, told apart by `type`."""
    line = Annotated[RunHeader | Record, Field(discriminator="type")]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"A line of a run of pks4-bench, schema version {SCHEMA_VERSION}",
        **TypeAdapter(line).json_schema(),
    }


def records_of(event: dict[str, Any], cell: Cell, source: Provenance, run: str) -> list[Record]:
    """What a worker's last event about a measure is in a run: its numbers, or its failure."""
    shared = {
        **source.model_dump(include=set(Provenance.model_fields)),
        **cell.model_dump(include=set(Record.model_fields) & set(Cell.model_fields)),
        "run": run,
        "cell": cell.id,
        "measure": event["measure"],
        "created": stamp(datetime.now(UTC)),
        "seconds": round(event["seconds"], 3),
    }
    if event["event"] == "failed":
        failure = {key: event[key] for key in ("status", "reason")}
        detail = event.get("detail", {})
        return [Record(**shared, **failure, metric="*", detail=detail, parts=1)]
    readings = [Reading(**r) for r in event["readings"]]
    return [Record(**shared, **vars(r), status="ok", parts=len(readings)) for r in readings]


def stamp(when: datetime) -> str:
    """A time as records and headers have it."""
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")
