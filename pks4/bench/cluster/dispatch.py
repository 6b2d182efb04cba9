"""A run's cells handed to an executor, and followed until each has its records or lost its job."""

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from pks4.bench.cluster import executors, status
from pks4.bench.cluster.cell_task import CellTask
from pks4.bench.cluster.executors import Executor
from pks4.bench.plan.cell import Cell
from pks4.bench.records.record import stamp
from pks4.bench.records.run_file import RunFile
from pks4.bench.records.task_files import Gathering, Job

Tell = Callable[[list[status.CellState]], None]
AT_WORK = ("waiting", "running", "unknown")


def dispatch(
    gathering: Gathering,
    executor: Executor,
    tell: Tell,
    *,
    memory_limit: int | None = None,
    wait: bool = True,
) -> list[status.CellState]:
    """Submit each cell that has something left and no job; with `wait`, follow them to their end.

    `tell` is given the state of every cell at each look. A cell whose job is over without its
    records is submitted once by a call, not again and again. An executor that does not answer for
    a while is waited for.
    """
    cells = {cell.id: cell for cell in gathering.run.header.cells}
    mine: set[str] = set()
    while True:
        found = _look_patiently(gathering, executor)
        tell(found)
        todo = [
            cells[one.cell] for one in found
            if one.state in ("to do", "lost") and one.cell not in mine
        ]  # fmt: skip
        at_work = sum(one.state in AT_WORK for one in found)
        for part in executor.ready(todo, at_work):
            _submit(gathering, executor, part, memory_limit)
            mine |= {cell.id for cell in part}
        if not wait:
            return _look_patiently(gathering, executor)
        time.sleep(executor.poll_seconds)
        if not (todo or at_work):  # once more: a network file system may show the last lines late
            return _look_patiently(gathering, executor)


def look(gathering: Gathering, *own: Executor) -> list[status.CellState]:
    """The state of every cell now; what tasks have written is in the run's file then."""
    jobs = gathering.tasks.jobs()
    live = ask(gathering.run, jobs, *own)  # first: what a job wrote before its end is found below
    gathering.look()
    return status.states(gathering.run, jobs, live)


def _look_patiently(gathering: Gathering, executor: Executor) -> list[status.CellState]:
    try:
        return look(gathering, executor)
    except executors.NoAnswer:
        gathering.look()
        return status.states(gathering.run, gathering.tasks.jobs(), None)


def ask(
    run: RunFile, jobs: Mapping[str, Job], *own: Executor
) -> dict[tuple[str, str], executors.Live]:
    """Those jobs of cells with something left that are not over."""
    left = run.missing()
    return executors.live({(j.executor, j.job) for j in jobs.values() if j.cell in left}, *own)


def _submit(
    gathering: Gathering, executor: Executor, cells: list[Cell], memory_limit: int | None
) -> None:
    tasks, run = gathering.tasks, gathering.run
    tasks.begin(run, cells)
    work = [CellTask(tasks.file(c).resolve(), run.path.resolve(), memory_limit) for c in cells]
    submitted = stamp(datetime.now(UTC))
    jobs = executor.submit(cells, work)
    tasks.submitted(
        [
            Job(cell=cell.id, executor=executor.name, job=job, submitted=submitted)
            for cell, job in zip(cells, jobs, strict=True)
        ]
    )
