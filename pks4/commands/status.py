"""`pks4-bench status`: how far a run is, cell by cell."""

import json
from pathlib import Path
from typing import Annotated

import typer

from pks4.bench.cluster import dispatch
from pks4.bench.cluster.status import COLUMNS, CellState, counts, states
from pks4.bench.records import run_file
from pks4.bench.records.folders import run_folders
from pks4.bench.records.task_files import TaskCollector, TaskFiles
from pks4.commands.parts import executor_options
from pks4.commands.parts.terminal import AsJson, note, print_table, tell_notes
from pks4.errors import UserError


def status(
    run: Annotated[
        str, typer.Argument(help="A run's name, its .jsonl file, or 'latest'.")
    ] = "latest",
    as_json: AsJson = False,
) -> None:
    """Show a run's cells by state; what its jobs have written is gathered into the run.

    done, failed (recorded, with the reason), running, waiting, lost (its job is over without all
    its records), unknown (its executor could not be asked), to do.
    """
    path = run_file.find_run(run, run_folders())
    cells = _states(path)
    if as_json:
        document = {"run": run_file.name_of(path), "counts": counts(cells),
                    "cells": [cell.model_dump() for cell in cells]}  # fmt: skip
        print(json.dumps(document, indent=1))
        return
    print_table(COLUMNS, [cell.row() for cell in cells])
    print(f"\n{executor_options.counted(cells)}")
    executor_options.report_lost(path, cells)


def _states(path: Path) -> list[CellState]:
    """The state of every cell. If another process writes the run, it is that one that collects."""
    run, tasks = run_file.read(path), TaskFiles(path)
    tell_notes(run.torn)
    jobs = tasks.submissions()
    try:
        live = dispatch.ask(run, jobs)
    except UserError as error:
        tell_notes([error])
        live = None
    held = run_file.is_held(path)
    if held is None:
        note.print("this file system cannot lock, so a process may be at work on it unseen")
    elif held:
        note.print("a process here or on another host is at work on it")
        run = run_file.read(path)  # again: it now has what a job wrote before its end
    elif tasks.folder.exists():
        with TaskCollector(path) as collector:
            collector.collect()
            run = collector.run
    return states(run, jobs, live)
