"""Records: every number with its unit, its evidence, and the code and machine behind it.

A run has a `RunHeader` and `Record`s. `lines.py` says how a file holds them, `results/README.md`
what each field means.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Literal

from pydantic import Field

from pks4.bench.plan.cell import Cell
from pks4.bench.plan.settings import Settings
from pks4.bench.plan.shard import Part
from pks4.bench.plan.user_inputs import UserInputs
from pks4.errors import TRY_AGAIN

SCHEMA_VERSION: Final = 2
Kind = Literal["exact", "noisy", "sampled"]
Status = Literal["ok", "failed", "oom", "timeout"]


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What a measure yields: one number, how it was obtained, and the data behind it."""

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
    """The suite as it was when the run began, and the plan."""

    type: Literal["run"] = "run"
    schema_version: Literal[1, 2] = SCHEMA_VERSION
    run: str
    suite: str
    suite_text: str
    created: str
    cells: list[Cell]
    part: Part | None = None  # of the plan, where this run is not the whole of it
    inputs: UserInputs | None = None  # of the user; a run from before they were kept has none


class Measurement(Settings):
    """One number, or one failure, of one cell."""

    type: Literal["record"] = "record"
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


class Record(Measurement, Provenance):
    """A measurement with the run, code and machine that it comes from."""

    run: str

    @property
    def again(self) -> bool:
        """Whether it is a failure that a resumed run retries, such as for a full disk."""
        return self.status != "ok" and TRY_AGAIN.items() <= self.detail.items()

    @property
    def void(self) -> bool:
        """Whether it is a time of a session whose control failed."""
        return self.detail.get("verdict") == "void"

    @property
    def missed_floor(self) -> str | None:
        """The floor of accuracy that voids it, such as `image_floor`; None where none does."""
        return self.detail.get("void")

    @property
    def key(self) -> tuple[str, ...]:
        """What a run holds once: cell, measure, metric; of a failure to retry, each try."""
        name = self.cell, self.measure, self.metric
        return (*name, self.created) if self.again else name


def without_retried(records: Sequence[Record]) -> list[Record]:
    """The records in their order, without failures that were retried."""
    settled = {(r.cell, r.measure) for r in records if not r.again}
    last = {(r.cell, r.measure): r for r in records}
    return [
        r
        for r in records
        if not r.again or ((r.cell, r.measure) not in settled and last[r.cell, r.measure] is r)
    ]


def records_of(event: dict[str, Any], cell: Cell, source: Provenance, run: str) -> list[Record]:
    """The records of a worker's last event about a measure: its numbers, or its failure."""
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
    """A time in the format of records and headers."""
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")
