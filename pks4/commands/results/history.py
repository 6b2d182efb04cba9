"""`pks4-bench history`: a number over runs and commits."""

import json
from pathlib import Path
from typing import Annotated

import typer

from pks4.bench.records.folders import run_folders
from pks4.commands.parts.terminal import AsJson, print_table, say, tell_notes


def history(
    metric: Annotated[str, typer.Argument(help="Such as saved_bytes; `list measures` names all.")],
    suite: Annotated[str, typer.Option(help="Only runs of this suite.")] = "",
    label: Annotated[str, typer.Option(help="Only this contestant.")] = "",
    cell: Annotated[str, typer.Option(help="Only this cell, such as cost/pks4/t8.")] = "",
    long: Annotated[bool, typer.Option("--long", help="Every run of each cell.")] = False,
    runs: Annotated[
        list[Path] | None, typer.Option("--runs", help="A folder of runs; repeat for more.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show a number over runs and commits in order of time, with change points as advice.

    A row a cell, from the first run to the last; a cell that is asked for, or that is the only one,
    run by run.
    """
    from pks4.bench.compare import history as past

    folders = runs or run_folders()
    series, notes = past.collect(folders, metric, suite=suite, label=label, cell=cell)
    tell_notes(notes)
    if as_json:
        print(json.dumps([past.document(one) for one in series], indent=1))
        return
    run_by_run = long or cell or len(series) == 1
    shown = [past.run_by_run(one) for one in series] if run_by_run else [past.table(series)]
    for title, columns, rows in shown:
        say(title)
        print_table(columns, rows)
        print()
    say(past.REMARK)
