"""What `pks4-bench run` needs for executors: their options, and the watch over their jobs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from pks4.bench.records.environment import cores
from pks4.bench.records.folders import run_folders
from pks4.commands.parts.terminal import escaped, note
from pks4.errors import UserError

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
    """What the options ask of Slurm. Raises UserError for what does not go together."""
    from pks4.bench.cluster.executors import Resources, check

    given = {"--partition": partition, "--gres": gres, "--time": minutes, "--cpus": cpus,
             "--mem": mem, "--sbatch": sbatch, "--no-wait": not wait}  # fmt: skip
    named = [option for option, value in given.items() if value]
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
    from pks4.bench.records.task_files import Gathering, Tasks

    if not Tasks(run).folder.exists():
        return
    with Gathering(run) as gathering:
        busy = [one for one in dispatch.look(gathering) if one.state in dispatch.AT_WORK]
    if busy:
        raise UserError(
            f"{run.stem}: {len(busy)} cells are with {busy[0].executor} still, job {busy[0].job} "
            f"among them; wait, or end them first: pks4-bench status {called(run)}"
        )


def send(run: Path, executor: str, asked: Any, memory_limit: int | None, wait: bool) -> None:
    """Hand a run's cells to an executor, and show how they fare."""
    from pks4.bench.cluster import dispatch, executors, status
    from pks4.bench.records.task_files import Gathering, Tasks
    from pks4.commands.parts.progress import bar

    log = Tasks(run).log
    to: Any = (
        executors.Slurm(log, asked) if executor == "slurm"
        else executors.Local(log, asked.at_once or cores())
    )  # fmt: skip
    before: dict[str, str] = {}
    with Gathering(run) as gathering, bar(note, "cells") as update:

        def tell(found: Sequence[status.CellState]) -> None:
            update(sum(one.state in ("done", "failed") for one in found), len(found))
            changed = [one for one in found if before.get(one.cell) != one.state]
            if not note.is_terminal:
                for one in changed if before else ():
                    told = escaped(" ".join(filter(None, one.row())))
                    note.print(told, soft_wrap=True, highlight=False)
            before.update({one.cell: one.state for one in found})

        try:
            found = dispatch.dispatch(gathering, to, tell, memory_limit=memory_limit, wait=wait)
        except KeyboardInterrupt:
            if executor == "slurm":
                note.print(f"its jobs go on; see: pks4-bench status {called(run)}", soft_wrap=True)
            raise
    tell_lost(run, found)
    if not wait:
        note.print(f"{counted(found)}; see: pks4-bench status {called(run)}", soft_wrap=True)


def called(run: Path) -> str:
    """What commands know a run by: its name, or its file where it is not among the runs."""
    return run.stem if run.parent in run_folders() else str(run)


def counted(found: Sequence[Any]) -> str:
    """Cells by state in one line."""
    from pks4.bench.cluster import status

    return ", ".join(f"{count} {state}" for state, count in status.counts(found).items())


def tell_lost(run: Path, found: Sequence[Any]) -> None:
    """A line for each cell whose job is over without its records, with where to look."""
    from pks4.bench.records.task_files import Tasks

    for one in (one for one in found if one.state == "lost"):
        log = Tasks(run).log / f"{one.job}_0_log.err"
        told = f"{one.cell}: job {one.job} is over without all its records; see {log}, then submit"
        note.print(f"[red]lost[/] {escaped(told)} it again with --resume", soft_wrap=True)
