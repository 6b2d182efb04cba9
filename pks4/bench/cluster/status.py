"""How far a run is, cell by cell: from its records, its submissions and its executors."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal

from pks4.bench.cluster.executors import Live
from pks4.bench.plan.settings import Settings
from pks4.bench.records.run_file import RunFile
from pks4.bench.records.task_files import Submission

State = Literal["done", "failed", "running", "waiting", "lost", "unknown", "to do"]
COLUMNS = ("cell", "state", "measures", "executor", "job", "node")


class CellState(Settings):
    """One cell of a run.

    failed: all its measures are recorded, some as failures. lost: it was submitted, its job is
    over, and measures are missing. unknown: it was submitted, its executor could not be asked.
    """

    cell: str
    state: State
    measures_done: int
    measures: int
    executor: str | None = None
    job: str | None = None
    node: str | None = None  # that measured it, once there is a record

    def row(self) -> tuple[str, ...]:
        """The fields of a row under `COLUMNS`."""
        done = f"{self.measures_done}/{self.measures}"
        where = (self.executor, self.job, self.node)
        return (self.cell, self.state, done, *(field or "" for field in where))


def states(
    run: RunFile, jobs: Mapping[str, Submission], live: Mapping[tuple[str, str], Live] | None
) -> list[CellState]:
    """The state of every cell; `live`: jobs that are not over, None if that is unknown."""
    left = run.missing()
    failed = {r.cell for r in run.records if r.status != "ok"}
    nodes = {r.cell: r.environment.get("node") for r in run.records}
    rows = []
    for cell in run.header.cells:
        job = jobs.get(cell.id)
        done: State = "failed" if cell.id in failed else "done"
        rows.append(
            CellState(
                cell=cell.id,
                state=_state(job, live) if cell.id in left else done,
                measures_done=len(cell.measures) - len(left.get(cell.id, [])),
                measures=len(cell.measures),
                executor=job.executor if job else None,
                job=job.job if job else None,
                node=nodes.get(cell.id),
            )
        )
    return rows


def _state(job: Submission | None, live: Mapping[tuple[str, str], Live] | None) -> State:
    """The state of a cell that has something left."""
    if job is None:
        return "to do"
    if live is None:
        return "unknown"
    return live.get((job.executor, job.job), "lost")


def counts(cells: Sequence[CellState]) -> dict[State, int]:
    """How many cells are in each state that occurs, in the order in which a cell goes through."""
    number = Counter(cell.state for cell in cells)
    order: tuple[State, ...] = (
        "to do", "waiting", "running", "unknown", "lost", "failed", "done",
    )  # fmt: skip
    return {state: number[state] for state in order if number[state]}
