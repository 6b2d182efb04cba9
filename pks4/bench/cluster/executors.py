"""Where tasks run: a Slurm cluster or processes of this machine, both through submitit.

An executor is handed tasks and tells which of its jobs still wait or run. What became of a job that
is over is in its task's file; submitit's own result files are never read.
"""

import os
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from pks4.bench.cluster import cell_task
from pks4.bench.contestants import catalogue
from pks4.bench.plan.cell import Cell
from pks4.errors import UserError

Live = Literal["waiting", "running"]
MARGIN_MINUTES = 5  # of a job over its cell's time limit: to start, and to import
SIGNAL_SECONDS = 60  # before its time limit a job is told, and requeues itself
REQUEUES = 20  # at its time limit; each goes on where the one before was
WAITING = ("PENDING", "CONFIGURING", "SUSPENDED", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED",
           "SPECIAL_EXIT", "RESV_DEL_HOLD")  # fmt: skip


class NoAnswer(UserError):
    """An executor could not be asked for now."""


class Executor(Protocol):
    """Takes tasks, and knows its jobs."""

    name: str
    poll_seconds: float

    def ready(self, cells: Sequence[Cell], at_work: int) -> list[list[Cell]]:
        """Which of the cells to submit now, with so many jobs out; a list a submission."""

    def submit(self, cells: Sequence[Cell], tasks: Sequence[cell_task.CellTask]) -> list[str]:
        """Ids of the jobs, one for each task."""

    def live(self, jobs: Iterable[str]) -> dict[str, Live]:
        """Those of the jobs that are not over."""


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What a job asks of Slurm, in sbatch's own words; empty: the cluster's default."""

    partition: str = ""
    gres: str = ""
    minutes: int | None = None  # None: the longest time limit of the cells, and some
    cpus: int | None = None
    mem: str = ""
    more: dict[str, str] = field(default_factory=dict)  # further options of sbatch
    at_once: int | None = None  # jobs of an array

    def given(self) -> dict[str, Any]:
        """As submitit names them, without what was not given."""
        asked = {
            "partition": self.partition, "gres": self.gres, "cpus_per_task": self.cpus,
            "mem": self.mem, "additional_parameters": {"requeue": True, **self.more},
            "array_parallelism": self.at_once,
        }  # fmt: skip
        return {name: value for name, value in asked.items() if value}


class Slurm:
    """Job arrays of one task a cell; cells whose measure must be alone get a node to themselves."""

    name = "slurm"
    poll_seconds = 5.0

    def __init__(self, log: Path, resources: Resources) -> None:
        self.log, self.resources = log, resources

    def ready(self, cells: Sequence[Cell], at_work: int) -> list[list[Cell]]:
        """All of them at once, Slurm does the waiting."""
        shared = [c for c in cells if not _needs_node(c)]
        return [part for part in (shared, [c for c in cells if _needs_node(c)]) if part]

    def submit(self, cells: Sequence[Cell], tasks: Sequence[cell_task.CellTask]) -> list[str]:
        """Hand over one array. Raises UserError with what sbatch said if it refuses."""
        from submitit.core.utils import FailedJobError, FailedSubmissionError
        from submitit.slurm.slurm import SlurmExecutor

        executor = SlurmExecutor(self.log, max_num_timeout=REQUEUES)
        longest = max(cell.time_limit_seconds for cell in cells)
        executor.update_parameters(
            job_name="pks4-bench",
            time=self.resources.minutes or MARGIN_MINUTES - int(-longest // 60),
            signal_delay_s=SIGNAL_SECONDS,
            **({"exclusive": True} if _needs_node(cells[0]) else {}),
            **self.resources.given(),
        )
        try:
            return [str(job.job_id) for job in executor.submit_array(list(tasks))]
        except (FailedJobError, FailedSubmissionError) as error:
            told = [line.strip() for line in str(error).splitlines() if line.strip()]
            raise UserError(f"sbatch refused: {(told or ['it gave no reason'])[-1]}; put it right, "
                            "then go on with --resume") from error  # fmt: skip

    def live(self, jobs: Iterable[str]) -> dict[str, Live]:
        """As squeue tells, asked once for all."""
        try:
            done = subprocess.run(
                ["squeue", "--me", "--noheader", "--array", "--format", "%i %T"],
                capture_output=True, text=True, timeout=60, check=True,
            )  # fmt: skip
        except FileNotFoundError as error:
            raise UserError("there is no squeue here; ask on a host of the cluster") from error
        except subprocess.SubprocessError as error:
            told = getattr(error, "stderr", None) or str(error)
            raise NoAnswer(f"squeue does not answer: {' '.join(told.split())[:300]}") from error
        told = dict(line.split(maxsplit=1) for line in done.stdout.splitlines() if " " in line)
        return {
            job: "waiting" if told[job] in WAITING else "running" for job in jobs if job in told
        }


class Local:
    """Processes of this machine, so many at once; cells that must be alone come last, singly."""

    name = "local"
    poll_seconds = 0.2

    def __init__(self, log: Path, at_once: int) -> None:
        self.log, self.at_once = log, at_once
        self.own: dict[str, Any] = {}  # job id -> job, of this process

    def ready(self, cells: Sequence[Cell], at_work: int) -> list[list[Cell]]:
        """As many as there is room for."""
        beside = [c for c in cells if not c.alone]
        now = (
            beside[: max(0, self.at_once - at_work)]
            if beside
            else list(cells[: 0 if at_work else 1])
        )
        return [now] if now else []

    def submit(self, cells: Sequence[Cell], tasks: Sequence[cell_task.CellTask]) -> list[str]:
        """Start a process for each."""
        from submitit.local.local import LocalExecutor

        executor = LocalExecutor(self.log, max_num_timeout=REQUEUES)
        # The cell's own limit ends it first, with a record.
        executor.update_parameters(
            timeout_min=2 * MARGIN_MINUTES
            + sum(len(c.measures) * c.time_limit_seconds for c in cells) / 60
        )
        jobs = executor.submit_array(list(tasks))
        self.own |= {str(job.job_id): job for job in jobs}
        return [str(job.job_id) for job in jobs]

    def live(self, jobs: Iterable[str]) -> dict[str, Live]:
        """Those whose process is there."""
        return {job: "running" for job in jobs if self._runs(job)}

    def _runs(self, job: str) -> bool:
        if job in self.own:
            return not self.own[job].done()
        try:
            os.kill(int(job), 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return True


def check(name: str) -> None:
    """Raise UserError where this executor cannot be used from here."""
    catalogue.find("executor", name, {"local": Local, "slurm": Slurm})
    cell_task.helpers()
    for program in ("sbatch", "srun", "squeue") if name == "slurm" else ():
        if shutil.which(program) is None:
            raise UserError(f"executor slurm: there is no {program} here; go to a host of the "
                            "cluster that submits jobs")  # fmt: skip


def live(jobs: Iterable[tuple[str, str]], *own: Executor) -> dict[tuple[str, str], Live]:
    """Those of the (executor, job) that are not over; `own`: executors of this process."""
    asked: dict[str, list[str]] = {}
    for executor, job in jobs:
        asked.setdefault(executor, []).append(job)
    known: dict[str, Executor] = {
        "slurm": Slurm(Path(), Resources()), "local": Local(Path(), 1),
        **{executor.name: executor for executor in own},
    }  # fmt: skip
    return {
        (name, job): state for name, ids in asked.items()
        for job, state in catalogue.find("executor", name, known).live(ids).items()
    }  # fmt: skip


def _needs_node(cell: Cell) -> bool:
    """Whether a measure of the cell must have nothing beside it."""
    measures = catalogue.measures()
    return any(measures[name].facts.get("ALONE") for name in cell.measures)
