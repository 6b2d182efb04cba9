"""Submit a run's cells to an executor; follow each until it has its records or lost its job."""

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from pks4.bench.cluster import executors, status
from pks4.bench.cluster.cell_task import CellTask
from pks4.bench.cluster.executors import Executor
from pks4.bench.plan.cell import Cell
from pks4.bench.records.record import stamp
from pks4.bench.records.run_file import RunFile
from pks4.bench.records.task_files import Submission, TaskCollector

Show = Callable[[list[status.CellState]], None]
AT_WORK = ("waiting", "running", "unknown")


def dispatch(
    collector: TaskCollector,
    executor: Executor,
    show: Show,
    *,
    memory_limit: int | None = None,
    wait: bool = True,
) -> list[status.CellState]:
    """Submit each cell that has something left and no job; with `wait`, follow them to their end.

    `show` gets the state of every cell at each look. A cell whose job is over without its records
    is submitted once per call. An executor that does not answer for a while is waited for.
    """
    cells = {cell.id: cell for cell in collector.run.header.cells}
    submitted: set[str] = set()
    while True:
        states = _look_patiently(collector, executor)
        show(states)
        todo = [
            cells[state.cell] for state in states
            if state.state in ("to do", "lost") and state.cell not in submitted
        ]  # fmt: skip
        at_work = sum(state.state in AT_WORK for state in states)
        for part in executor.ready(todo, at_work):
            _submit(collector, executor, part, memory_limit)
            submitted |= {cell.id for cell in part}
        if not wait:
            return _look_patiently(collector, executor)
        time.sleep(executor.poll_seconds)
        if not (todo or at_work):  # once more: a network file system may show the last lines late
            return _look_patiently(collector, executor)


def look(collector: TaskCollector, *executors_here: Executor) -> list[status.CellState]:
    """The state of every cell now, after what tasks have written was collected."""
    jobs = collector.tasks.submissions()
    # Asked first, so that what a job wrote before its end is collected below.
    live = ask(collector.run, jobs, *executors_here)
    collector.collect()
    return status.states(collector.run, jobs, live)


def _look_patiently(collector: TaskCollector, executor: Executor) -> list[status.CellState]:
    try:
        return look(collector, executor)
    except executors.NoAnswer:
        collector.collect()
        return status.states(collector.run, collector.tasks.submissions(), None)


def ask(
    run: RunFile, jobs: Mapping[str, Submission], *executors_here: Executor
) -> dict[tuple[str, str], executors.Live]:
    """The jobs that are not over, of cells with something left."""
    left = run.missing()
    asked = {(j.executor, j.job) for j in jobs.values() if j.cell in left}
    return executors.live(asked, *executors_here)


def _submit(
    collector: TaskCollector, executor: Executor, cells: list[Cell], memory_limit: int | None
) -> None:
    tasks, run = collector.tasks, collector.run
    tasks.begin(run, cells)
    work = [CellTask(tasks.file(c).resolve(), run.path.resolve(), memory_limit) for c in cells]
    now = stamp(datetime.now(UTC))
    tasks.submitted(
        [
            Submission(cell=cell.id, executor=executor.name, job=job, submitted=now)
            for cell, job in zip(cells, executor.submit(cells, work), strict=True)
        ]
    )
