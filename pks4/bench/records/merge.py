"""Joins runs of one suite: parts from several machines, or its shards.

Of several values of a number the first counts; a number takes precedence over a failure of its
measure. Every record keeps its code and machine.
"""

from collections.abc import Sequence
from pathlib import Path

from pks4.bench import units
from pks4.bench.plan import user_files
from pks4.bench.plan.cell import Cell
from pks4.bench.plan.shard import Part
from pks4.bench.records.record import Record, RunHeader, without_retried
from pks4.bench.records.run_file import RunFile, Writer, read
from pks4.errors import UserError


def merge(runs: Sequence[RunFile], path: Path) -> tuple[RunFile, list[str]]:
    """Join runs of one suite and plan into a new file.

    Returns the new run, and a line for each number with different values and for each absent
    shard. Raises UserError for runs of different suites or files of the user, for shards of
    different code or plans, for a cell that is planned in two ways, and for a file that exists.
    """
    if path.exists():
        raise UserError(f"{path}: is there already; evidence is not overwritten, name a new file")
    headers = [run.header for run in runs]
    suites = {header.suite for header in headers}
    if len(suites) > 1:
        raise UserError(f"runs of different suites do not merge: {', '.join(sorted(suites))}")
    cells: dict[str, Cell] = {}
    for cell in (cell for header in headers for cell in header.cells):
        if cells.setdefault(cell.id, cell) != cell:
            raise UserError(f"{cell.id}: is planned differently in two of the runs; merge neither")
    hashes: dict[str, str] = {}
    for inputs in (header.inputs for header in headers if header.inputs):
        if differ := user_files.differing(hashes, inputs.hashes):
            raise UserError(f"runs with different files of {differ[0]} do not merge")
        hashes |= inputs.hashes
    part, notes = _joined(headers)
    if plans := [header.part.plan for header in headers if header.part]:
        cells = {name: cells[name] for name in [*plans[0], *cells] if name in cells}
    kept, differing = _first_of_each(without_retried([r for run in runs for r in run.records]))
    given = headers[0].inputs
    header = headers[0].model_copy(
        update={
            "run": path.stem, "cells": list(cells.values()), "part": part,
            "inputs": given and given.model_copy(update={"hashes": hashes}),
        }
    )  # fmt: skip
    writer = Writer(path, new=True)
    writer.append(header, *kept)
    writer.close()
    return read(path), [*differing, *notes]


def _joined(headers: Sequence[RunHeader]) -> tuple[Part | None, list[str]]:
    """The part of the plan that they hold together, None for the whole; and notes on it."""
    notes = []
    if any(header.versions != headers[0].versions for header in headers):
        notes.append("versions: not the same in all of the runs; each record names its own")
    parts = [header.part for header in headers if header.part]
    if len(parts) < len(headers):  # one is a whole run
        return None, notes
    suite = headers[0].suite
    for fact, values in (
        ("code", {f"{h.commit or 'unknown'}{', changed' if h.dirty else ''}" for h in headers}),
        ("versions of pks4-bench", {h.versions.get("pks4-bench", "unknown") for h in headers}),
        ("numbers of shards", {str(part.of) for part in parts}),
    ):
        if len(values) > 1:
            raise UserError(f"shards of {suite!r} of different {fact} do not merge: "
                            f"{'; '.join(sorted(values))}")  # fmt: skip
    if (
        len({(header.suite_text, *part.plan) for header, part in zip(headers, parts, strict=True)})
        > 1
    ):
        raise UserError(f"shards of {suite!r} were planned differently; run all on one suite file")
    numbers = sorted({n for part in parts for n in part.shards})
    joined = parts[0].model_copy(update={"shards": numbers})
    absent = joined.absent()
    notes += [
        f"shard {number}/{joined.of} is not among them, with {units.some(cells, 'cell')}: "
        f"pks4-bench run {suite} --shard {number}/{joined.of}"
        for number, cells in absent.items()
    ]
    return joined if absent else None, notes


def _first_of_each(records: Sequence[Record]) -> tuple[list[Record], list[str]]:
    """Each number once, and a line for each with different values."""
    done = {(r.cell, r.measure) for r in records if r.status == "ok"}
    kept: dict[tuple[str, ...], Record] = {}
    notes = []
    for r in records:
        if r.status != "ok" and (r.cell, r.measure) in done:
            continue
        first = kept.setdefault(r.key, r)
        if first.value != r.value:
            notes.append(f"{r.cell} {r.metric}: {first.value} of {first.run} kept, not {r.value} "
                         f"of {r.run}")  # fmt: skip
    return list(kept.values()), notes
