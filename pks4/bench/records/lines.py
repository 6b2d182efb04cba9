"""The lines of a run's file: what a record shares with others is written once.

A file has four kinds of line. The header comes first. A `provenance` line holds a run's name, code
and machine where they are not the header's, as after a resume on another machine or a merge. A
`labels` line holds the true classes of the clips of a test set. A `record` line holds one number
and names, by their ids, the `provenance` line (none: the header) and the `labels` line that belong
to it. An id is a hash of the line's content, so a cut or changed line is never used for another.

Schema version 1 had no shared lines: each record repeated its provenance and labels. Both versions
are read, and one file may hold both.
"""

import hashlib
import json
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from pks4.bench.plan.settings import Settings
from pks4.bench.records.record import SCHEMA_VERSION, Measurement, Provenance, Record, RunHeader

SHARED = ("run", *Provenance.model_fields)  # of a record, in its `provenance` line
LABELS = "label"  # the key of `detail` whose list goes to a `labels` line


class ProvenanceLine(Provenance):
    """The run, code and machine of the records that name its id."""

    type: Literal["provenance"] = "provenance"
    id: str
    run: str


class LabelsLine(Settings):
    """The true classes of a test set's clips, in order."""

    type: Literal["labels"] = "labels"
    id: str
    label: list[Any]


class RecordLine(Measurement):
    """A record without what it shares with others."""

    source: str | None = None  # id of its `provenance` line; null: the header
    labels: str | None = None  # id of the `labels` line with its detail.label


class Shared:
    """The shared lines of one file, for its reader and its writer."""

    def __init__(self) -> None:
        self.header: RunHeader | None = None
        self._sources: dict[str | None, dict[str, Any]] = {}  # None: the header's
        self._labels: dict[str, list[Any]] = {}

    def begin(self, header: RunHeader) -> None:
        """Take the file's header."""
        self.header, self._sources[None] = header, _shared(header)

    def take(self, data: Any) -> bool:
        """Take a shared line; whether the line is one. Raises ValueError if it is damaged."""
        if not isinstance(data, dict):
            raise ValueError("not an object")
        match data.get("type"):
            case "run" if self.header is None:
                self.begin(RunHeader.model_validate(data))
            case "provenance":
                source = ProvenanceLine.model_validate(data)
                shared = _shared(source)
                self._sources[_checked(source.id, shared)] = shared
            case "labels":
                labels = LabelsLine.model_validate(data)
                self._labels[_checked(labels.id, labels.label)] = labels.label
            case _:
                return False
        return True

    def record(self, data: dict[str, Any]) -> Record:
        """The record in a line of either schema version. Raises ValueError if it is none."""
        if self.header is None:
            raise ValueError("no header before it")
        if data.pop("schema_version", 1) == 1 and "versions" in data:
            return Record.model_validate(data)
        line = RecordLine.model_validate(data)
        fields = {name: getattr(line, name) for name in Measurement.model_fields}
        try:
            if line.labels is not None:
                fields["detail"][LABELS] = self._labels[line.labels]
            return Record(**fields, **self._sources[line.source])
        except KeyError as error:
            raise ValueError(f"there is no line {error}") from error

    def lines(self, record: Record) -> Iterator[Settings]:
        """The lines of a record: the shared ones that the file lacks, then its own."""
        fields = {name: getattr(record, name) for name in Measurement.model_fields}
        shared = _shared(record)
        if shared != self._sources.get(None):
            fields["source"] = source = _id(shared)
            if source not in self._sources:
                self._sources[source] = shared
                yield ProvenanceLine(id=source, **shared)
        if isinstance(label := record.detail.get(LABELS), list):
            fields |= {"detail": {**record.detail, LABELS: None}, "labels": _id(label)}
            if fields["labels"] not in self._labels:
                self._labels[fields["labels"]] = label
                yield LabelsLine(id=fields["labels"], label=label)
        yield RecordLine.model_construct(**fields)


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a line of a run's file; `type` says which kind it is."""
    line = Annotated[
        RunHeader | ProvenanceLine | LabelsLine | RecordLine, Field(discriminator="type")
    ]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"A line of a run of pks4-bench, schema version {SCHEMA_VERSION}",
        **TypeAdapter(line).json_schema(),
    }


def _shared(entry: RunHeader | ProvenanceLine | Record) -> dict[str, Any]:
    return {name: getattr(entry, name) for name in SHARED}


def _id(content: Any) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _checked(given: str, content: Any) -> str:
    if given != _id(content):
        raise ValueError("its id is not that of its content")
    return given
