"""`pks4-bench status`: how far a run is, cell by cell."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from pks4.bench.records.folders import run_folders
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
    from pks4.bench.cluster import status as fates
    from pks4.bench.records import run_file

    path = run_file.find_run(run, run_folders())
    found = _states(path)
    if as_json:
        told = {"run": path.stem, "counts": fates.counts(found),
                "cells": [one.model_dump() for one in found]}  # fmt: skip
        print(json.dumps(told, indent=1))
        return
    print_table(fates.COLUMNS, [one.row() for one in found])
    print(f"\n{executor_options.counted(found)}")
    executor_options.tell_lost(path, found)


def _states(path: Path) -> list[Any]:
    """The state of every cell. Where another process writes the run, that one gathers."""
    from pks4.bench.cluster import dispatch
    from pks4.bench.cluster import status as fates
    from pks4.bench.records import run_file
    from pks4.bench.records.task_files import Gathering, Tasks

    run, tasks = run_file.read(path), Tasks(path)
    tell_notes(run.torn)
    jobs = tasks.jobs()
    try:
        live = dispatch.ask(run, jobs)
    except UserError as error:
        tell_notes([error])
        live = None
    if run_file.is_held(path):
        note.print("a process here or on another host is at work on it")
        run = run_file.read(path)  # anew: what a job wrote before its end is in it
    elif tasks.folder.exists():
        with Gathering(path) as gathering:
            gathering.look()
            run = gathering.run
    return fates.states(run, jobs, live)
