"""Measure alarms once more: only what repeats in a fresh session stays an alarm.

The cells of HEAD that alarmed are run again, with the measures that alarmed, on the code here; it
must be HEAD's. Two revisions in one session are both measured again. An exact number that equals
BASE this time stays an alarm, because an exact number must repeat.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from pks4.bench.compare.compare import ALARMS, Comparison, Entry
from pks4.bench.plan.cell import Cell, split_seed
from pks4.bench.records import environment, run_file
from pks4.bench.records.record import stamp
from pks4.bench.records.run_file import RunFile
from pks4.bench.run import run
from pks4.errors import UserError


def session(comparison: Comparison, head: RunFile, folder: Path) -> run.Session:
    """A new run of the alarmed cells. Raises UserError unless the code here is HEAD's."""
    source = environment.provenance()
    if (source.commit, source.dirty) != (head.header.commit, False):
        raise UserError(
            f"{head.header.run} is of commit {head.header.commit or 'unknown'}, the code here of "
            f"{source.commit or 'unknown'}{' with changes' if source.dirty else ''}; check out "
            "HEAD's commit to confirm, or leave --confirm out"
        )
    cells = alarmed(comparison, head.header.cells)
    now = datetime.now(UTC)
    header = head.header.model_copy(
        update={
            "run": f"confirm-{head.header.suite}-{now:%Y%m%d-%H%M%S}-{(source.commit or '')[:7]}",
            "created": stamp(now),
            "cells": cells,
            **source.model_dump(),
        }
    )
    path, header = run_file.begin(folder, header)
    return run.Session(path, header, {c.id: list(c.measures) for c in cells}, [])


def alarmed(comparison: Comparison, cells: Iterable[Cell]) -> list[Cell]:
    """Those of the cells that alarmed, each with the measures that did."""
    alarms = {(e.cell, e.measure) for e in comparison.of(*ALARMS)}
    alarmed_cells = []
    for cell in cells:
        ids = cell.id, split_seed(cell.id)[0]
        measures = [m for m in cell.measures if any((i, m) in alarms for i in ids)]
        if measures:
            alarmed_cells.append(cell.model_copy(update={"measures": measures}))
    return alarmed_cells


def confirmed(comparison: Comparison, again: Comparison) -> Comparison:
    """The comparison with each alarm marked as repeated, or withdrawn."""
    second = {e.key: e for e in again.entries}
    entries = tuple(
        _after(e, second.get(e.key), again.head) if e.state in ALARMS else e
        for e in comparison.entries
    )
    note = f"alarms were measured again in {again.head}"
    return replace(comparison, entries=entries, notes=(*comparison.notes, note))


def _after(alarm: Entry, again: Entry | None, where: str) -> Entry:
    if again is None or again.state == alarm.state == "missing":
        return replace(alarm, why=f"{alarm.why}; also missing in {where}")
    repeats = again.state == alarm.state
    if alarm.state == "changed":
        repeats = repeats and again.head == alarm.head
    if repeats or alarm.state == "changed":
        words = f"repeats in {where}" if repeats else f"NOT repeatable: {again.head} in {where}"
        return replace(alarm, why="; ".join(filter(None, [alarm.why, words])))
    words = f"{alarm.state} at first, {again.state} in {where}: the alarm did not repeat"
    return replace(alarm, state="inconclusive", why=words)
