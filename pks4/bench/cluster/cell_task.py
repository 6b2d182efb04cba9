"""One cell as a task for submitit: it may be stopped at any moment and started again.

What a task has measured is in its file and is not measured twice; a training goes on at its last
epoch. A task that is preempted, requeued or cut at a time limit loses only what it was just doing.
"""

import os
import signal
from pathlib import Path
from typing import Any

from pks4.bench.plan.cell import Cell
from pks4.bench.run import run
from pks4.errors import UserError

GPUS = "CUDA_VISIBLE_DEVICES"
# A node that is lost keeps its lock on a network file system for a while.
PATIENCE_SECONDS = 150.0


class CellTask:
    """The work of one cell; `path` is its results file, `whole` the file of the run."""

    def __init__(self, path: Path, whole: Path, memory_limit: int | None) -> None:
        self.path, self.whole, self.memory_limit = path, whole, memory_limit
        self.gpus = os.environ.get(GPUS)

    def __call__(self) -> None:
        """Do what is not recorded yet."""
        if os.environ.get("SUBMITIT_EXECUTOR") == "local":  # which hides all GPUs
            os.environ.pop(GPUS, None)
            os.environ |= {GPUS: self.gpus} if self.gpus is not None else {}
        signal.signal(signal.SIGTERM, _stop)
        session = run.reopen(self.path, self.whole, PATIENCE_SECONDS)
        for note in session.notes:
            print(note, flush=True)
        run.execute(session, 1, _print, self.memory_limit)

    def checkpoint(self) -> Any:
        """What submitit starts after a requeue: this task again."""
        return helpers().DelayedSubmission(self)


def helpers() -> Any:
    """The helpers of submitit; UserError where it is not installed."""
    try:
        import submitit.helpers
    except ImportError as error:
        raise UserError(
            "executors need submitit; install it: pip install 'pks4-bench[slurm]'"
        ) from error
    return submitit.helpers


def _stop(*_: object) -> None:
    """End at once, children too; what they were doing is done again later."""
    raise SystemExit(128 + signal.SIGTERM)


def _print(cell: Cell, event: dict[str, Any]) -> None:
    """A line in the task's log for each event, except progress within a measure."""
    if event["event"] != "progress":
        what = event.get("reason") or event.get("device") or ""
        print(cell.id, event["measure"], event["event"], what, flush=True)
