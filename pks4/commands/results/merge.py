"""`pks4-bench merge`: join runs of one suite into one file.

The runs may be shards of one suite from several machines, or a run and a later one that filled its
missing cells. `pks4.bench.records.merge` checks that they fit together.
"""

from pathlib import Path
from typing import Annotated

import typer

from pks4.commands.parts.terminal import Runs, read_runs, say, tell_notes
from pks4.errors import UserError


def merge(
    runs: Runs,
    out: Annotated[Path, typer.Option("--out", help="A new .jsonl file.")],
) -> None:
    """Join runs of one suite, such as shards from several machines, into one new file."""
    from pks4.bench import units
    from pks4.bench.records import merge as merging

    if out.suffix != ".jsonl":
        raise UserError(f"{out}: name a .jsonl file, such as {out.with_suffix('.jsonl')}")
    merged, notes = merging.merge(read_runs(runs), out)
    tell_notes(notes)
    left, part = list(merged.missing()), merged.header.part
    state = f"left: {units.some(left, 'cell')}" if left else "complete"
    state = f"{part}, {state}" if part else state
    say(f"{out}: {len(merged.records)} records, {state}")
