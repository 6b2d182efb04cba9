"""How a number was obtained: its formula or samples, what ran, the code and the machine."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from pks4.bench import units
from pks4.bench.contestants import catalogue
from pks4.bench.records.record import Record
from pks4.bench.records.run_file import RunFile
from pks4.errors import UserError, unknown_name, unknown_of_many

KINDS = {
    "exact": "exact: the same code, rule and libraries give the same number",
    "noisy": "noisy: holds for this machine, and is to be read as a ratio within its session",
    "sampled": "sampled: another seed or other clips give another number",
}
LONGEST = 12  # items of a list or a mapping that are shown


def find(run: RunFile, cell: str, metric: str) -> Record:
    """The record of a metric in a cell. Raises UserError with near names, or why it failed."""
    cells = [c.id for c in run.header.cells]
    if cell not in cells:
        listing = f"pks4-bench status {run.header.run}"
        raise UserError(unknown_of_many("cell", cell, cells, listing))
    records = {r.metric: r for r in run.records if r.cell == cell}
    if metric in records:
        return records[metric]
    known = catalogue.measures()
    for r in run.records:
        metrics = known[r.measure].facts.get("METRICS", ()) if r.measure in known else ()
        if r.cell == cell and r.status != "ok" and metric in metrics:
            raise UserError(f"{cell} has no {metric!r}: {r.measure} {r.status}: {r.reason}")
    raise UserError(unknown_name(f"metric of {cell}", metric, records))


def explain(record: Record) -> dict[str, list[tuple[str, str]]]:
    """Sections of (name, text), in the order in which a reader asks."""
    value = "none"
    if record.value is not None:
        share = record.kind == "sampled" and record.unit == "1"
        value = units.in_full(record.value, record.unit, share)
    number = [
        ("metric", f"{record.metric}, measure {record.measure}"),
        ("value", value),
        ("kind", KINDS.get(record.kind or "", record.status)),
    ]
    if record.reason:
        number.append(("reason", record.reason))
    measure = catalogue.measures().get(record.measure)
    return {
        "number": number,
        "of": [
            ("model", f"{record.title} ({record.model}, {record.family})"),
            ("options", _words(record.options)),
            ("at", f"{record.scale} scale, {record.frames} frames, batch {record.batch}"),
        ],
        "how": [*([("measure", measure.summary)] if measure else []), *_lines(record.evidence)],
        "made of": _lines(record.detail),
        "code": [
            ("commit", f"{record.commit or 'none'}{', with changes' if record.dirty else ''}"),
            ("versions", _words(record.versions)),
        ],
        "machine": [
            *_lines(record.environment),
            ("taken", f"{record.created}, {record.seconds:.3g} s for the whole measure"),
        ],
    }


def _lines(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    """A line for each fact that is not empty and not null."""
    return [(name, _words(x)) for name, x in facts.items() if x not in (None, "", [], {})]


def _words(x: Any) -> str:
    """A value in one line; a long one is cut, with a note."""
    if isinstance(x, dict):
        return _cut([f"{k} = {_inside(v)}" for k, v in x.items()])
    if isinstance(x, list | tuple):
        return _cut([_inside(v) for v in x])
    if isinstance(x, bool) or x is None:
        return json.dumps(x)
    if isinstance(x, int):
        return f"{x:,}"
    return f"{x:.6g}" if isinstance(x, float) else str(x)


def _inside(x: Any) -> str:
    """A value inside another: several in brackets."""
    return f"({_words(x)})" if isinstance(x, dict | list | tuple) else _words(x)


def _cut(parts: Iterable[str]) -> str:
    parts = list(parts)
    more = f" … {len(parts) - LONGEST} more (--json shows all)" if len(parts) > LONGEST else ""
    return ", ".join(parts[:LONGEST]) + more
