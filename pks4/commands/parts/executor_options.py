"""Executors on the command line: the options of `pks4-bench run`, and the state of its jobs."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pks4.bench.records.environment import cores
from pks4.bench.records.folders import run_folders
from pks4.commands.parts.terminal import escaped, note
from pks4.errors import UserError

if TYPE_CHECKING:
    from pks4.bench.cluster.status import CellState

_PANEL = "Executors"

Name = Annotated[
    str | None,
    typer.Option(
        "--executor", rich_help_panel=_PANEL,
        help="slurm: each cell a job of an array; local: each a process. Needs the extra slurm.",
    ),
]  # fmt: skip
Partition = Annotated[str, typer.Option(rich_help_panel=_PANEL, help="As sbatch takes it.")]
Gres = Annotated[str, typer.Option(rich_help_panel=_PANEL, help="Such as gpu:1.")]
Minutes = Annotated[
    int | None,
    typer.Option(
        "--time", min=3, rich_help_panel=_PANEL,
        help="Minutes of a job; default: by the suite's time limits. One that is cut goes on.",
    ),
]  # fmt: skip
Cpus = Annotated[int | None, typer.Option(min=1, rich_help_panel=_PANEL, help="Cores of a job.")]
Memory = Annotated[str, typer.Option("--mem", rich_help_panel=_PANEL, help="Such as 16G.")]
Further = Annotated[
    list[str] | None,
    typer.Option(
        "--sbatch", rich_help_panel=_PANEL,
        help="KEY=VALUE: any other option of sbatch, such as account=NAME. Repeat for more.",
    ),
]  # fmt: skip
Wait = Annotated[
    bool,
    typer.Option(
        rich_help_panel=_PANEL, help="Wait for Slurm's jobs, or leave them to `pks4-bench status`."
    ),
]


def resources(
    executor: str | None, partition: str, gres: str, minutes: int | None, cpus: int | None,
    mem: str, sbatch: Sequence[str] | None, jobs: int | None, wait: bool,
) -> Any:  # fmt: skip
    """What the options ask of Slurm. Raises UserError for options that do not go together."""
    from pks4.bench.cluster.executors import Resources, check

    options = {"--partition": partition, "--gres": gres, "--time": minutes, "--cpus": cpus,
               "--mem": mem, "--sbatch": sbatch, "--no-wait": not wait}  # fmt: skip
    named = [option for option, value in options.items() if value]
    if executor != "slurm" and named:
        raise UserError(f"{named[0]} is for --executor slurm; add that, or leave it out")
    more = {}
    for text in sbatch or ():
        key, equals, value = text.partition("=")
        if not equals or not key.strip("-"):
            raise UserError(f"--sbatch {text!r} must be KEY=VALUE, as in account=vision")
        more[key.strip("-")] = value
    if executor:
        check(executor)
    return Resources(
        partition=partition, gres=gres, minutes=minutes, cpus=cpus, mem=mem, more=more, at_once=jobs
    )


def refuse_if_at_work(run: Path) -> None:
    """Raise UserError if an executor has jobs of this run that are not over."""
    from pks4.bench.cluster import dispatch
    from pks4.bench.records.task_files import TaskCollector, TaskFiles

    if not TaskFiles(run).folder.exists():
        return
    with TaskCollector(run) as collector:
        busy = [cell for cell in dispatch.look(collector) if cell.state in dispatch.AT_WORK]
    if busy:
        raise UserError(
            f"{run.stem}: {len(busy)} cells are with {busy[0].executor} still, job {busy[0].job} "
            f"among them; wait, or end them first: pks4-bench status {called(run)}"
        )


def send(run: Path, executor: str, asked: Any, memory_limit: int | None, wait: bool) -> None:
    """Submit a run's cells to an executor, and show their states."""
    from pks4.bench.cluster import dispatch, executors
    from pks4.bench.records.task_files import TaskCollector, TaskFiles
    from pks4.commands.parts.progress import bar

    log = TaskFiles(run).log
    to: Any = (
        executors.Slurm(log, asked) if executor == "slurm"
        else executors.Local(log, asked.at_once or cores())
    )  # fmt: skip
    before: dict[str, str] = {}
    with TaskCollector(run) as collector, bar(note, "cells") as update:

        def show(cells: Sequence["CellState"]) -> None:
            update(sum(cell.state in ("done", "failed") for cell in cells), len(cells))
            if before and not note.is_terminal:
                for cell in (cell for cell in cells if before[cell.cell] != cell.state):
                    line = escaped(" ".join(filter(None, cell.row())))
                    note.print(line, soft_wrap=True, highlight=False)
            before.update({cell.cell: cell.state for cell in cells})

        try:
            cells = dispatch.dispatch(collector, to, show, memory_limit=memory_limit, wait=wait)
        except KeyboardInterrupt:
            if executor == "slurm":
                note.print(f"its jobs go on; see: pks4-bench status {called(run)}", soft_wrap=True)
            raise
    report_lost(run, cells)
    if not wait:
        note.print(f"{counted(cells)}; see: pks4-bench status {called(run)}", soft_wrap=True)


def called(run: Path) -> str:
    """What commands know a run by: its name, or its file if it is not among the runs."""
    return run.stem if run.parent in run_folders() else str(run)


def counted(cells: Sequence["CellState"]) -> str:
    """Cells by state in one line."""
    from pks4.bench.cluster import status

    return ", ".join(f"{count} {state}" for state, count in status.counts(cells).items())


def report_lost(run: Path, cells: Sequence["CellState"]) -> None:
    """A line for each cell whose job is over without its records, with the log to read."""
    from pks4.bench.records.task_files import TaskFiles

    for cell in (cell for cell in cells if cell.state == "lost"):
        log = TaskFiles(run).log / f"{cell.job}_0_log.err"
        line = (f"{cell.cell}: job {cell.job} is over without all its records; see {log}, then "
                "submit it again with --resume")  # fmt: skip
        note.print(f"[red]lost[/] {escaped(line)}", soft_wrap=True)
