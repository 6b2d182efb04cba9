"""Where tasks run: a Slurm cluster or processes of this machine, both through submitit.

An executor takes tasks and knows which of its jobs wait or run. The result of a job is in the file
of its task; the result files of submitit are never read.
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
MARGIN_MINUTES = 5  # that a job has more than its cell's time limit: to start and import
SIGNAL_SECONDS = 60  # before its time limit a job gets a signal and requeues itself
REQUEUES = 20  # at its time limit; each goes on where the last one was
WAITING = ("PENDING", "CONFIGURING", "SUSPENDED", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED",
           "SPECIAL_EXIT", "RESV_DEL_HOLD")  # fmt: skip


class NoAnswer(UserError):
    """An executor does not answer now."""


class Executor(Protocol):
    """Takes tasks and knows its jobs."""

    name: str
    poll_seconds: float

    def ready(self, cells: Sequence[Cell], at_work: int) -> list[list[Cell]]:
        """The cells to submit now, while `at_work` jobs wait or run: a list per submission."""

    def submit(self, cells: Sequence[Cell], tasks: Sequence[cell_task.CellTask]) -> list[str]:
        """Ids of the jobs, one for each task."""

    def live(self, jobs: Iterable[str]) -> dict[str, Live]:
        """Those of the jobs that are not over."""


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What a job asks of Slurm, in the words of sbatch; empty: the cluster's default."""

    partition: str = ""
    gres: str = ""
    minutes: int | None = None  # None: the longest time limit of the cells, and a margin
    cpus: int | None = None
    mem: str = ""
    more: dict[str, str] = field(default_factory=dict)  # further options of sbatch
    at_once: int | None = None  # jobs of an array

    def parameters(self) -> dict[str, Any]:
        """As submitit names them, without those that are empty."""
        asked = {
            "partition": self.partition, "gres": self.gres, "cpus_per_task": self.cpus,
            "mem": self.mem, "additional_parameters": {"requeue": True, **self.more},
            "array_parallelism": self.at_once,
        }  # fmt: skip
        return {name: value for name, value in asked.items() if value}


class Slurm:
    """Job arrays with a task per cell; cells that must run alone get a whole node."""

    name = "slurm"
    poll_seconds = 5.0

    def __init__(self, log: Path, resources: Resources) -> None:
        self.log, self.resources = log, resources

    def ready(self, cells: Sequence[Cell], at_work: int) -> list[list[Cell]]:
        """All of them at once: Slurm lets them wait."""
        shared = [c for c in cells if not _needs_node(c)]
        return [part for part in (shared, [c for c in cells if _needs_node(c)]) if part]

    def submit(self, cells: Sequence[Cell], tasks: Sequence[cell_task.CellTask]) -> list[str]:
        """Submit one array. Raises UserError with the reason of sbatch if it refuses."""
        from submitit.core.utils import FailedJobError, FailedSubmissionError
        from submitit.slurm.slurm import SlurmExecutor

        executor = SlurmExecutor(self.log, max_num_timeout=REQUEUES)
        longest = max(cell.time_limit_seconds for cell in cells)
        executor.update_parameters(
            job_name="pks4-bench",
            time=self.resources.minutes or MARGIN_MINUTES - int(-longest // 60),
            signal_delay_s=SIGNAL_SECONDS,
            **({"exclusive": True} if _needs_node(cells[0]) else {}),
            **self.resources.parameters(),
        )
        try:
            return [str(job.job_id) for job in executor.submit_array(list(tasks))]
        except (FailedJobError, FailedSubmissionError) as error:
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            reason = lines[-1] if lines else "it gave no reason"
            raise UserError(
                f"sbatch refused: {reason}; put it right, then go on with --resume"
            ) from error

    def live(self, jobs: Iterable[str]) -> dict[str, Live]:
        """What one call of squeue says about all of them."""
        try:
            done = subprocess.run(
                ["squeue", "--me", "--noheader", "--array", "--format", "%i %T"],
                capture_output=True, text=True, timeout=60, check=True,
            )  # fmt: skip
        except FileNotFoundError as error:
            raise UserError("there is no squeue here; ask on a host of the cluster") from error
        except subprocess.SubprocessError as error:
            reason = getattr(error, "stderr", None) or str(error)
            raise NoAnswer(f"squeue does not answer: {' '.join(reason.split())[:300]}") from error
        state = dict(line.split(maxsplit=1) for line in done.stdout.splitlines() if " " in line)
        return {
            job: "waiting" if state[job] in WAITING else "running" for job in jobs if job in state
        }


class Local:
    """Processes of this machine, `at_once` together; cells that must run alone come last."""

    name = "local"
    poll_seconds = 0.2

    def __init__(self, log: Path, at_once: int) -> None:
        self.log, self.at_once = log, at_once
        self.started: dict[str, Any] = {}  # job id -> job, of this process

    def ready(self, cells: Sequence[Cell], at_work: int) -> list[list[Cell]]:
        """As many as there is room for, in one submission."""
        together = [c for c in cells if not c.alone]
        room = self.at_once - at_work if together else 1 - at_work
        now = list(together or cells)[: max(0, room)]
        return [now] if now else []

    def submit(self, cells: Sequence[Cell], tasks: Sequence[cell_task.CellTask]) -> list[str]:
        """Start a process for each task."""
        from submitit.local.local import LocalExecutor

        executor = LocalExecutor(self.log, max_num_timeout=REQUEUES)
        # The cell's time limit ends it first, with a record.
        executor.update_parameters(
            timeout_min=2 * MARGIN_MINUTES
            + sum(len(c.measures) * c.time_limit_seconds for c in cells) / 60
        )
        jobs = executor.submit_array(list(tasks))
        self.started |= {str(job.job_id): job for job in jobs}
        return [str(job.job_id) for job in jobs]

    def live(self, jobs: Iterable[str]) -> dict[str, Live]:
        """Those whose process lives."""
        return {job: "running" for job in jobs if self._runs(job)}

    def _runs(self, job: str) -> bool:
        if job in self.started:
            return not self.started[job].done()
        try:
            os.kill(int(job), 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            pass  # it belongs to another user
        return True


def check(name: str) -> None:
    """Raise UserError where this executor cannot be used from here."""
    catalogue.find("executor", name, {"local": Local, "slurm": Slurm})
    cell_task.helpers()
    for program in ("sbatch", "srun", "squeue") if name == "slurm" else ():
        if shutil.which(program) is None:
            raise UserError(f"executor slurm: there is no {program} here; go to a host of the "
                            "cluster that submits jobs")  # fmt: skip


def live(jobs: Iterable[tuple[str, str]], *here: Executor) -> dict[tuple[str, str], Live]:
    """Those of the (executor, job) that are not over; `here`: executors of this process."""
    asked: dict[str, list[str]] = {}
    for executor, job in jobs:
        asked.setdefault(executor, []).append(job)
    known: dict[str, Executor] = {
        "slurm": Slurm(Path(), Resources()), "local": Local(Path(), 1),
        **{executor.name: executor for executor in here},
    }  # fmt: skip
    return {
        (name, job): state for name, ids in asked.items()
        for job, state in catalogue.find("executor", name, known).live(ids).items()
    }  # fmt: skip


def _needs_node(cell: Cell) -> bool:
    """Whether a measure of the cell must be the only thing on its node."""
    measures = catalogue.measures()
    return any(measures[name].facts.get("ALONE") for name in cell.measures)
