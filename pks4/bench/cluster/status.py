"""How far a run is, cell by cell: from its records, its submissions, and what executors say."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal

from pks4.bench.cluster.executors import Live
from pks4.bench.plan.suite import Settings
from pks4.bench.records.run_file import RunFile
from pks4.bench.records.task_files import Job

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
        """As a table's line."""
        told = (self.executor, self.job, self.node)
        done = f"{self.measures_done}/{self.measures}"
        return (self.cell, self.state, done, *(x or "" for x in told))


def states(
    run: RunFile, jobs: Mapping[str, Job], live: Mapping[tuple[str, str], Live] | None
) -> list[CellState]:
    """The state of every cell; `live`: what is not over, None where that could not be asked."""
    left, found = run.missing(), []
    failed = {r.cell for r in run.records if r.status != "ok"}
    nodes = {r.cell: r.environment.get("node") for r in run.records}
    for cell in run.header.cells:
        job = jobs.get(cell.id)
        found.append(
            CellState(
                cell=cell.id,
                state=_state(cell.id in left, cell.id in failed, job, live),
                measures_done=len(cell.measures) - len(left.get(cell.id, [])),
                measures=len(cell.measures),
                executor=job.executor if job else None,
                job=job.job if job else None,
                node=nodes.get(cell.id),
            )
        )
    return found


def _state(
    open_: bool, failed: bool, job: Job | None, live: Mapping[tuple[str, str], Live] | None
) -> State:
    if not open_:
        return "failed" if failed else "done"
    if job is None:
        return "to do"
    if live is None:
        return "unknown"
    return live.get((job.executor, job.job), "lost")


def counts(found: Sequence[CellState]) -> dict[State, int]:
    """How many cells are in each state that occurs, in the order in which a cell goes through."""
    of: Counter[State] = Counter(one.state for one in found)
    order: tuple[State, ...] = (
        "to do", "waiting", "running", "unknown", "lost", "failed", "done",
    )  # fmt: skip
    return {state: of[state] for state in order if of[state]}
